//! Since when which stations reach each other.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lan::{Lan, StationId};

/// For each pair of stations, the lesser first.
#[derive(Debug, Default)]
pub(crate) struct Meetings(BTreeMap<(StationId, StationId), Meeting>);

#[derive(Debug, Clone, Copy)]
enum Meeting {
    Apart { since: Duration },
    /// After having been apart for some time.
    Together { since: Duration, apart: Duration },
}

impl Meetings {
    /// The LAN of so many stations may have changed.
    pub(crate) fn update(&mut self, lan: &Lan, stations: usize, now: Duration) {
        for (one, other) in (0..stations).flat_map(|other| (0..other).map(move |one| (one, other))) {
            let meeting = self.0.entry((one, other)).or_insert(Meeting::Apart { since: now });
            *meeting = match (*meeting, lan.connected(one, other)) {
                (Meeting::Apart { since }, true) => Meeting::Together { since: now, apart: now - since },
                (Meeting::Together { .. }, false) => Meeting::Apart { since: now },
                (same, _) => same,
            };
        }
    }

    /// Since when two stations reach each other.
    pub(crate) fn since(&self, one: StationId, other: StationId) -> Option<Duration> {
        match self.between(one, other)? {
            Meeting::Apart { .. } => None,
            Meeting::Together { since, .. } => Some(since),
        }
    }

    /// For how long two stations that reach each other could not do so before.
    pub(crate) fn apart(&self, one: StationId, other: StationId) -> Option<Duration> {
        match self.between(one, other)? {
            Meeting::Apart { .. } => None,
            Meeting::Together { apart, .. } => Some(apart),
        }
    }

    fn between(&self, one: StationId, other: StationId) -> Option<Meeting> {
        self.0.get(&(one.min(other), one.max(other))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weather;

    #[test]
    fn it_is_known_since_when_stations_reach_each_other_and_how_long_they_did_not() {
        let s = Duration::from_secs;
        let mut lan = Lan::new(2, Weather::FINE);
        (lan.add(0), lan.add(1));
        let mut meetings = Meetings::default();
        meetings.update(&lan, 2, s(0));
        assert_eq!(meetings.since(1, 0), Some(s(0)));
        lan.join(0, false);
        meetings.update(&lan, 2, s(5));
        assert_eq!((meetings.since(0, 1), meetings.apart(0, 1)), (None, None));
        lan.join(0, true);
        meetings.update(&lan, 2, s(8));
        meetings.update(&lan, 2, s(9));
        assert_eq!((meetings.since(0, 1), meetings.apart(0, 1)), (Some(s(8)), Some(s(3))));
    }
}
