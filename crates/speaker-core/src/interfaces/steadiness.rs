//! Interfaces that fail again and again, as by a plug that does not fit: what was announced there moves away at once each
//! time, and back at once after the first. From then on it stays away for longer each time, where another node serves it
//! well: each move costs connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use placement::{Ability, InterfaceName};

/// For so long a failure is remembered.
const LATELY: Duration = Duration::from_mins(2);
/// How long an interface must have held after its second failure, which doubles with each further one.
const HOLD: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);

/// How steady each interface is that failed lately.
#[derive(Debug, Default)]
pub(super) struct Steadiness(BTreeMap<InterfaceName, Record>);

#[derive(Debug)]
struct Record {
    /// How often it failed, each time soon after the time before.
    failures: u32,
    /// When it failed last.
    failed: Instant,
    /// Until when it is back on trial.
    held: Option<Instant>,
}

impl Steadiness {
    /// What can be done on an interface by each protocol was this, and is that now.
    pub(super) fn changed(
        &mut self,
        name: &InterfaceName,
        changes: impl Iterator<Item = (Ability, Ability)>,
        now: Instant,
    ) {
        let (mut failed, mut back) = (false, false);
        for (was, is) in changes {
            failed |= was == Ability::Able && is == Ability::Lost;
            back |= was == Ability::Lost && is == Ability::Able;
        }
        if failed {
            let record =
                self.0.entry(name.clone()).or_insert(Record { failures: 0, failed: now, held: None });
            let lately = now < record.failed + LATELY;
            record.failures = if lately { record.failures.saturating_add(1) } else { 1 };
            (record.failed, record.held) = (now, None);
        } else if back
            && let Some(record) = self.0.get_mut(name)
            && record.failures > 1
            && now < record.failed + LATELY
        {
            let doublings = (record.failures - 2).min(8);
            record.held = Some(now + (HOLD * 2_u32.pow(doublings)).min(LONGEST));
        }
    }

    /// Whether an interface is back on trial.
    pub(super) fn is_held(&self, name: &InterfaceName) -> bool {
        self.0.get(name).is_some_and(|record| record.held.is_some())
    }

    /// Only these exist.
    pub(super) fn retain(&mut self, exists: impl Fn(&InterfaceName) -> bool) {
        self.0.retain(|name, _| exists(name));
    }

    /// Time has passed. Whether an interface counts as steady again.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let mut any = false;
        for record in self.0.values_mut() {
            any |= record.held.take_if(|until| *until <= now).is_some();
        }
        any
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|record| record.held).min()
    }
}
