//! Since when which stations reach each other.

use std::time::Duration;

use crate::lan::{Lan, StationId};

/// For each pair of stations: those with the first, those with the second, ...
#[derive(Debug, Default)]
pub(crate) struct Meetings(Vec<Meeting>);

#[derive(Debug, Default)]
struct Meeting {
    /// Since when they reach each other, if they do.
    since: Option<Duration>,
    /// When they did not.
    apart: Vec<Span>,
}

/// From when to when two stations did not reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Meetings {
    /// The LAN may have changed.
    pub(crate) fn update(&mut self, lan: &Lan, now: Duration) {
        let pairs = (0..lan.stations()).flat_map(|other| (0..other).map(move |one| (one, other)));
        self.0.resize_with(place(0, lan.stations()), Meeting::default);
        for ((one, other), meeting) in pairs.zip(&mut self.0) {
            match (meeting.since, lan.connected(one, other)) {
                (None, true) => {
                    meeting.since = Some(now);
                    if let Some(last) = meeting.apart.last_mut() {
                        last.to = now;
                    }
                }
                (Some(_), false) => {
                    meeting.since = None;
                    meeting.apart.push(Span { from: now, to: Duration::MAX });
                }
                (Some(_), true) | (None, false) => {}
            }
        }
    }

    /// Since when two stations reach each other, if they do.
    pub(crate) fn since(&self, one: StationId, other: StationId) -> Option<Duration> {
        self.between(one, other)?.since
    }

    /// When two stations did not reach each other, the last time at the end.
    pub(crate) fn apart(&self, one: StationId, other: StationId) -> &[Span] {
        self.between(one, other).map_or(&[], |meeting| &meeting.apart)
    }

    fn between(&self, one: StationId, other: StationId) -> Option<&Meeting> {
        self.0.get(place(one.min(other), one.max(other)))
    }
}

/// Where a pair is found, the lesser first.
fn place(one: StationId, other: StationId) -> usize {
    other * other.saturating_sub(1) / 2 + one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weather;

    #[test]
    fn it_is_known_since_when_stations_reach_each_other_and_how_long_they_did_not() {
        let s = Duration::from_secs;
        let mut lan = Lan::new(2, Weather::FINE);
        lan.add(0);
        lan.add(1);
        let mut meetings = Meetings::default();
        meetings.update(&lan, s(0));
        assert_eq!(meetings.since(1, 0), Some(s(0)));
        lan.join(0, false);
        meetings.update(&lan, s(5));
        assert_eq!(meetings.since(0, 1), None);
        lan.join(0, true);
        meetings.update(&lan, s(8));
        meetings.update(&lan, s(9));
        assert_eq!(
            (meetings.since(0, 1), meetings.apart(0, 1)),
            (Some(s(8)), &[Span { from: s(5), to: s(8) }][..])
        );
    }
}
