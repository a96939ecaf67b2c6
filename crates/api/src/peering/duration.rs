//! Durations as Go writes them, which the custom resources have from upstream.

use std::time::Duration;

/// Units, in nanoseconds; longer names first.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Such as `90s`, `1m30s` or `1.5h`; `0` needs no unit. `None` for anything else, for what is below zero, and beyond centuries.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, after) = rest.split_at(digits);
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let seconds = number.parse::<f64>().ok()? * nanoseconds / 1e9;
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = &after[unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("500ms", 500),
            ("2000us", 2),
            ("+3s", 3_000),
            ("1h0m0s", 3_600_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "90", "-3s", "1x", "1.2.3s", "99999999999999999999h", " 1s", "+"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
