//! Which ports programs on this node listen on, for the controller: a Service that got one of them with the address of the
//! node would shut the program out. Any process may read that, and in the network namespace of the node it is of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use ipam::{Port, Protocol};
use node_addresses::Listener;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// How often to look.
const PERIOD: Duration = Duration::from_secs(10);
/// For so long a program may be away without losing its port, as when it is started again.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// Where the kernel tells, and of what.
const TABLES: [(&str, Table); 4] = [
    ("/proc/net/tcp", Table { protocol: Protocol::Tcp, listens: "0A" }),
    ("/proc/net/tcp6", Table { protocol: Protocol::Tcp, listens: "0A" }),
    ("/proc/net/udp", Table { protocol: Protocol::Udp, listens: "07" }),
    ("/proc/net/udp6", Table { protocol: Protocol::Udp, listens: "07" }),
];

/// A table of sockets.
#[derive(Debug, Clone, Copy)]
struct Table {
    protocol: Protocol,
    /// The state of a socket that takes what comes from anywhere.
    listens: &'static str,
}

/// What has been seen.
#[derive(Debug, Default)]
struct Listening {
    /// When each was last seen, and whether it was more than once.
    seen: BTreeMap<Listener, (Instant, Times)>,
    has_looked: bool,
}

/// How often something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Often,
}

impl Listening {
    /// What to tell, by what is there now. What comes after the first look counts when it is seen again: sockets of clients
    /// look the same, and are gone by then.
    fn look(&mut self, there: BTreeSet<Listener>, now: Instant) -> BTreeSet<Listener> {
        for listener in there {
            let times = if self.has_looked && !self.seen.contains_key(&listener) {
                Times::Once
            } else {
                Times::Often
            };
            self.seen.insert(listener, (now, times));
        }
        self.has_looked = true;
        self.seen.retain(|_, (seen, _)| now.duration_since(*seen) < KEPT_FOR);
        let often = self.seen.iter().filter(|(_, (_, times))| *times == Times::Often);
        often.map(|(listener, _)| *listener).collect()
    }
}

/// The ports whenever they are others than before; nothing where the kernel does not tell.
pub(crate) fn follow() -> impl Stream<Item = BTreeSet<Listener>> + Send {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looks = stream::unfold((ticks, Listening::default()), async |(mut ticks, mut listening)| {
        ticks.tick().await;
        match tokio::task::spawn_blocking(of_the_kernel).await {
            Ok(Ok(there)) => Some((listening.look(there, Instant::now()), (ticks, listening))),
            Ok(Err(error)) => {
                warn!(%error, "the ports that programs listen on are not known");
                None
            }
            Err(_) => None,
        }
    });
    let mut told = None;
    looks.filter_map(move |now| {
        let news = (told.as_ref() != Some(&now)).then(|| now.clone());
        told = Some(now);
        std::future::ready(news)
    })
}

