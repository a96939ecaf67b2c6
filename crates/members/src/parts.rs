//! Profiles that do not fit into one frame: sent in parts, which are asked for until all have come.
//!
//! ```text
//! A                                        B
//! | ---- anything, profile version 2 ----> |  B knows version 1 at most
//! | <--- ProfileWanted, parts 0..8 ------- |
//! | ---- ProfilePart 0 of 2 -------------> |
//! | ---- ProfilePart 1 of 2 ---- lost      |
//! | <--- ProfileWanted, part 1 ----------- |  after a pause, until it has come or A is gone
//! | ---- ProfilePart 1 of 2 -------------> |  B knows version 2
//! ```
//!
//! Each frame names the sender's version, so a part belongs to the version of its frame. When a profile changes, the
//! parts are sent to everybody without being asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use objects::NodeName;
use serde::{Deserialize, Serialize};

use crate::{Profile, Refusal};

/// How much of a profile is in one frame, in bytes.
const SIZE: usize = 1024;
const MOST: usize = Profile::MAX / SIZE;
/// Who has just been told who we are is asked a moment later: a question that overtakes that is refused.
const MOMENT: Duration = Duration::from_millis(2);
/// The first pause before what is missing is asked for again; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How often the profile of a process has changed.
///
/// A member that sends and takes parts counts from [`IN_PARTS`](Self::IN_PARTS), one that also relays those of others from
/// [`RELAYED`](Self::RELAYED) beyond that, one of an earlier version from zero: so every frame tells which of them its sender
/// is, and nothing is sent to whom it would be malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProfileVersion(u32);

impl ProfileVersion {
    /// Small, for it is in every frame.
    const IN_PARTS: u32 = 1 << 20;
    const RELAYED: u32 = 1 << 19;

    pub(crate) const fn first() -> Self {
        Self(Self::IN_PARTS | Self::RELAYED)
    }

    /// The version after this one; after very many they begin again.
    pub(crate) const fn next(self) -> Self {
        Self(Self::IN_PARTS | Self::RELAYED | ((self.0 + 1) % Self::RELAYED))
    }

    /// Whether its sender sends its profile in parts, and takes those of others.
    pub(crate) const fn is_in_parts(self) -> bool {
        self.0 & Self::IN_PARTS != 0
    }

    /// Whether its sender relays the profiles of others, and takes what is relayed.
    pub(crate) const fn is_relayed(self) -> bool {
        self.is_in_parts() && self.0 & Self::RELAYED != 0
    }

    /// Whether this is the later of two versions of one process.
    const fn is_after(self, other: Self) -> bool {
        let round = if self.is_relayed() { Self::RELAYED } else { Self::IN_PARTS };
        let ahead = self.0.wrapping_sub(other.0) % round;
        0 < ahead && ahead < round / 2
    }

    /// Whether it is worth asking for, if `known` is.
    pub(crate) fn is_news(self, known: Option<Self>) -> bool {
        self.is_in_parts() && known.is_none_or(|known| self.is_after(known))
    }

    #[cfg(test)]
    pub(crate) const fn of_an_earlier_member(count: u32) -> Self {
        Self(count)
    }
}

/// One part of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Which of them, from zero.
    number: u8,
    /// How many there are.
    count: u8,
    bytes: Vec<u8>,
}

impl Part {
    /// All parts of a profile, at least one.
    pub(crate) fn all_of(profile: &Profile) -> Vec<Self> {
        let bytes = profile.as_bytes();
        let count = u8::try_from(bytes.len().div_ceil(SIZE).max(1)).expect("a profile is not that long");
        let part = |number| {
            let (_, rest) = bytes.split_at(usize::from(number) * SIZE);
            Self { number, count, bytes: rest[..rest.len().min(SIZE)].to_vec() }
        };
        (0..count).map(part).collect()
    }

    /// Whether some profile has such a part.
    fn is_sound(&self) -> bool {
        let last = usize::from(self.number) + 1 == usize::from(self.count);
        self.number < self.count
            && usize::from(self.count) <= MOST
            && if last { self.bytes.len() <= SIZE } else { self.bytes.len() == SIZE }
    }
}

/// Which parts of a profile: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartNumbers(u8);

impl PartNumbers {
    /// However many there are.
    pub(crate) const ALL: Self = Self(u8::MAX);

    pub(crate) fn contains(self, part: &Part) -> bool {
        self.0.checked_shr(part.number.into()).is_some_and(|bits| bits & 1 == 1)
    }

    fn of_missing(parts: &[Option<Vec<u8>>]) -> Self {
        let bits = parts.iter().enumerate().filter(|(_, part)| part.is_none()).map(|(number, _)| 1 << number);
        Self(bits.sum())
    }
}

