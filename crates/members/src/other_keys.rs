//! Whether all that is heard is sealed with other keys.

use std::time::{Duration, Instant};

use crate::Refusal;

/// Keys come to the nodes within some seconds of each other; until then, one that hears nothing but another key is only
/// suspicious.
const PATIENCE: Duration = Duration::from_secs(1);
/// Speakers contact those that they do not hear every 0.4 s, in very large clusters every few seconds. When none has for so
/// long, they are gone, or cannot be reached, and what key they had says nothing any more.
const FORGOTTEN: Duration = Duration::from_secs(3);

/// What the frames of late were sealed with.
#[derive(Debug, Clone, Copy, Default)]
pub struct OtherKeys {
    /// When the first and the last came that was sealed with another key, since one came that was not.
    heard: Option<(Instant, Instant)>,
}

impl OtherKeys {
    /// A frame has come, and was taken in or refused.
    pub fn received<T>(&mut self, result: &Result<T, Refusal>, now: Instant) {
        match result {
            Ok(_) => self.heard = None,
            Err(Refusal::UnknownKey) => {
                let first = self.heard.filter(|_| self.lasts(now)).map_or(now, |(first, _)| first);
                self.heard = Some((first, now));
            }
            Err(_) => {}
        }
    }

    /// Whether nothing else has been heard for some time.
    pub fn prevail(&self, now: Instant) -> bool {
        self.lasts(now) && self.heard.is_some_and(|(first, _)| now >= first + PATIENCE)
    }

    fn lasts(&self, now: Instant) -> bool {
        self.heard.is_some_and(|(_, last)| now < last + FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: Result<(), Refusal> = Err(Refusal::UnknownKey);

    #[test]
    fn another_key_counts_while_it_is_heard_and_nothing_else_is() {
        let (mut keys, start) = (OtherKeys::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!keys.prevail(start));
        keys.received(&FOREIGN, at(0));
        assert!(!keys.prevail(at(999)));
        assert!(keys.prevail(at(1000)));
        keys.received(&Err::<(), _>(Refusal::Malformed), at(1200));
        assert!(keys.prevail(at(1200)), "that says nothing");
        keys.received(&Ok(()), at(1500));
        assert!(!keys.prevail(at(1500)));
        keys.received(&FOREIGN, at(1600));
        assert!(!keys.prevail(at(1700)));
        assert!(keys.prevail(at(2600)));
    }

    #[test]
    fn it_is_forgotten_when_those_that_have_it_are_heard_no_more() {
        let (mut keys, start) = (OtherKeys::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        (0..5).for_each(|second| keys.received(&FOREIGN, at(second * 1000)));
        assert!(keys.prevail(at(6999)));
        assert!(!keys.prevail(at(7000)));
        keys.received(&FOREIGN, at(9000));
        assert!(!keys.prevail(at(9500)), "it begins anew");
        assert!(keys.prevail(at(10_000)));
    }
}
