//! The configuration of a session in plain values.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::time::Duration;

use bfd::config::{Interval, Profile, Role};
use serde::{Deserialize, Serialize};

use super::{FamiliesForm, InvalidSnapshot};
use crate::config::{
    AsNumbers, Asn, Hops, Password, PeerAs, RestartTime, RouterId, SessionConfig, Timers, Transport,
};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    name: String,
    transport: TransportForm,
    port: NonZeroU16,
    vrf: Option<String>,
    asn: NonZeroU32,
    shown_asn: Option<NonZeroU32>,
    peer_asn: PeerAsForm,
    router_id: Ipv4Addr,
    hold_seconds: u16,
    keepalive: Option<Duration>,
    connect: Duration,
    password: Option<Vec<u8>>,
    is_multihop: bool,
    families: FamiliesForm,
    restart_seconds: Option<u16>,
    bfd: Option<BfdForm>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum TransportForm {
    Address { peer: IpAddr, source: Option<IpAddr> },
    Interface(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum PeerAsForm {
    Is(NonZeroU32),
    Internal,
    External,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BfdForm {
    transmit: Duration,
    receive: Duration,
    multiplier: NonZeroU8,
    echo: Option<Duration>,
    is_passive: bool,
    least_ttl: NonZeroU8,
}

impl Form {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn of(config: &SessionConfig) -> Self {
        let SessionConfig {
            name,
            transport,
            port,
            vrf,
            asns: AsNumbers { own, shown, peer },
            router_id,
            timers,
            password,
            hops,
            families,
            graceful_restart,
            bfd,
        } = config;
        let (hold_seconds, keepalive, connect) = timers.parts();
        Self {
            name: name.as_str().to_owned(),
            transport: match transport {
                Transport::V4 { peer, source } => {
                    TransportForm::Address { peer: (*peer).into(), source: source.map(IpAddr::from) }
                }
                Transport::V6 { peer, source } => {
                    TransportForm::Address { peer: (*peer).into(), source: source.map(IpAddr::from) }
                }
                Transport::Interface(name) => TransportForm::Interface(name.as_str().to_owned()),
            },
            port: *port,
            vrf: vrf.as_ref().map(|vrf| vrf.as_str().to_owned()),
            asn: own.non_zero(),
            shown_asn: shown.map(Asn::non_zero),
            peer_asn: match peer {
                PeerAs::Is(asn) => PeerAsForm::Is(asn.non_zero()),
                PeerAs::Internal => PeerAsForm::Internal,
                PeerAs::External => PeerAsForm::External,
            },
            router_id: Ipv4Addr::from(router_id.octets()),
            hold_seconds,
            keepalive,
            connect,
            password: password.as_ref().map(|password| password.expose().to_vec()),
            is_multihop: *hops == Hops::Many,
            families: FamiliesForm::of(families.iter()),
            restart_seconds: graceful_restart.map(RestartTime::seconds),
            bfd: bfd.map(BfdForm::of),
        }
    }

    pub(super) fn read(self) -> Result<SessionConfig, InvalidSnapshot> {
        let restart = |seconds| RestartTime::from_seconds(seconds).ok_or(InvalidSnapshot("the restart time"));
        let password = |octets: Vec<u8>| {
            Password::new(octets).map_err(|_| InvalidSnapshot("the length of the password"))
        };
        Ok(SessionConfig {
            name: self.name.into(),
            transport: match self.transport {
                TransportForm::Address { peer, source } => {
                    Transport::new(peer, source).map_err(|_| InvalidSnapshot("the source address"))?
                }
                TransportForm::Interface(name) => Transport::Interface(name.into()),
            },
            port: self.port,
            vrf: self.vrf.map(Into::into),
            asns: AsNumbers {
                own: self.asn.into(),
                shown: self.shown_asn.map(Asn::from),
                peer: match self.peer_asn {
                    PeerAsForm::Is(asn) => PeerAs::Is(asn.into()),
                    PeerAsForm::Internal => PeerAs::Internal,
                    PeerAsForm::External => PeerAs::External,
                },
            },
            router_id: RouterId::try_from(self.router_id).map_err(|_| InvalidSnapshot("the router ID"))?,
            timers: Timers::from_parts(self.hold_seconds, self.keepalive, self.connect)
                .ok_or(InvalidSnapshot("a time in the configuration"))?,
            password: self.password.map(password).transpose()?,
            hops: if self.is_multihop { Hops::Many } else { Hops::One },
            families: self.families.read().ok_or(InvalidSnapshot("that there is no family"))?,
            graceful_restart: self.restart_seconds.map(restart).transpose()?,
            bfd: self.bfd.map(BfdForm::read).transpose()?,
        })
    }
}

impl BfdForm {
    fn of(Profile { transmit, receive, multiplier, echo, role, least_ttl }: Profile) -> Self {
        Self {
            transmit: transmit.duration(),
            receive: receive.duration(),
            multiplier,
            echo: echo.map(Interval::duration),
            is_passive: role == Role::Passive,
            least_ttl,
        }
    }

    fn read(self) -> Result<Profile, InvalidSnapshot> {
        let interval = |it| Interval::try_from(it).map_err(|_| InvalidSnapshot("an interval of BFD"));
        Ok(Profile {
            transmit: interval(self.transmit)?,
            receive: interval(self.receive)?,
            multiplier: self.multiplier,
            echo: self.echo.map(interval).transpose()?,
            role: if self.is_passive { Role::Passive } else { Role::Active },
            least_ttl: self.least_ttl,
        })
    }
}