/// A profile that is put together.
#[derive(Debug)]
pub(crate) struct Assembly {
    version: ProfileVersion,
    /// Empty as long as it is not known how many there are.
    parts: Vec<Option<Vec<u8>>>,
}

impl Assembly {
    pub(crate) fn new(version: ProfileVersion) -> Self {
        Self { version, parts: Vec::new() }
    }

    pub(crate) fn version(&self) -> ProfileVersion {
        self.version
    }

    /// What to ask for.
    pub(crate) fn missing(&self) -> PartNumbers {
        match &self.parts[..] {
            [] => PartNumbers::ALL,
            parts => PartNumbers::of_missing(parts),
        }
    }

    /// How many have come.
    fn count(&self) -> usize {
        self.parts.iter().flatten().count()
    }

    /// A part has come. Returns the profile when it was the last one that was missing.
    pub(crate) fn add(&mut self, part: Part) -> Result<Option<Profile>, Refusal> {
        if !part.is_sound() {
            return Err(Refusal::Malformed);
        }
        if self.parts.is_empty() {
            self.parts = vec![None; part.count.into()];
        }
        if self.parts.len() != usize::from(part.count) {
            return Err(Refusal::Malformed);
        }
        self.parts[usize::from(part.number)].get_or_insert(part.bytes);
        let Some(parts) = self.parts.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        Profile::new(parts.concat()).map(Some).map_err(|_too_long| Refusal::Malformed)
    }
}

/// The profiles that are on their way here.
#[derive(Debug, Default)]
pub(crate) struct Incoming(BTreeMap<NodeName, Collected>);

#[derive(Debug)]
struct Collected {
    assembly: Assembly,
    next: Instant,
    pause: Duration,
}

impl Collected {
    fn new(version: ProfileVersion, next: Instant) -> Self {
        Self { assembly: Assembly::new(version), next, pause: FIRST }
    }
}

impl Incoming {
    /// `name` has that version, which is unknown here. What is missing of it is asked for from now on.
    pub(crate) fn want(&mut self, name: &NodeName, version: ProfileVersion, now: Instant) {
        if self.0.get(name).is_none_or(|known| version.is_after(known.assembly.version)) {
            self.0.insert(name.clone(), Collected::new(version, now + MOMENT));
        }
    }

    /// A part of that version has come. Returns the profile when it was the last one that was missing. Parts of older
    /// versions, and those that are there already, are no matter.
    pub(crate) fn add(
        &mut self,
        name: &NodeName,
        version: ProfileVersion,
        part: Part,
        now: Instant,
    ) -> Result<Option<Profile>, Refusal> {
        if !part.is_sound() {
            return Err(Refusal::Malformed);
        }
        self.want(name, version, now);
        let Some(known) = self.0.get_mut(name).filter(|known| known.assembly.version == version) else {
            return Ok(None);
        };
        let before = known.assembly.count();
        let profile = known.assembly.add(part)?;
        if known.assembly.count() > before {
            // The others are probably on their way too.
            (known.next, known.pause) = (now + FIRST, FIRST);
        }
        if profile.is_some() {
            self.forget(name);
        }
        Ok(profile)
    }

