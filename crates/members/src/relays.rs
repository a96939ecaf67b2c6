//! Profiles by way of others, where the path from the one whose they are is lost.
//!
//! ```text
//! X                  M, a monitor of X                         R
//! | -- ProfilePart ---> |                                      |
//! | -- ProfilePart -------------------------------- lost       |
//! |                     | -- ProfileNews, boot, version -----> |  has an older one, or none
//! | <-------------------------------------------- Ping ------- |  X answers: it speaks for itself, nobody else is asked
//! |                     | <- RelayWanted, to each monitor ---- |  it does not
//! |                     | -- RelayedPart --------------------> |
//! ```
//!
//! What is relayed is hearsay, and bounded as such: it counts only from the monitors of the one whose it is, only while that
//! one itself is silent here, and it is kept apart from what was heard itself ([`crate::View::relayed`]). The first frame of
//! the one itself ends it. One profile of each member is kept, and each is asked for a few times only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use objects::NodeName;

use crate::parts::{Assembly, Part, PartNumbers, ProfileVersion};
use crate::{BootId, Profile, Refusal};

/// How often it is said that a profile has changed, for one may be lost,
const TIMES: u8 = 2;
/// and how long after each other; also where it changes all the time.
const EACH: Duration = Duration::from_millis(100);
/// For so long the one itself may answer before others are asked.
const PATIENCE: Duration = Duration::from_millis(50);
/// The same where nobody says that there is news: it may be about to be heard.
const LONG_PATIENCE: Duration = Duration::from_millis(300);
/// How often others are asked, with pauses that double up to the longest.
const ASKS: u8 = 8;
const LONGEST: Duration = Duration::from_secs(2);

/// A profile as others tell it.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Of which process.
    pub(crate) boot: BootId,
    pub(crate) version: ProfileVersion,
    pub(crate) profile: Profile,
}

/// Why others are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// One of them says that there is news.
    Told,
    /// It is not heard.
    Silence,
}

/// What is asked of others, and what they are told.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    wanted: BTreeMap<NodeName, Wanted>,
    /// Whose profile has changed, when that is to be said next, and how often.
    news: BTreeMap<NodeName, (Instant, u8)>,
}

#[derive(Debug)]
struct Wanted {
    boot: BootId,
    next: Instant,
    pause: Duration,
    asks_left: u8,
    asked: BTreeSet<NodeName>,
    /// By who tells it; those are few.
    told: BTreeMap<NodeName, Assembly>,
    done: BTreeSet<NodeName>,
}

impl Relays {
    /// The profile of a process is to be asked of others, unless it is heard itself in a moment. Whether that is new.
    pub(crate) fn want(&mut self, name: &NodeName, boot: BootId, why: Doubt, now: Instant) -> bool {
        let patience = match why {
            Doubt::Told => PATIENCE,
            Doubt::Silence => LONG_PATIENCE,
        };
        if let Some(known) = self.wanted.get_mut(name).filter(|known| known.boot == boot) {
            if why == Doubt::Told {
                // What was told so far may be older.
                (known.asks_left, known.pause) = (ASKS, PATIENCE);
                known.next = known.next.min(now + PATIENCE);
                known.done.clear();
            }
            return false;
        }
        let wanted = Wanted {
            boot,
            next: now + patience,
            pause: PATIENCE,
            asks_left: ASKS,
            asked: BTreeSet::new(),
            told: BTreeMap::new(),
            done: BTreeSet::new(),
        };
        self.wanted.insert(name.clone(), wanted);
        true
    }

    /// It is heard itself, or is gone.
    pub(crate) fn forget(&mut self, name: &NodeName) {
        self.wanted.remove(name);
    }

