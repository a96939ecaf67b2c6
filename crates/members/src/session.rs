//! Who has proved to be alive, and which of its frames were seen: protection against replays.
//!
//! A frame that is sealed with our key was made by a member, but perhaps long ago. Two things are asked of it:
//!
//! - The start of the process that sent it, told by its boot id, has proved to run *now*: it has echoed a
//!   [`Cookie`] of ours within some seconds. Until then everything it says is refused, and answered by a `Hello` with
//!   the cookie.
//! - Its counter was not seen before, by a sliding [`Window`] as in RFC 4303, section 3.4.3, which begins
//!   at the frame that brought the echo.
//!
//! ```text
//! A                                   B
//! | ---- Hello, cookie a -----------> |  B does not know A: refused, but answered
//! | <--- Hello, cookie b, echo a ---- |  A holds B for alive
//! | ---- Hello, echo b -------------> |  B holds A for alive
//! ```
//!
//! A cookie is the number of a short period of time, and a MAC over that and the name of whom it is made for, so nothing
//! is kept for anybody who has not echoed one.
//!
//! Cookies are sent only to where their receiver is known to be (module [`crate::places`]). So one of any age shows that
//! whoever echoes it has been there, in the life of the process that made it: that is how a process that moves to another
//! address is known again, before anybody else can say that it has moved.
//!
//! Whoever has the secret can make frames with any counter, and so make all others of its victim old. The victim proves
//! to be alive by a cookie of a later period than the last one, and then counts on from where it is.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use objects::NodeName;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::BootId;

/// After this long another cookie is made; the last but one is still good.
const COOKIE_LIFE: Duration = Duration::from_secs(10);

/// Proves, when echoed, that a process was running lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cookie(pub(crate) [u8; 16]);

/// The period of time in which a cookie was made; they are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Epoch(u32);

/// Makes cookies and knows them again.
#[derive(Debug)]
pub(crate) struct Cookies {
    key: hmac::Key,
    start: Instant,
    /// How often another was made before its time.
    renewed: u64,
}

impl Cookies {
    pub(crate) fn new(secret: &[u8; 32], start: Instant) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), start, renewed: 0 }
    }

    /// The cookie for `name`.
    pub(crate) fn make(&self, name: &NodeName, now: Instant) -> Cookie {
        self.of(name, self.epoch(now))
    }

    /// When `cookie` was made for `name`, if that was lately.
    pub(crate) fn accept(&self, cookie: &Cookie, name: &NodeName, now: Instant) -> Option<Epoch> {
        let epoch = self.made_at(cookie, name)?;
        self.epoch(now).0.checked_sub(epoch.0).filter(|age| *age <= 1).map(|_lately| epoch)
    }

    /// When `cookie` was made for `name`, if it ever was.
    pub(crate) fn made_at(&self, cookie: &Cookie, name: &NodeName) -> Option<Epoch> {
        let [a, b, c, d, ..] = cookie.0;
        let epoch = Epoch(u32::from_be_bytes([a, b, c, d]));
        (self.of(name, epoch) == *cookie).then_some(epoch)
    }

    /// Makes others from now on, so that whoever echoes one has heard us since.
    pub(crate) fn renew(&mut self) {
        self.renewed += 1;
    }

    /// Whether `cookie` is the one that is made for `name` now.
    pub(crate) fn is_latest(&self, cookie: &Cookie, name: &NodeName, now: Instant) -> bool {
        self.make(name, now) == *cookie
    }

    /// The period of those that are made now.
    pub(crate) fn epoch(&self, now: Instant) -> Epoch {
        let passed = now.saturating_duration_since(self.start).as_secs() / COOKIE_LIFE.as_secs();
        Epoch(u32::try_from(passed + self.renewed).unwrap_or(u32::MAX))
    }

    fn of(&self, name: &NodeName, epoch: Epoch) -> Cookie {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&epoch.0.to_be_bytes());
        context.update(name.as_str().as_bytes());
        let mut cookie = [0; 16];
        let (period, mac) = cookie.split_at_mut(4);
        period.copy_from_slice(&epoch.0.to_be_bytes());
        mac.copy_from_slice(&context.sign().as_ref()[..12]);
        Cookie(cookie)
    }
}

