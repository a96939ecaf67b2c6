//! How often the owner of a Service is told what comes of it: each change as long as there are few, and fewer than that
//! where something changes to and fro for long, as when a firewall's rule comes and goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use objects::pack;
use placement::ServiceKey;
use timers::Rate;

/// So many changes are told at once.
const BURST: u32 = 6;
/// After these, one in that time.
const GAP: Duration = Duration::from_mins(1);
/// When so many are remembered, or twice as many as after the last time, those are dropped that have all of their budget
/// again.
const TIDY: usize = 1024;

/// The budgets of the Services of which something was told lately.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// When each has all of its budget again.
    full_at: BTreeMap<ServiceKey, Instant>,
    /// How many there were when they were tidied.
    tidied: usize,
}

impl Budgets {
    /// Whether the owner of `service` may be told something at `now`; if so, it counts as told. Otherwise, when it may be.
    pub(crate) fn take(&mut self, service: &ServiceKey, now: Instant) -> Result<(), Instant> {
        let full_at = Rate::new(BURST, GAP).take(self.full_at.get(service).copied(), now)?;
        if self.full_at.len() >= TIDY.max(2 * self.tidied) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.tidied = self.full_at.len();
        }
        self.full_at.insert(service.clone(), full_at);
        Ok(())
    }

    pub(crate) fn pack(&mut self) {
        pack(&mut self.full_at);
    }

    /// The Service is gone.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.full_at.remove(service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_changes_are_told_at_once_and_then_one_in_a_minute() {
        let (mut budgets, mut now) = (Budgets::default(), Instant::now());
        let [web, other] = ["web", "other"].map(|name| ServiceKey::new("default", name));
        let mut told = 0;
        for _ in 0..600 {
            told += u32::from(budgets.take(&web, now).is_ok());
            now += Duration::from_secs(1);
        }
        assert_eq!(told, BURST + 9);
        let next = budgets.take(&web, now).err().or_else(|| budgets.take(&web, now).err());
        let next = next.expect("the budget is used up");
        assert!(next <= now + GAP && budgets.take(&web, next).is_ok());
        assert_eq!(budgets.take(&other, now), Ok(()), "each for itself");
        budgets.forget(&web);
        assert_eq!(budgets.take(&web, now), Ok(()));
        budgets.take(&web, now + GAP * BURST).expect("it has been quiet for long");
    }
}
