//! Interfaces of this node that were found to be on one LAN, for the log: the first at once, and those that follow
//! together, since a node may have hundreds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use placement::InterfaceName;

/// Those that are found within that time after others were told are told together.
const TOGETHER: Duration = Duration::from_mins(1);

/// What there is to tell.
#[derive(Debug, Default)]
pub(crate) struct SameLan {
    found: BTreeSet<InterfaceName>,
    told: BTreeSet<InterfaceName>,
    /// When there is to be told more.
    again: Option<Instant>,
}

impl SameLan {
    /// The interface `name` hears another one.
    pub(crate) fn found(&mut self, name: InterfaceName, other: Option<InterfaceName>, now: Instant) {
        let new = [Some(name), other].into_iter().flatten().filter(|name| !self.told.contains(name));
        self.found.extend(new);
        if !self.found.is_empty() {
            self.again.get_or_insert(now);
        }
    }

    /// What there is to tell by `now`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<BTreeSet<InterfaceName>> {
        self.again.filter(|again| *again <= now)?;
        if self.found.is_empty() {
            self.again = None;
            return None;
        }
        self.again = Some(now + TOGETHER);
        self.told.extend(self.found.iter().cloned());
        Some(std::mem::take(&mut self.found))
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_interfaces_on_one_lan_are_told_in_two_lines_and_each_once() {
        let (mut it, now) = (SameLan::default(), Instant::now());
        let name = |number: u32| InterfaceName::from(format!("eth{number}").as_str());
        let mut told = Vec::new();
        for one in 0..60 {
            for other in 0..one {
                it.found(name(one), Some(name(other)), now);
                told.extend(it.poll(now));
            }
        }
        assert_eq!(told.iter().map(BTreeSet::len).collect::<Vec<_>>(), [2]);
        let later = it.deadline().expect("there are more");
        assert_eq!(it.poll(later).map(|names| names.len()), Some(58));
        it.found(name(0), Some(name(1)), later);
        let end = it.deadline().expect("the minute ends");
        assert_eq!((it.poll(end), it.deadline()), (None, None));
    }
}
