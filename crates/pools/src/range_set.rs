//! A set of addresses, kept as ranges.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Range;
use crate::range::{predecessor, successor};

/// Addresses of both families as ranges that neither overlap nor touch, so that what is next to each other costs no
/// more than one range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Last address by first address.
    runs: BTreeMap<IpAddr, IpAddr>,
}

impl RangeSet {
    /// Whether there is no address in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether `ip` is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.runs.range(..=ip).next_back().is_some_and(|(_, &last)| ip <= last)
    }

    /// Its ranges, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range> {
        self.runs.iter().map(|(&first, &last)| run(first, last))
    }

    /// Whether some address of `range` is in it.
    pub fn overlaps(&self, range: Range) -> bool {
        self.runs.range(..=range.last()).next_back().is_some_and(|(_, &last)| range.first() <= last)
    }

    /// The parts of `range` that are in the set, in ascending order.
    pub fn within(&self, range: Range) -> Vec<Range> {
        let before = self.runs.range(..=range.first()).next_back();
        let inside = self.runs.range(range.first()..=range.last()).skip_while(|(first, _)| {
            // The same run as the one before, when it starts where the range does.
            before.is_some_and(|(known, _)| known == *first)
        });
        before
            .into_iter()
            .chain(inside)
            .filter_map(|(&first, &last)| run(first, last).intersection(range))
            .collect()
    }

    /// Adds a range. Returns the parts of it that were not in the set before, in ascending order.
    pub fn insert(&mut self, range: Range) -> Vec<Range> {
        if !self.overlaps(range)
            && predecessor(range.first()).is_none_or(|ip| !self.contains(ip))
            && successor(range.last()).is_none_or(|ip| !self.contains(ip))
        {
            self.runs.insert(range.first(), range.last());
            return vec![range];
        }
        let known = self.within(range);
        let added = gaps(range, &known);
        let before = predecessor(range.first()).and_then(|ip| self.run_of(ip));
        let after = successor(range.last()).and_then(|ip| self.run_of(ip));
        // A run that reaches beyond an end of the range lasts as far as it did.
        let first = [before.map(Range::first), self.run_of(range.first()).map(Range::first)];
        let last = [after.map(Range::last), self.run_of(range.last()).map(Range::last)];
        let first = first.into_iter().flatten().fold(range.first(), IpAddr::min);
        let last = last.into_iter().flatten().fold(range.last(), IpAddr::max);
        let swallowed: Vec<IpAddr> = self.runs.range(first..=last).map(|(&first, _)| first).collect();
        swallowed.iter().for_each(|first| _ = self.runs.remove(first));
        self.runs.insert(first, last);
        added
    }

    fn run_of(&self, ip: IpAddr) -> Option<Range> {
        let (&first, &last) = self.runs.range(..=ip).next_back()?;
        (ip <= last).then(|| run(first, last))
    }
}

impl FromIterator<Range> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|range| _ = set.insert(range));
        set
    }
}

fn run(first: IpAddr, last: IpAddr) -> Range {
    Range::new(first, last).expect("a run starts before it ends, in one family")
}

/// The parts of `range` that are not in `known`, which is sorted, inside of it and free of overlap.
fn gaps(range: Range, known: &[Range]) -> Vec<Range> {
    let mut gaps = Vec::new();
    let mut next = Some(range.first());
    for part in known {
        if let (Some(first), Some(last)) = (next, predecessor(part.first()))
            && first <= last
        {
            gaps.push(run(first, last));
        }
        next = successor(part.last());
    }
    if let Some(first) = next.filter(|first| *first <= range.last()) {
        gaps.push(run(first, range.last()));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    fn shown(ranges: &[Range]) -> Vec<String> {
        ranges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_that_touch_become_one_and_families_stay_apart() {
        let mut set = RangeSet::default();
        set.insert(range("10.0.0.0-10.0.0.3"));
        set.insert(range("10.0.0.8-10.0.0.9"));
        assert_eq!(shown(&set.insert(range("10.0.0.2-10.0.0.8"))), ["10.0.0.4-10.0.0.7"]);
        assert_eq!(set.runs.len(), 1);
        set.insert(range("255.255.255.255/32"));
        set.insert(range("::/128"));
        assert_eq!(set.runs.len(), 3);
        assert_eq!(shown(&set.within(range("10.0.0.9-255.255.255.255"))), ["10.0.0.9", "255.255.255.255"]);
    }

    #[test]
    fn the_whole_of_a_family_can_be_in_it() {
        let mut set: RangeSet = [range("0.0.0.0/0"), range("::/0")].into_iter().collect();
        assert!(set.insert(range("10.0.0.0/8")).is_empty());
        assert!(set.contains(IpAddr::from([255; 4])) && set.contains(IpAddr::from([255; 16])));
    }

    proptest! {
        #[test]
        fn it_holds_what_was_put_in(ranges in proptest::collection::vec((0u8..60, 0u8..12), 0..20)) {
            let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for (first, length) in ranges {
                let range = run(ip(first), ip(first + length));
                let added: Vec<u8> = (first..=first + length).filter(|n| !model.contains(n)).collect();
                let known = set.within(range);
                let shown = set.insert(range);
                let expand = |ranges: &[Range]| -> Vec<u8> {
                    (first..=first + length).filter(|n| ranges.iter().any(|r| r.contains(ip(*n)))).collect()
                };
                prop_assert_eq!(expand(&shown), added);
                prop_assert!(known.iter().all(|part| shown.iter().all(|new| !new.overlaps(*part))));
                model.extend(first..=first + length);
            }
            prop_assert!((0..=255).all(|n| set.contains(ip(n)) == model.contains(&n)));
            let runs: Vec<_> = set.runs.iter().collect();
            prop_assert!(runs.windows(2).all(|pair| successor(*pair[0].1).unwrap() < *pair[1].0));
        }
    }
}
