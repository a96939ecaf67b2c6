//! What one session is: everything about it that somebody configures. A value of these types can be put into force as it is.

mod timers;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;
use std::sync::Arc;

use bfd::config::Profile;
use objects::{BgpPeerName, Family, InterfaceName};
pub use timers::{HoldTime, RestartTime, Timers, TimersError};

/// The port that BGP speakers listen on (RFC 4271 section 8.2.1).
pub const PORT: NonZeroU16 = NonZeroU16::new(179).expect("not 0");

/// One session with one router, as one node has it.
///
/// A change of anything in it makes a new session, but for `name` and `bfd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The peer, as the cluster calls it.
    pub name: BgpPeerName,
    /// The way to the peer.
    pub transport: Transport,
    /// The TCP port of the peer.
    pub port: NonZeroU16,
    /// The VRF device through which the peer is reached. Without it, the node's own routing table.
    pub vrf: Option<InterfaceName>,
    /// The AS numbers of both ends.
    pub asns: AsNumbers,
    /// The BGP identifier of this end.
    pub router_id: RouterId,
    /// Hold, keepalive and connect time.
    pub timers: Timers,
    /// The password that protects the TCP connection (RFC 2385).
    pub password: Option<Password>,
    /// How far away the peer may be.
    pub hops: Hops,
    /// The families whose routes are exchanged (RFC 4760).
    pub families: Families,
    /// How long the peer is asked to keep routes while this end restarts (RFC 4724). `None`: not at all.
    pub graceful_restart: Option<RestartTime>,
    /// How the BFD session beside this one works. `None`: there is none.
    pub bfd: Option<Profile>,
}

impl SessionConfig {
    /// Whether a session that is like this can go on when it is to be like `other`.
    pub fn makes_same_session(&self, other: &Self) -> bool {
        let Self {
            name: _,
            transport,
            port,
            vrf,
            asns,
            router_id,
            timers,
            password,
            hops,
            families,
            graceful_restart,
            bfd: _,
        } = self;
        *transport == other.transport
            && *port == other.port
            && *vrf == other.vrf
            && *asns == other.asns
            && *router_id == other.router_id
            && *timers == other.timers
            && *password == other.password
            && *hops == other.hops
            && *families == other.families
            && *graceful_restart == other.graceful_restart
    }
}

/// The way to a peer. Both ends are of one address family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// By IPv4.
    V4 {
        /// The address of the peer.
        peer: Ipv4Addr,
        /// The address to connect from; any that the kernel chooses when there is none.
        source: Option<Ipv4Addr>,
    },
    /// By IPv6.
    V6 {
        /// The address of the peer.
        peer: Ipv6Addr,
        /// The address to connect from; any that the kernel chooses when there is none.
        source: Option<Ipv6Addr>,
    },
    /// By IPv6 link-local addresses, to the router found behind this interface ("unnumbered").
    Interface(InterfaceName),
}

/// Source and peer are of different address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the source address {source_address} and the peer address {peer} are of different families")]
pub struct MixedFamilies {
    /// The address of the peer.
    pub peer: IpAddr,
    /// The address to connect from.
    pub source_address: IpAddr,
}

impl Transport {
    /// To `peer`, from `source` where that is given.
    pub fn new(peer: IpAddr, source: Option<IpAddr>) -> Result<Self, MixedFamilies> {
        match (peer, source) {
            (IpAddr::V4(peer), None) => Ok(Self::V4 { peer, source: None }),
            (IpAddr::V6(peer), None) => Ok(Self::V6 { peer, source: None }),
            (IpAddr::V4(peer), Some(IpAddr::V4(source))) => Ok(Self::V4 { peer, source: Some(source) }),
            (IpAddr::V6(peer), Some(IpAddr::V6(source))) => Ok(Self::V6 { peer, source: Some(source) }),
            (peer, Some(source_address)) => Err(MixedFamilies { peer, source_address }),
        }
    }

    /// The address of the peer, where it is known beforehand.
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::V4 { peer, .. } => Some((*peer).into()),
            Self::V6 { peer, .. } => Some((*peer).into()),
            Self::Interface(_) => None,
        }
    }

    /// The address to connect from, where one is asked for.
    pub fn source(&self) -> Option<IpAddr> {
        match self {
            Self::V4 { source, .. } => source.map(IpAddr::from),
            Self::V6 { source, .. } => source.map(IpAddr::from),
            Self::Interface(_) => None,
        }
    }

    /// The family of the connection.
    pub fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } | Self::Interface(_) => Family::V6,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4 { peer, .. } => peer.fmt(f),
            Self::V6 { peer, .. } => peer.fmt(f),
            Self::Interface(name) => name.fmt(f),
        }
    }
}

/// The number of an autonomous system, in four octets (RFC 6793). Never 0 (RFC 7607).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asn(NonZeroU32);

