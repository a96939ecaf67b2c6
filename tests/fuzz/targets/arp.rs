//! Frames from strangers on a LAN with IPv4.

#![no_main]

#[path = "port.rs"]
mod port;

use layer2::{Arp, ArpFrame, MacAddr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<port::Step>| {
    let survives = |frame: &[u8]| {
        if let Ok(read) = ArpFrame::parse(frame) {
            assert_eq!(ArpFrame::parse(&read.emit()), Ok(read));
        }
    };
    port::play(Arp { mac: MacAddr([2, 0, 0, 0, 0, 1]) }, [192, 0, 2, 1].into(), steps, survives);
});
