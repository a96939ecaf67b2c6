//! From where somebody may speak.
//!
//! All members share one secret, so a seal says that a member speaks, not which. Which is told by the address that a frame
//! comes from, as far as the network can be trusted in that: it must be one that the cluster lists for the name in the
//! frame, or listed last. So whoever has the secret, but not the address of a node, cannot speak for that node; nor does
//! anybody hear what is meant for it at another address, whatever is said of where it is.
//!
//! - Until the cluster has listed anybody, everybody is heard: who begins while the API server is away acts on nothing
//!   before it has its lists, and needs the others to know of it. When the list is there, it holds for all.
//! - Who is listed no longer goes on from where it was: its Pod is replaced, or the API server is restored from a backup.
//! - A process that moves to another address is heard there at once by those who knew it before: it echoes a cookie
//!   that it was sent where it is listed (module [`crate::session`]). All others hear it when the cluster lists it there,
//!   which takes kubelet some seconds.
//! - A name that the cluster has never listed is no member, whatever it proves: nothing is believed of what it says of
//!   others, its profile counts for nothing, and there is room for a few such only. It is answered, so it is known at
//!   the moment when it is listed: a node that is new may be heard before its Pod is known here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use objects::NodeName;

/// Names that are remembered though they are listed no longer; twice what there may be of members.
const FORMER: usize = 4096;

/// All addresses of everybody.
type Addresses = BTreeMap<NodeName, BTreeSet<IpAddr>>;

/// Where everybody is, as the cluster lists it.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// `None`: the cluster has said nothing yet.
    listed: Option<Addresses>,
    /// Those that were listed before.
    former: Addresses,
}

/// What the cluster says of a name and an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing, of anybody.
    Unknown,
    /// That they belong together.
    Right,
    /// That the name belongs to others.
    Wrong,
    /// Nothing of this name.
    Unlisted,
}

impl Places {
    /// These are listed now. Whether they are the first.
    pub(crate) fn set(&mut self, listed: Addresses) -> bool {
        let before = self.listed.replace(listed.clone());
        let first = before.is_none();
        self.former.extend(before.into_iter().flatten());
        self.former.retain(|name, _| !listed.contains_key(name));
        while self.former.len() > FORMER {
            self.former.pop_first();
        }
        first
    }

    /// What is known of `name` at `ip`.
    pub(crate) fn look(&self, name: &NodeName, ip: IpAddr) -> Place {
        let Some(listed) = &self.listed else { return Place::Unknown };
        match listed.get(name).or_else(|| self.former.get(name)) {
            None => Place::Unlisted,
            Some(addresses) if addresses.contains(&ip) => Place::Right,
            Some(_) => Place::Wrong,
        }
    }

    /// Whether `name` may count.
    pub(crate) fn admit(&self, name: &NodeName) -> bool {
        let Some(listed) = &self.listed else { return true };
        listed.contains_key(name) || self.former.contains_key(name)
    }
}

/// Says something again and again, with pauses that grow from ten seconds to an hour.
#[derive(Debug, Default)]
pub(crate) struct BackOff(Option<(Instant, Duration)>);

impl BackOff {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_hours(1);

    /// Whether to say it now.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let pause = match self.0 {
            Some((next, _)) if now < next => return false,
            Some((next, pause)) if now < next + Self::LONGEST => (2 * pause).min(Self::LONGEST),
            Some(_) | None => Self::FIRST,
        };
        self.0 = Some((now + pause, pause));
        true
    }
}

/// Where to reach somebody: where it says, if it may be there, else where it is listed.
pub(crate) fn choose(said: Option<(SocketAddr, bool)>, listed: Option<SocketAddr>) -> Option<SocketAddr> {
    match said {
        Some((said, true)) if listed.is_none_or(|listed| listed.port() == said.port()) => Some(said),
        Some(_) | None => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn addresses(of: &[(&str, &[u8])]) -> Addresses {
        let entry =
            |(name, last): &(&str, &[u8])| (NodeName::from(*name), last.iter().copied().map(ip).collect());
        of.iter().map(entry).collect()
    }

    #[test]
    fn a_name_belongs_to_the_addresses_that_are_listed_now_or_were_listed_last() {
        let mut places = Places::default();
        let (a, b) = (NodeName::from("a"), NodeName::from("b"));
        assert_eq!((places.look(&a, ip(1)), places.admit(&a)), (Place::Unknown, true));
        assert!(places.set(addresses(&[("a", &[1, 2])])));
        assert_eq!(
            [1, 2, 3].map(|last| places.look(&a, ip(last))),
            [Place::Right, Place::Right, Place::Wrong]
        );
        assert_eq!((places.look(&b, ip(1)), places.admit(&b)), (Place::Unlisted, false));
        assert!(!places.set(addresses(&[("a", &[3]), ("b", &[4])])));
        assert_eq!([1, 3].map(|last| places.look(&a, ip(last))), [Place::Wrong, Place::Right]);
        places.set(addresses(&[]));
        assert_eq!([3, 4].map(|last| places.look(&a, ip(last))), [Place::Right, Place::Wrong]);
        assert!(places.admit(&b));
        places.set(addresses(&[("a", &[5])]));
        assert_eq!([3, 5].map(|last| places.look(&a, ip(last))), [Place::Wrong, Place::Right]);
    }

    #[test]
    fn names_that_come_and_go_take_a_limited_amount_of_memory() {
        let mut places = Places::default();
        for number in 0..3 * FORMER {
            places.set([(format!("n{number}").into(), BTreeSet::new())].into());
        }
        assert_eq!(places.former.len(), FORMER);
    }

    #[test]
    fn what_goes_on_is_said_less_and_less_often() {
        let start = Instant::now();
        let mut back_off = BackOff::default();
        let mut said = |seconds| back_off.is_due(start + Duration::from_secs(seconds));
        let times: Vec<_> = (0..20_000).filter(|second| said(*second)).collect();
        assert_eq!(times[..5], [0, 10, 30, 70, 150]);
        assert_eq!(times.windows(2).map(|pair| pair[1] - pair[0]).max(), Some(3600));
        assert!(said(40_000) && said(40_010));
    }

    #[test]
    fn nobody_is_spoken_to_where_it_may_not_be() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (here, there) = (at("192.0.2.1:7946"), at("192.0.2.2:7946"));
        assert_eq!(choose(Some((there, true)), Some(here)), Some(there));
        assert_eq!(choose(Some((there, false)), Some(here)), Some(here));
        assert_eq!(choose(Some((at("192.0.2.2:1"), true)), Some(here)), Some(here));
        assert_eq!(choose(Some((there, true)), None), Some(there));
        assert_eq!(choose(Some((there, false)), None), None);
    }
}