/// 0 is no AS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("0 is not an AS number")]
pub struct ZeroAsn;

impl Asn {
    /// AS_TRANS: stands for a number of four octets where only two fit (RFC 6793 section 9).
    pub const TRANS: u16 = 23_456;

    /// The number itself.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// The number itself, as what it cannot be is known.
    pub(crate) fn non_zero(self) -> NonZeroU32 {
        self.0
    }

    /// In two octets, by AS_TRANS when it is too large.
    pub fn two_octets(self) -> u16 {
        u16::try_from(self.number()).unwrap_or(Self::TRANS)
    }
}

impl From<NonZeroU32> for Asn {
    fn from(number: NonZeroU32) -> Self {
        Self(number)
    }
}

impl TryFrom<u32> for Asn {
    type Error = ZeroAsn;

    fn try_from(number: u32) -> Result<Self, ZeroAsn> {
        NonZeroU32::new(number).map(Self).ok_or(ZeroAsn)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The AS numbers of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsNumbers {
    /// The number of this end.
    pub own: Asn,
    /// The number that this end shows to this peer instead; its own one is then nowhere to be seen.
    pub shown: Option<Asn>,
    /// Which numbers the peer may have.
    pub peer: PeerAs,
}

/// Which AS number the peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAs {
    /// This one.
    Is(Asn),
    /// Whichever it tells, if it is this end's own one.
    Internal,
    /// Whichever it tells, if it is not this end's own one.
    External,
}

/// Whether two ends of a session are in one AS, by the numbers that they show each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKind {
    /// They are: IBGP.
    Internal,
    /// They are not: EBGP.
    External,
}

impl AsNumbers {
    /// The number that this end tells the peer.
    pub fn told(self) -> Asn {
        self.shown.unwrap_or(self.own)
    }

    /// The kind of the session with a peer that tells this number; `None` when the peer may not have it.
    pub fn accept(self, told: Asn) -> Option<SessionKind> {
        let allowed = match self.peer {
            PeerAs::Is(number) => told == number,
            PeerAs::Internal => told == self.own,
            PeerAs::External => told != self.own,
        };
        allowed.then(|| if told == self.told() { SessionKind::Internal } else { SessionKind::External })
    }

    /// The kind that the session is going to have.
    pub fn kind(self) -> SessionKind {
        match self.peer {
            PeerAs::Is(number) if number == self.told() => SessionKind::Internal,
            PeerAs::Internal => SessionKind::Internal,
            PeerAs::Is(_) | PeerAs::External => SessionKind::External,
        }
    }
}

/// The BGP identifier of a speaker (RFC 4271 section 4.2). Never 0 (RFC 6286 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(NonZeroU32);

/// 0.0.0.0 is no router ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("0.0.0.0 is not a router ID")]
pub struct ZeroRouterId;

impl RouterId {
    /// Its four octets.
    pub fn octets(self) -> [u8; 4] {
        self.0.get().to_be_bytes()
    }
}

impl TryFrom<Ipv4Addr> for RouterId {
    type Error = ZeroRouterId;

    fn try_from(address: Ipv4Addr) -> Result<Self, ZeroRouterId> {
        NonZeroU32::new(address.to_bits()).map(Self).ok_or(ZeroRouterId)
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv4Addr::from_bits(self.0.get()).fmt(f)
    }
}

/// How far away a peer may be. Packets leave with the greatest TTL in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hops {
    /// On a link of this node, unless it is in the same AS.
    One,
    /// Anywhere.
    Many,
}

/// The families whose routes a session exchanges: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// This one.
    Only(Family),
    /// IPv4 and IPv6.
    Both,
}

impl Families {
    /// Those of which this says so, if any.
    pub fn of(v4: bool, v6: bool) -> Option<Self> {
        match (v4, v6) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::Only(Family::V4)),
            (false, true) => Some(Self::Only(Family::V6)),
            (false, false) => None,
        }
    }

    /// Those that are in both, if any.
    pub fn common(self, other: Self) -> Option<Self> {
        let has = |family| self.contain(family) && other.contain(family);
        Self::of(has(Family::V4), has(Family::V6))
    }

    /// Whether routes of `family` are exchanged.
    pub fn contain(self, family: Family) -> bool {
        self.iter().any(|it| it == family)
    }

    /// Each of them, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        let (v4, v6) = match self {
            Self::Only(Family::V4) => (true, false),
            Self::Only(Family::V6) => (false, true),
            Self::Both => (true, true),
        };
        v4.then_some(Family::V4).into_iter().chain(v6.then_some(Family::V6))
    }
}

/// The password of a session. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<[u8]>);

/// Why something is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// There is nothing to it.
    #[error("the password is empty")]
    Empty,
    /// The kernel takes no more.
    #[error("the password has {0} bytes, which is more than the {max} that TCP takes", max = Password::MOST)]
    TooLong(usize),
}