/// One start of a process that has proved to be alive.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) boot: BootId,
    pub(crate) window: Window,
    /// When the latest cookie was made by which it has proved to be alive.
    pub(crate) proven: Epoch,
    /// Where it is, if that is where the cluster does not list it: it has moved there since it was first heard.
    pub(crate) moved: Option<IpAddr>,
}

/// Which counters were seen.
#[derive(Debug)]
pub(crate) struct Window {
    highest: u64,
    /// A ring of bits for the counters up to the highest.
    seen: [u64; Self::WORDS],
}

impl Window {
    /// How far behind the highest a counter may be. Counters grow with frames to anybody, and a burst to
    /// hundreds of members may overtake a frame.
    const SIZE: u64 = 64 * Self::WORDS as u64;
    const WORDS: usize = 16;

    /// Whatever is not after `counter` counts as seen.
    pub(crate) fn after(counter: u64) -> Self {
        Self { highest: counter, seen: [u64::MAX; _] }
    }

    /// Whether `counter` is seen for the first time.
    pub(crate) fn see(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let steps = (counter - self.highest).min(Self::SIZE);
            for skipped in counter - steps + 1..=counter {
                self.seen[Self::word(skipped)] &= !Self::bit(skipped);
            }
            self.highest = counter;
        } else if self.highest - counter >= Self::SIZE {
            return false;
        }
        let (word, bit) = (Self::word(counter), Self::bit(counter));
        let first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        first
    }

    /// Whether `counter` is so far behind the highest that it can't be told whether it was seen.
    pub(crate) fn is_behind(&self, counter: u64) -> bool {
        self.highest.saturating_sub(counter) >= Self::SIZE
    }

    fn word(counter: u64) -> usize {
        usize::try_from(counter % Self::SIZE / 64).expect("less than the number of words")
    }

    fn bit(counter: u64) -> u64 {
        1 << (counter % 64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cookie_is_for_one_name_and_a_short_time() {
        let start = Instant::now();
        let cookies = Cookies::new(&[1; 32], start);
        let a = NodeName::from("a");
        let at = |seconds| start + Duration::from_secs(seconds);
        let cookie = cookies.make(&a, at(5));
        assert_eq!(cookies.accept(&cookie, &a, at(19)), Some(cookies.epoch(at(5))));
        assert_eq!(cookies.accept(&cookie, &a, at(20)), None);
        assert_eq!(cookies.accept(&cookie, &"b".into(), at(5)), None);
        assert_eq!(Cookies::new(&[2; 32], start).accept(&cookie, &a, at(5)), None);
    }

    #[test]
    fn a_cookie_of_any_age_is_known_again_and_no_other_is() {
        let start = Instant::now();
        let mut cookies = Cookies::new(&[1; 32], start);
        let a = NodeName::from("a");
        let cookie = cookies.make(&a, start);
        let made = cookies.epoch(start);
        cookies.renew();
        assert!(cookies.epoch(start) > made);
        assert_eq!(cookies.made_at(&cookie, &a), Some(made));
        assert_eq!(cookies.made_at(&cookie, &"b".into()), None);
        for at in 0..16 {
            let mut other = cookie;
            other.0[at] ^= 1;
            assert_eq!(cookies.made_at(&other, &a), None);
        }
        assert_eq!(cookies.made_at(&Cookie([0; 16]), &a), None);
    }

    #[test]
    fn whatever_came_before_the_proof_is_seen() {
        let mut window = Window::after(100);
        assert!(!window.see(100));
        assert!(!window.see(50));
        assert!(window.see(101));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(
            start in 0u64..3000, steps in prop::collection::vec(-1100i64..1100, 1..200)
        ) {
            let mut window = Window::after(start);
            let mut seen: BTreeSet<u64> = (0..=start).collect();
            let (mut at, mut highest) = (start, start);
            for step in steps {
                at = at.saturating_add_signed(step);
                highest = highest.max(at);
                let fresh = highest - at < Window::SIZE && seen.insert(at);
                prop_assert_eq!(window.see(at), fresh, "counter {}, highest {}", at, highest);
            }
        }

        #[test]
        fn no_counter_panics(start: u64, counters: Vec<u64>) {
            let mut window = Window::after(start);
            for counter in counters {
                window.see(counter);
                prop_assert!(!window.see(counter));
            }
        }
    }
}
