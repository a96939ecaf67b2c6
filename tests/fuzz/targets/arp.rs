//! Frames from strangers on a LAN with IPv4.

#![no_main]

#[path = "port.rs"]
mod port;

use layer2::{Arp, ArpFrame, MacAddr};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stories: Vec<port::Step>| {
    for step in &stories {
        if let port::Step::Frame(frame) = step
            && let Ok(read) = ArpFrame::parse(frame)
        {
            assert_eq!(ArpFrame::parse(&read.emit()), Ok(read));
        }
    }
    port::play(Arp { mac: MacAddr([2, 0, 0, 0, 0, 1]) }, [192, 0, 2, 1].into(), stories);
});