    /// Nothing is wanted of `name` any more.
    pub(crate) fn forget(&mut self, name: &NodeName) {
        self.0.remove(name);
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|collected| collected.next).min()
    }

    /// Whom to ask now for which parts; to be called until that is nobody.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(NodeName, PartNumbers)> {
        let (name, collected) = self.0.iter_mut().find(|(_, collected)| collected.next <= now)?;
        collected.next = now + collected.pause;
        collected.pause = (2 * collected.pause).min(LONGEST);
        Some((name.clone(), collected.assembly.missing()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::ms;

    fn name() -> NodeName {
        "a".into()
    }

    fn profile(length: usize) -> Profile {
        let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        Profile::new(bytes).unwrap()
    }

    #[test]
    fn a_profile_of_any_length_is_put_together_again() {
        let now = Instant::now();
        for length in [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, Profile::MAX - 1, Profile::MAX] {
            let mut incoming = Incoming::default();
            let parts = Part::all_of(&profile(length)).into_iter();
            let put =
                parts.filter_map(|part| incoming.add(&name(), ProfileVersion::first(), part, now).unwrap());
            assert_eq!(put.collect::<Vec<_>>(), [profile(length)]);
            assert_eq!(incoming.poll_timeout(), None);
        }
    }

    #[test]
    fn what_is_missing_is_asked_for_less_and_less_often() {
        let start = Instant::now();
        let mut incoming = Incoming::default();
        incoming.want(&name(), ProfileVersion::first(), start);
        assert_eq!(incoming.poll(start + ms(1)), None);
        assert_eq!(incoming.poll(start + ms(2)), Some((name(), PartNumbers::ALL)));
        assert_eq!((incoming.poll(start + ms(2)), incoming.poll_timeout()), (None, Some(start + ms(52))));
        let parts = Part::all_of(&profile(3 * SIZE));
        incoming.add(&name(), ProfileVersion::first(), parts[1].clone(), start + ms(10)).unwrap();
        let mut asked = Vec::new();
        for at in 0..10_000 {
            if let Some((_, missing)) = incoming.poll(start + ms(at)) {
                assert_eq!(missing, PartNumbers(0b101));
                assert!(missing.contains(&parts[2]) && !missing.contains(&parts[1]));
                asked.push(at);
            }
        }
        assert_eq!(asked, [60, 110, 210, 410, 810, 1610, 3210, 5210, 7210, 9210]);
    }

    #[test]
    fn parts_of_two_versions_are_not_mixed() {
        let now = Instant::now();
        let mut incoming = Incoming::default();
        let (first, second) = (ProfileVersion::first(), ProfileVersion::first().next());
        let old = Part::all_of(&profile(2 * SIZE));
        let new = Part::all_of(&profile(SIZE + 5));
        for (version, part) in [(first, &old[0]), (second, &new[1]), (first, &old[1])] {
            assert_eq!(incoming.add(&name(), version, part.clone(), now), Ok(None));
        }
        assert_eq!(incoming.add(&name(), second, new[0].clone(), now), Ok(Some(profile(SIZE + 5))));
    }

    #[test]
    fn versions_follow_each_other_and_begin_again() {
        let first = ProfileVersion::first();
        assert!(first.next().is_after(first) && !first.is_after(first.next()) && !first.is_after(first));
        let last = ProfileVersion(2 * ProfileVersion::IN_PARTS - 1);
        assert_eq!(last.next(), first);
        assert!(first.is_after(last) && first.is_news(Some(last)) && first.is_news(None));
        assert!(!ProfileVersion::of_an_earlier_member(7).is_news(None));
    }

    #[test]
    fn parts_that_no_profile_has_are_malformed() {
        let now = Instant::now();
        for (number, count, length) in
            [(0, 0, 0), (1, 1, 0), (0, 2, 5), (0, 9, SIZE), (255, 255, 0), (0, 1, SIZE + 1)]
        {
            let part = Part { number, count, bytes: vec![0; length] };
            let result = Incoming::default().add(&name(), ProfileVersion::first(), part, now);
            assert_eq!(result, Err(Refusal::Malformed), "{number} of {count}");
        }
        let mut incoming = Incoming::default();
        for length in [3 * SIZE, 2 * SIZE] {
            let part = Part::all_of(&profile(length)).remove(0);
            let _other_count = incoming.add(&name(), ProfileVersion::first(), part, now);
        }
        assert_eq!(incoming.poll(now + FIRST), Some((name(), PartNumbers(0b110))));
    }

    proptest! {
        #[test]
        fn whatever_is_lost_sent_twice_or_overtaken_the_profile_comes_whole(
            length in 0..=Profile::MAX, order in prop::collection::vec(any::<prop::sample::Index>(), 0..60)
        ) {
            let start = Instant::now();
            let mut incoming = Incoming::default();
            let (sent, version) = (profile(length), ProfileVersion::first());
            let parts = Part::all_of(&sent);
            let mut got = None;
            for part in order {
                if got.is_none() {
                    got = incoming.add(&name(), version, part.get(&parts).clone(), start).unwrap();
                }
            }
            if got.is_none() {
                incoming.want(&name(), version, start);
                let (_, missing) = incoming.poll(start + LONGEST).unwrap();
                for part in parts.into_iter().filter(|part| missing.contains(part)) {
                    got = incoming.add(&name(), version, part, start).unwrap();
                }
            }
            prop_assert_eq!(got, Some(sent));
            prop_assert_eq!(incoming.poll_timeout(), None);
        }

        #[test]
        fn no_part_panics(parts in prop::collection::vec((any::<u8>(), 0u8..12, 0..2 * SIZE, any::<u32>()), 1..50)) {
            let now = Instant::now();
            let mut incoming = Incoming::default();
            for (number, count, length, version) in parts {
                let part = Part { number, count, bytes: vec![0; length] };
                let _ = PartNumbers(number).contains(&part);
                let _ = incoming.add(&name(), ProfileVersion(version), part, now);
            }
        }
    }
}
