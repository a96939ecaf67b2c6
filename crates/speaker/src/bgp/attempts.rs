//! What has become of the attempts to connect to a router, in words that say what to look for.
//!
//! Passwords are checked by the kernels of both ends (RFC 2385): what is signed otherwise than they expect, or not at all, they
//! drop without a word. So a wrong password looks like a router that is off; and where this end has one, a refusal is dropped
//! too, for nobody signs it.

use std::io;
use std::time::{Duration, Instant};

use bgp::config::SessionConfig;

/// What is given up sooner than this, because the session is to be otherwise, says nothing about the router.
const ENOUGH: Duration = Duration::from_millis(500);

/// The attempts to connect since the last that succeeded. A session makes one at a time, and gives it up after some seconds.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When the one under way has begun.
    begun: Option<Instant>,
    failure: Option<Failure>,
}

/// How the last attempt has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    Unanswered,
    Refused,
    /// There is no such address here to connect from.
    NoAddress,
    /// There is no such device here.
    NoDevice,
    /// There is no way to the router.
    NoRoute,
    Other(String),
}

impl Attempts {
    /// One begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// The one under way has come to this.
    pub(super) fn end<T>(&mut self, result: &io::Result<T>) {
        self.begun = None;
        self.failure = match result {
            Ok(_) => None,
            Err(error) => Some(match error.kind() {
                io::ErrorKind::ConnectionRefused => Failure::Refused,
                io::ErrorKind::TimedOut => Failure::Unanswered,
                io::ErrorKind::AddrNotAvailable => Failure::NoAddress,
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Failure::NoRoute,
                _ if error.raw_os_error() == Some(libc::ENODEV) => Failure::NoDevice,
                _ => Failure::Other(error.to_string()),
            }),
        };
    }

    /// The one under way is given up.
    pub(super) fn give_up(&mut self, now: Instant) {
        if self.begun.take().is_some_and(|begun| begun + ENOUGH <= now) {
            self.failure = Some(Failure::Unanswered);
        }
    }

    /// Why there is no connection, if that is known.
    pub(super) fn trouble(&self, config: &SessionConfig) -> Option<String> {
        let source = config.transport.source();
        let of_source = source.map(|source| {
            format!(
                "spec.sourceAddress {source} is no address of this node: correct it, or let spec.nodeSelectors select the nodes that have it"
            )
        });
        let why = match (self.failure.as_ref()?, &config.password) {
            (Failure::NoAddress, _) => of_source
                .as_deref()
                .unwrap_or("this node has no address from which it could reach the router"),
            (Failure::NoDevice, _) => "this node has no device that is named like spec.vrf or spec.interface",
            (Failure::NoRoute, _) => {
                "this node has no route to the router, or nobody on its network has the router's address"
            }
            (Failure::Unanswered, None) => {
                "the router does not answer: it is off, cannot be reached, or has a password for this node and drops what comes without"
            }
            (Failure::Unanswered, Some(_)) => {
                "the router does not answer: it is off, cannot be reached, or has another password for this node, or none, and drops what comes with this one"
            }
            (Failure::Refused, _) => {
                "the router refuses it: nothing listens for BGP at this address and port"
            }
            (Failure::Other(error), _) => error,
        };
        Some(format!("no TCP connection: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use bgp::config::{AsNumbers, Families, Hops, PORT, PeerAs, Timers, Transport};

    use super::*;

    fn config(password: Option<&str>) -> SessionConfig {
        let asn = 64_512.try_into().unwrap();
        SessionConfig {
            name: "router".into(),
            transport: Transport::new("192.0.2.1".parse().unwrap(), None).unwrap(),
            port: PORT,
            vrf: None,
            asns: AsNumbers { own: asn, shown: None, peer: PeerAs::Is(asn) },
            router_id: std::net::Ipv4Addr::new(192, 0, 2, 2).try_into().unwrap(),
            timers: Timers::default(),
            password: password.map(|it| it.parse().unwrap()),
            hops: Hops::One,
            families: Families::Both,
            graceful_restart: None,
            bfd: None,
        }
    }

    #[test]
    fn a_router_that_does_not_answer_is_told_from_one_that_refuses() {
        let (mut it, now) = (Attempts::default(), Instant::now());
        let said = |it: &Attempts, password| it.trouble(&config(password)).unwrap_or_default();
        it.begin(now);
        assert_eq!(said(&it, None), "");
        it.give_up(now + ENOUGH);
        assert!(said(&it, None).contains("does not answer") && said(&it, None).contains("has a password"));
        assert!(said(&it, Some("x")).contains("has another password"), "{}", said(&it, Some("x")));
        it.end::<()>(&Err(io::ErrorKind::ConnectionRefused.into()));
        assert!(said(&it, None).starts_with("no TCP connection: the router refuses it"));
        it.begin(now);
        assert!(said(&it, None).contains("refuses"), "it is tried for again");
        it.end::<()>(&Err(io::Error::from_raw_os_error(libc::ENETUNREACH)));
        assert!(said(&it, None).contains("no route to the router"));
        it.end::<()>(&Err(io::Error::from_raw_os_error(libc::ENODEV)));
        assert!(said(&it, None).contains("spec.vrf"));
        it.end::<()>(&Err(io::ErrorKind::AddrNotAvailable.into()));
        assert!(said(&it, None).contains("has no address from which"));
        let source = Some("192.0.2.2".parse().unwrap());
        let transport = Transport::new("192.0.2.1".parse().unwrap(), source).unwrap();
        let told = it.trouble(&SessionConfig { transport, ..config(None) }).unwrap();
        assert!(told.contains("spec.sourceAddress 192.0.2.2 is no address of this node"), "{told}");
        it.end(&Ok(()));
        it.give_up(now + ENOUGH);
        it.begin(now);
        it.give_up(now);
        assert_eq!(said(&it, None), "");
    }
}
