//! The BFD session beside a BGP session (RFC 5882 section 10.2), which ends as soon as the other one fails.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use bfd::config::Profile;
use bfd::packet::{Diagnostic, State};
use bgp::config::{Hops, SessionConfig, SessionKind};
use tokio::sync::watch;

use super::discovery::{Router, interface};
use crate::bfd::{Distance, Statuses, Wanted, Way};

/// The BFD session that is wanted beside a BGP session, if one is. One with a router behind an interface begins when that is
/// found.
pub(super) fn wanted(config: &SessionConfig, router: Option<Router>) -> Option<(Way, Wanted)> {
    let interface = interface(config).cloned();
    let distance = match (&interface, config.asns.kind(), config.hops) {
        (Some(_), ..) | (None, SessionKind::External, Hops::One) => Distance::OneHop,
        (None, SessionKind::Internal, Hops::One | Hops::Many) => Distance::ByAddress,
        (None, SessionKind::External, Hops::Many) => Distance::ManyHops,
    };
    let profile = config.bfd?;
    let peer = config.transport.peer().or(router.map(|router| router.address.into()))?;
    let (source, vrf) = (config.transport.source(), config.vrf.clone());
    Some((Way { peer, source, interface, vrf }, Wanted { profile, distance }))
}

/// In how much time a router that no longer hears a session speaks to the next: once in a second (RFC 5880 section 6.8.3).
const FOUND: Duration = Duration::from_secs(1);
/// How often a router takes packets at most, as far as can be known beforehand: as often as FRR, where nothing else is said. By
/// that it misses a session later than one that sends sooner would have it.
const TAKEN: Duration = Duration::from_millis(300);
/// Less than a BGP session gives a connection to come up.
const FOUND_AT_LATEST: Duration = Duration::from_secs(4);

/// How long it takes a router to go over from the BFD session of a speaker that has ended a moment ago to one of the next: until
/// it finds that the former is down, and then hears the other. FRR takes no notice of the next before that. What it finds then
/// ends whatever BGP session there is, and routes that it has kept for a restart go with that one.
pub(super) fn found_within(profile: &Profile) -> Duration {
    let lost_after = profile.transmit.duration().max(TAKEN) * u32::from(profile.multiplier.get());
    (lost_after + FOUND).min(FOUND_AT_LATEST)
}

/// How the BFD session beside a BGP session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BfdStatus {
    /// Its state.
    pub state: State,
    /// Why it was last down.
    pub diagnostic: Diagnostic,
    /// Whether it is known by which way its packets go.
    pub has_way: bool,
    /// The UDP port of this node that its packets should arrive at, where that cannot be had.
    pub refused_port: Option<u16>,
}

impl BfdStatus {
    /// What is wrong with it, unless it is up.
    pub fn trouble(self) -> Option<String> {
        let Self { state, diagnostic, has_way, refused_port } = self;
        match state {
            State::Up => None,
            State::Init | State::Down if refused_port.is_some() => refused_port.map(|port| {
                format!(
                    "BFD is down: UDP port {port} of this node is taken; another program on it may speak BFD, of which there can be one"
                )
            }),
            State::AdminDown => Some("BFD is down: it is switched off".to_owned()),
            State::Init => Some("BFD is down: the router does not hear this node".to_owned()),
            State::Down if !has_way => {
                Some("BFD is down: there is no way to the router yet, says the log".to_owned())
            }
            State::Down if diagnostic == Diagnostic::NONE => {
                Some("BFD is down: the router has sent no packet of BFD".to_owned())
            }
            State::Down => Some(format!("BFD is down: {diagnostic}")),
        }
    }
}

/// The state, as RFC 5880 calls it.
impl fmt::Display for BfdStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

/// What BFD has to say of the way to one peer.
#[derive(Debug)]
pub(super) struct Beside {
    statuses: watch::Receiver<Statuses>,
    way: Option<Way>,
    /// Failures that were taken notice of.
    failures: u64,
    /// Whether it was up when somebody looked.
    is_up: bool,
}

impl Beside {
    pub(super) fn new(statuses: watch::Receiver<Statuses>) -> Self {
        Self { statuses, way: None, failures: 0, is_up: false }
    }

    /// The BGP session is like this from now on, with this router behind its interface. What was before is of no account for
    /// another way.
    pub(super) fn follow(&mut self, config: &SessionConfig, router: Option<Router>) {
        let way = wanted(config, router).map(|(way, _)| way);
        if way != self.way {
            self.way = way;
            self.failures = self.count();
            self.is_up = false;
        }
    }