impl Password {
    /// The most bytes that it may have (`TCP_MD5SIG_MAXKEYLEN` of Linux).
    pub const MOST: usize = 80;

    /// These bytes. The end of a line at their end is none of it: files have one, and no router can be given a password that
    /// ends like that.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, PasswordError> {
        let bytes = without_line_end(bytes.as_ref());
        match bytes.len() {
            0 => Err(PasswordError::Empty),
            length if length > Self::MOST => Err(PasswordError::TooLong(length)),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// What it consists of: for the kernel, and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").filter(|_| line.len() < bytes.len()).unwrap_or(line)
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        Self::new(text.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asn(number: u32) -> Asn {
        Asn::try_from(number).unwrap()
    }

    #[test]
    fn both_ends_of_a_transport_are_of_one_family() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, source, family) in [
            ("192.0.2.1", None, Family::V4),
            ("192.0.2.1", Some("192.0.2.2"), Family::V4),
            ("2001:db8::1", None, Family::V6),
            ("2001:db8::1", Some("2001:db8::2"), Family::V6),
        ] {
            let transport = Transport::new(ip(peer), source.map(ip)).unwrap();
            assert_eq!(
                (transport.peer(), transport.source(), transport.family()),
                (Some(ip(peer)), source.map(ip), family)
            );
            assert_eq!(transport.to_string(), peer);
        }
        for (peer, source) in [("192.0.2.1", "2001:db8::2"), ("2001:db8::1", "192.0.2.2")] {
            let mixed = MixedFamilies { peer: ip(peer), source_address: ip(source) };
            assert_eq!(Transport::new(ip(peer), Some(ip(source))), Err(mixed));
        }
        let unnumbered = Transport::Interface("eth0".into());
        assert_eq!((unnumbered.peer(), unnumbered.family()), (None, Family::V6));
    }

    #[test]
    fn which_numbers_a_peer_may_have_and_what_the_session_is_then() {
        use SessionKind::{External, Internal};
        for (own, shown, peer, told, kind) in [
            (1, None, PeerAs::Is(asn(1)), 1, Some(Internal)),
            (1, None, PeerAs::Is(asn(2)), 2, Some(External)),
            (1, None, PeerAs::Is(asn(2)), 3, None),
            (1, Some(3), PeerAs::Is(asn(2)), 2, Some(External)),
            (1, Some(3), PeerAs::Is(asn(3)), 3, Some(Internal)),
            (1, None, PeerAs::Internal, 1, Some(Internal)),
            (1, None, PeerAs::Internal, 2, None),
            (1, None, PeerAs::External, 2, Some(External)),
            (1, None, PeerAs::External, 1, None),
            (1, Some(3), PeerAs::External, 2, Some(External)),
        ] {
            let asns = AsNumbers { own: asn(own), shown: shown.map(asn), peer };
            assert_eq!(asns.accept(asn(told)), kind, "{asns:?} and {told}");
            assert!(kind.is_none_or(|kind| kind == asns.kind()), "{asns:?}");
        }
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        assert_eq!(Asn::try_from(0), Err(ZeroAsn));
        assert_eq!(RouterId::try_from(Ipv4Addr::UNSPECIFIED), Err(ZeroRouterId));
        assert_eq!((asn(64_512).two_octets(), asn(4_200_000_000).two_octets()), (64_512, Asn::TRANS));
        let id = RouterId::try_from(Ipv4Addr::new(192, 0, 2, 1)).unwrap();
        assert_eq!((id.octets(), id.to_string()), ([192, 0, 2, 1], "192.0.2.1".to_owned()));
    }

    #[test]
    fn a_password_fits_into_the_kernel_and_is_not_shown() {
        assert_eq!("".parse::<Password>(), Err(PasswordError::Empty));
        assert_eq!("x".repeat(81).parse::<Password>(), Err(PasswordError::TooLong(81)));
        let password: Password = "x".repeat(80).parse().unwrap();
        assert_eq!(format!("{password:?}"), "Password(..)");
        assert_eq!(password.expose().len(), 80);
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_password() {
        for (text, password) in [
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret\r", "secret\r"),
            (" secret ", " secret "),
        ] {
            assert_eq!(text.parse::<Password>().unwrap().expose(), password.as_bytes());
        }
        assert_eq!("\n".parse::<Password>(), Err(PasswordError::Empty));
        assert!(("x".repeat(80) + "\n").parse::<Password>().is_ok());
    }

    #[test]
    fn families_are_one_or_both() {
        let of = |families: Families| families.iter().collect::<Vec<_>>();
        assert_eq!(of(Families::Both), [Family::V4, Family::V6]);
        assert_eq!(of(Families::Only(Family::V6)), [Family::V6]);
        assert!(!Families::Only(Family::V4).contain(Family::V6));
    }
}
