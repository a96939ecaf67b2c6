//! Communities, and sets of them.

use std::collections::BTreeSet;
use std::collections::btree_set;
use std::fmt;
use std::str::FromStr;

/// A community (RFC 1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(u32);

/// A large community (RFC 8092).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// The AS that defines what the rest means.
    pub global: u32,
    /// The first part of the rest.
    pub local_1: u32,
    /// The second part of the rest.
    pub local_2: u32,
}

/// A text is no community.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCommunity {
    /// Not a standard one.
    #[error("not a community: write two numbers up to 65535, like 64512:100")]
    Standard,
    /// Not a large one.
    #[error("not a large community: write three numbers up to 4294967295, like large:64512:1:2")]
    Large,
}

impl Community {
    /// GRACEFUL_SHUTDOWN (RFC 8326): use other paths, this one is about to go.
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);

    /// `high:low`.
    pub fn new(high: u16, low: u16) -> Self {
        Self(u32::from(high) << 16 | u32::from(low))
    }

    /// As it is on the wire.
    pub fn value(self) -> u32 {
        self.0
    }
}

impl From<u32> for Community {
    fn from(value: u32) -> Self {
        Self(value)
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// As in `64512:100`.
impl FromStr for Community {
    type Err = NoCommunity;

    fn from_str(text: &str) -> Result<Self, NoCommunity> {
        let [high, low] = numbers(text).ok_or(NoCommunity::Standard)?;
        Ok(Self::new(high, low))
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "large:{}:{}:{}", self.global, self.local_1, self.local_2)
    }
}

/// As in `large:64512:1:2`.
impl FromStr for LargeCommunity {
    type Err = NoCommunity;

    fn from_str(text: &str) -> Result<Self, NoCommunity> {
        let [global, local_1, local_2] =
            text.strip_prefix("large:").and_then(numbers).ok_or(NoCommunity::Large)?;
        Ok(Self { global, local_1, local_2 })
    }
}

/// `N` numbers with colons between them, of digits alone.
fn numbers<T: FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let number = |part: &str| part.bytes().all(|it| it.is_ascii_digit()).then(|| part.parse().ok())?;
    let numbers: Vec<T> = text.split(':').map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// A set of communities of one sort: at most [`Communities::MOST`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Communities<T>(BTreeSet<T>);

/// There are more communities than a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a route can have {max} communities of a sort at most", max = Communities::<Community>::MOST)]
pub struct TooMany;

impl<T: Ord + Copy> Communities<T> {
    /// The most that a route may have, as upstream has it.
    pub const MOST: usize = 63;

    /// These.
    pub fn new(communities: impl IntoIterator<Item = T>) -> Result<Self, TooMany> {
        let mut set = BTreeSet::new();
        for community in communities {
            if set.insert(community) && set.len() > Self::MOST {
                return Err(TooMany);
            }
        }
        Ok(Self(set))
    }

    /// Those of both.
    pub fn union(&self, other: &Self) -> Result<Self, TooMany> {
        Self::new(self.iter().chain(other.iter()))
    }

    /// Each of them, the least first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        self.0.iter().copied()
    }
}

impl<T> Communities<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Communities<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<'a, T> IntoIterator for &'a Communities<T> {
    type Item = &'a T;
    type IntoIter = btree_set::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_read_as_they_are_written() {
        for text in ["0:0", "64512:100", "65535:65535"] {
            assert_eq!(text.parse::<Community>().unwrap().to_string(), text);
        }
        for text in ["large:0:0:0", "large:64512:1:2", "large:4294967295:4294967295:4294967295"] {
            assert_eq!(text.parse::<LargeCommunity>().unwrap().to_string(), text);
        }
        assert_eq!(Community::GRACEFUL_SHUTDOWN.to_string(), "65535:0");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", ":", "1", "1:", "65536:1", "1:65536", "1:2:3", "+1:2", " 1:2", "large:1:2:3"] {
            assert_eq!(text.parse::<Community>(), Err(NoCommunity::Standard), "{text}");
        }
        for text in ["large:1:2", "1:2:3", "large:1:2:4294967296", "large:1:2:3:4", "large:1:2:-3"] {
            assert_eq!(text.parse::<LargeCommunity>(), Err(NoCommunity::Large), "{text}");
        }
    }

    #[test]
    fn a_set_has_each_once_and_63_at_most() {
        let of = |numbers: std::ops::Range<u32>| Communities::new(numbers.map(Community::from));
        assert_eq!(of(0..64), Err(TooMany));
        let (low, high) = (of(0..40).unwrap(), of(20..63).unwrap());
        assert_eq!(low.union(&high), of(0..63));
        assert_eq!(low.union(&of(63..90).unwrap()), Err(TooMany));
    }
}