    /// Whose profile is to be asked for now, and of which process; to be called until that is nobody.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(NodeName, BootId)> {
        self.wanted.retain(|_, wanted| wanted.asks_left > 0 || now < wanted.next);
        let (name, wanted) = self.wanted.iter_mut().find(|(_, wanted)| wanted.next <= now)?;
        wanted.next = now + wanted.pause;
        wanted.pause = (2 * wanted.pause).min(LONGEST);
        wanted.asks_left -= 1;
        Some((name.clone(), wanted.boot))
    }

    /// `teller` is asked for the profile of `name`: for these parts, if any are missing.
    pub(crate) fn ask(&mut self, name: &NodeName, teller: &NodeName) -> Option<PartNumbers> {
        let wanted = self.wanted.get_mut(name)?;
        if wanted.done.contains(teller) {
            return None;
        }
        wanted.asked.insert(teller.clone());
        Some(wanted.told.get(teller).map_or(PartNumbers::ALL, Assembly::missing))
    }

    /// `teller` sends a part of the profile that a process of `name` has. Returns it when it was the last one missing. What
    /// was not asked for is no matter.
    pub(crate) fn add(
        &mut self,
        (name, boot): (&NodeName, BootId),
        teller: &NodeName,
        version: ProfileVersion,
        part: Part,
    ) -> Result<Option<Relayed>, Refusal> {
        let wanted = self.wanted.get_mut(name);
        let Some(wanted) = wanted.filter(|it| it.boot == boot && it.asked.contains(teller)) else {
            return Ok(None);
        };
        let told = wanted.told.entry(teller.clone()).or_insert_with(|| Assembly::new(version));
        if version != told.version() {
            *told = Assembly::new(version);
        }
        let Some(profile) = told.add(part)? else { return Ok(None) };
        wanted.told.remove(teller);
        wanted.done.insert(teller.clone());
        if wanted.asked.is_subset(&wanted.done) {
            self.forget(name);
        }
        Ok(Some(Relayed { boot, version, profile }))
    }

    /// The profile of `name` has changed, which is to be told.
    pub(crate) fn changed(&mut self, name: &NodeName, now: Instant) {
        let (next, _) = self.news.get(name).copied().unwrap_or((now, TIMES));
        self.news.insert(name.clone(), (next, TIMES));
    }

    /// Whose profile is said to have changed now; to be called until that is nobody.
    pub(crate) fn poll_news(&mut self, now: Instant) -> Option<NodeName> {
        self.news.retain(|_, (next, times)| *times > 0 || now < *next);
        let (name, (next, times)) =
            self.news.iter_mut().find(|(_, (next, times))| *times > 0 && *next <= now)?;
        (*next, *times) = (now + EACH, *times - 1);
        Some(name.clone())
    }

    /// When to poll next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let wanted = self.wanted.values().map(|wanted| wanted.next);
        wanted.chain(self.news.values().map(|(next, _)| *next)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ms;

    fn parts(text: &[u8]) -> Vec<Part> {
        Part::all_of(&Profile::new(text).unwrap())
    }

    #[test]
    fn others_are_asked_less_and_less_often_and_not_for_ever() {
        let (mut relays, start) = (Relays::default(), Instant::now());
        relays.want(&"x".into(), BootId(1), Doubt::Told, start);
        let mut asked = Vec::new();
        for at in 0..30_000 {
            while relays.poll(start + ms(at)).is_some() {
                asked.push(at);
            }
        }
        assert_eq!(asked, [50, 100, 200, 400, 800, 1600, 3200, 5200]);
        assert_eq!(relays.poll_timeout(), None);
    }

    #[test]
    fn only_who_was_asked_is_listened_to_and_each_once() {
        let (mut relays, now) = (Relays::default(), Instant::now());
        let (x, boot, version) = (NodeName::from("x"), BootId(1), ProfileVersion::first());
        relays.want(&x, boot, Doubt::Silence, now);
        let tell = |relays: &mut Relays, teller: &str, boot| {
            let part = parts(teller.as_bytes()).remove(0);
            let told = relays.add((&x, boot), &teller.into(), version, part).unwrap();
            told.map(|told| told.profile.as_bytes().to_vec())
        };
        assert_eq!(tell(&mut relays, "a", boot), None);
        for teller in ["a", "b"] {
            assert_eq!(relays.ask(&x, &teller.into()), Some(PartNumbers::ALL));
        }
        assert_eq!(tell(&mut relays, "c", boot), None);
        assert_eq!(tell(&mut relays, "a", BootId(2)), None);
        assert_eq!(tell(&mut relays, "a", boot), Some(b"a".to_vec()));
        assert_eq!(relays.ask(&x, &"a".into()), None);
        assert_eq!(tell(&mut relays, "b", boot), Some(b"b".to_vec()));
        assert_eq!(relays.poll_timeout(), None, "all have told");
    }

    #[test]
    fn a_profile_that_changes_all_the_time_is_said_to_ten_times_a_second() {
        let (mut relays, start) = (Relays::default(), Instant::now());
        let mut said = 0;
        for at in 0..1000 {
            relays.changed(&"x".into(), start + ms(at));
            said += usize::from(relays.poll_news(start + ms(at)).is_some());
        }
        assert_eq!(said, 10);
        let last = (1000..2000).filter(|at| relays.poll_news(start + ms(*at)).is_some()).count();
        assert_eq!((last, relays.poll_timeout()), (2, None));
    }
}
