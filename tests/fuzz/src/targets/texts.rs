//! Texts that people write, and those that show them.

use objects::text::{label_value, object_name, printable, quoted, shorten, summary};
use objects::{InterfaceName, PoolName};
use pools::Range;

use super::is_quoted;

/// Addresses of pools.
pub fn range(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(range) = text.parse::<Range>() {
        let (first, last) = (range.first(), range.last());
        assert!(first <= last);
        assert_eq!(Range::new(first, last), Ok(range));
        // A single address is shown without a length, which nobody is to write, and IPv4 in IPv6 means IPv4 to who reads it.
        let as_shown = first != last && [first, last].iter().all(|ip| ip.to_canonical() == *ip);
        assert!(!as_shown || range.to_string().parse() == Ok(range), "{range}");
    }
}

/// Whatever somebody writes is shown within bounds, in one line.
pub fn play(bytes: &[u8]) {
    let text = &*String::from_utf8_lossy(bytes);
    for shown in [
        quoted(text).to_string(),
        printable(text).into_owned(),
        PoolName::from(text).to_string(),
        InterfaceName::from(text).to_string(),
    ] {
        assert!(is_quoted(&shown), "{shown:?}");
    }
    assert!(quoted(text).to_string().len() < 4000);
    for most in [0, 1, 10, 100, 1024] {
        assert!(shorten(text, most).len() <= most);
        assert!(summary(&text.split(';').collect::<Vec<_>>(), most).len() <= most);
    }
    let value = label_value(text);
    assert!(value.len() <= 63 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    assert!(text.len() > 253 || object_name(text, ".x").len() <= 255);
}