    /// Waits until there may be something to say. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.way.is_none() || self.statuses.changed().await.is_err() {
            pending::<()>().await;
        }
    }

    /// Whether packets have ceased to get through since this was asked last. As long as they never did, nothing has ceased: a
    /// peer without BFD is a peer.
    pub(super) fn has_failed(&mut self) -> bool {
        let failures = self.count();
        // Less, where it is another session.
        failures > std::mem::replace(&mut self.failures, failures)
    }

    /// Waits until the session is up.
    pub(super) fn up(&self) -> impl Future<Output = ()> + Send + use<> {
        let (mut statuses, way) = (self.statuses.clone(), self.way.clone());
        async move {
            let Some(way) = way else { return };
            let is_up = |all: &Statuses| all.get(&way).is_some_and(|it| it.state == State::Up);
            _ = statuses.wait_for(is_up).await;
        }
    }

    /// Whether packets get through since this was asked last: whoever waits to connect again need not any more.
    pub(super) fn has_come_up(&mut self) -> bool {
        let is_up = self.status().is_some_and(|status| status.state == State::Up);
        !std::mem::replace(&mut self.is_up, is_up) && is_up
    }

    /// How it is doing, where it is wanted.
    pub(super) fn status(&self) -> Option<BfdStatus> {
        let way = self.way.as_ref()?;
        let told = self.statuses.borrow().get(way).copied();
        Some(BfdStatus {
            state: told.map_or(State::Down, |it| it.state),
            diagnostic: told.map_or(Diagnostic::NONE, |it| it.diagnostic),
            has_way: told.is_some_and(|it| it.local.is_some()),
            refused_port: told.and_then(|it| it.refused_port),
        })
    }

    fn count(&mut self) -> u64 {
        let statuses = self.statuses.borrow_and_update();
        self.way.as_ref().and_then(|way| statuses.get(way)).map_or(0, |status| status.failures)
    }
}

#[cfg(test)]
mod tests {
    use bgp::config::{AsNumbers, Families, PORT, PeerAs, Timers, Transport};

    use super::*;
    use crate::bfd::Status;

    #[test]
    fn what_is_wrong_is_told_unless_the_session_is_up() {
        let of = |state, diagnostic| BfdStatus { state, diagnostic, has_way: true, refused_port: None };
        assert_eq!(of(State::Up, Diagnostic::EXPIRED).trouble(), None);
        let said = |it: BfdStatus| it.trouble().unwrap();
        let expired = said(of(State::Down, Diagnostic::EXPIRED));
        assert_eq!(expired, "BFD is down: no control packet came in time");
        assert!(said(of(State::Down, Diagnostic::NONE)).contains("has sent no packet"));
        assert!(said(of(State::Init, Diagnostic::NONE)).contains("does not hear this node"));
        let lost = BfdStatus { has_way: false, ..of(State::Down, Diagnostic::NONE) };
        assert!(said(lost).contains("no way to the router"));
        let deaf = BfdStatus { refused_port: Some(3784), ..of(State::Down, Diagnostic::NONE) };
        assert!(said(deaf).contains("UDP port 3784 of this node is taken"));
    }

    #[test]
    fn a_router_has_as_long_to_find_the_next_session_as_it_takes_to_lose_the_former() {
        let of = |millis| {
            let transmit = Duration::from_millis(millis).try_into().unwrap();
            found_within(&Profile { transmit, ..Profile::default() })
        };
        assert_eq!([300, 50, 400].map(of), [1900, 1900, 2200].map(Duration::from_millis));
        assert_eq!(of(60_000), FOUND_AT_LATEST);
    }

    #[test]
    fn it_is_told_once_that_a_session_has_come_up_or_failed() {
        let asn = |number: u32| number.try_into().unwrap();
        let config = SessionConfig {
            name: "router".into(),
            transport: Transport::new("192.0.2.1".parse().unwrap(), None).unwrap(),
            port: PORT,
            vrf: None,
            asns: AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) },
            router_id: std::net::Ipv4Addr::new(192, 0, 2, 2).try_into().unwrap(),
            timers: Timers::default(),
            password: None,
            hops: Hops::One,
            families: Families::Both,
            graceful_restart: None,
            bfd: Some(Profile::default()),
        };
        let (way, _) = wanted(&config, None).unwrap();
        let (sender, statuses) = watch::channel(Statuses::new());
        let mut it = Beside::new(statuses);
        it.follow(&config, None);
        let mut after = |state, failures| {
            let status =
                Status { state, diagnostic: Diagnostic::NONE, local: None, refused_port: None, failures };
            sender.send_replace([(way.clone(), status)].into());
            (it.has_come_up(), it.has_failed())
        };
        assert_eq!(after(State::Down, 0), (false, false));
        assert_eq!(after(State::Up, 0), (true, false));
        assert_eq!(after(State::Up, 0), (false, false));
        assert_eq!(after(State::Down, 1), (false, true));
        assert_eq!(after(State::Up, 1), (true, false));
    }
}
