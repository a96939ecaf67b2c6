//! Addresses of pools, as people write them.

#![no_main]

use ipam::Range;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(range) = text.parse::<Range>() {
        let (first, last) = (range.first(), range.last());
        assert!(first <= last);
        assert_eq!(Range::new(first, last), Ok(range));
    }
});