fn of_the_kernel() -> io::Result<BTreeSet<Listener>> {
    let mut there = BTreeSet::new();
    for (path, table) in TABLES {
        match File::open(path) {
            Ok(file) => table.read(BufReader::new(file), &mut there)?,
            // Without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.ends_with('6') => {}
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

impl Table {
    fn read(self, lines: impl BufRead, there: &mut BTreeSet<Listener>) -> io::Result<()> {
        for line in lines.lines().skip(1) {
            let line = line?;
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (local, state) = (fields.next(), fields.nth(1));
            if state != Some(self.listens) {
                match self.protocol {
                    // Those that listen come first, and there may be very many others.
                    Protocol::Tcp => return Ok(()),
                    Protocol::Udp | Protocol::Sctp => continue,
                }
            }
            let listener = local.and_then(|local| self.listener(local));
            there.extend(listener.filter(Listener::is_reachable));
        }
        Ok(())
    }

    /// Reads `0100007F:0016`: words of an address as this processor has them in memory, and a port.
    fn listener(self, local: &str) -> Option<Listener> {
        let (address, number) = local.split_once(':')?;
        let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
        let at = match address.len() {
            8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
            32 => {
                let words = [word(0)?, word(8)?, word(16)?, word(24)?];
                let mut bytes = [0; 16];
                bytes.iter_mut().zip(words.as_flattened()).for_each(|(byte, from)| *byte = *from);
                match Ipv6Addr::from(bytes) {
                    Ipv6Addr::UNSPECIFIED => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                    ip => ip.to_canonical(),
                }
            }
            _ => return None,
        };
        let number = u16::from_str_radix(number, 16).ok().filter(|number| *number > 0)?;
        Some(Listener { port: Port { protocol: self.protocol, number }, at })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<Listener> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_tables_of_the_kernel_are_read_as_far_as_others_can_reach_what_listens() {
        const HEAD: &str =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
        let read = |table: usize, lines: &[&str]| {
            let mut there = BTreeSet::new();
            let text = [HEAD, &lines.join("\n")].concat();
            TABLES[table].1.read(text.as_bytes(), &mut there).unwrap();
            there
        };
        let tcp = [
            "   0: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1",
            "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2",
            "   2: 0100000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3",
            "   3: 0100000A:C350 0200000A:01BB 01 00000000:00000000 00:00000000 00000000     0        0 4",
        ];
        assert_eq!(read(0, &tcp), set(&["TCP/22@0.0.0.0", "TCP/8080@10.0.0.1"]));
        let tcp6 = [
            "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0",
            "   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0:0",
            "   2: 0000000000000000FFFF00000100000A:0051 00000000000000000000000000000000:0000 0A 0:0",
            "   3: 00000000000000000000000001000000:0052 00000000000000000000000000000000:0000 0A 0:0",
        ];
        assert_eq!(read(1, &tcp6), set(&["TCP/80", "TCP/443@2001:db8::1", "TCP/81@10.0.0.1"]));
        let udp = [
            "  10: 0100000A:8000 0800000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 1",
            "  11: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2",
        ];
        assert_eq!(read(2, &udp), set(&["UDP/5353@0.0.0.0"]));
        for odd in ["", "1:", "1: x 0 0A", "1: 0100000A 0 0A", "1: 0100000A:0 0 0A", "1: 01é000A:1 0 0A"] {
            assert!(read(0, &[odd]).is_empty(), "{odd:?}");
        }
    }

    #[test]
    fn what_listens_here_is_found() {
        let tcp = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let udp = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
        let hidden = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let numbers = [tcp.local_addr(), udp.local_addr(), hidden.local_addr()].map(|it| it.unwrap().port());
        let there = of_the_kernel().unwrap();
        let at = Ipv4Addr::UNSPECIFIED.into();
        let found = |protocol, number| there.contains(&Listener { port: Port { protocol, number }, at });
        assert!(found(Protocol::Tcp, numbers[0]) && found(Protocol::Udp, numbers[1]), "{there:?}");
        let on_loopback = there.iter().any(|it| it.port.number == numbers[2] && it.at.is_loopback());
        assert!(!on_loopback, "{there:?}");
    }

    #[test]
    fn what_is_seen_once_is_not_told_and_what_is_away_for_a_moment_is() {
        let (mut listening, start) = (Listening::default(), Instant::now());
        let mut look = |there: &[&str], periods: u32| {
            listening
                .look(set(there), start + PERIOD * periods)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(look(&["TCP/80"], 0), ["TCP/80"], "what is there at first");
        assert_eq!(look(&["TCP/80", "TCP/81", "UDP/40000"], 1), ["TCP/80"]);
        assert_eq!(look(&["TCP/81"], 2), ["TCP/80", "TCP/81"]);
        assert_eq!(look(&["TCP/81"], 6), ["TCP/80", "TCP/81"]);
        assert_eq!(look(&["TCP/81"], 7), ["TCP/81"]);
    }
}
