//! Frames from strangers on a LAN with IPv6.

#![no_main]

#[path = "port.rs"]
mod port;

use layer2::{MacAddr, Ndp, NdpFrame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<port::Step>| {
    let survives = |frame: &[u8]| {
        if let Ok(read) = NdpFrame::parse(frame) {
            assert_eq!(NdpFrame::parse(&read.emit()), Ok(read));
        }
    };
    let link_local = "fe80::1".parse().expect("an address");
    let vip = "2001:db8::1".parse().expect("an address");
    port::play(Ndp { mac: MacAddr([2, 0, 0, 0, 0, 1]), link_local }, vip, steps, survives);
});
