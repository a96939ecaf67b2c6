//! `/trace?ip=ADDRESS`: who answers for an address on the LAN; `/trace?dhcp`: which DHCP servers it has; `/trace?dhcp=ADDRESS`:
//! what they offer to who would like that address. Whoever can ask the LAN is asked for that.
//!
//! A question on the LAN is heard by every host there, so the LAN is asked a few times a second at most, whoever asks; what
//! is more is refused.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use timers::Budget;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// So many may ask at once.
const BURST: u32 = 5;
/// After that, one in this time.
const APART: Duration = Duration::from_millis(500);
/// Longer the LAN is not asked, and who does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for DHCP servers, which look for seconds whether an address is free before they offer it.
const PATIENCE_WITH_SERVERS: Duration = Duration::from_secs(8);

/// Asks whoever can ask the LAN.
#[derive(Debug, Clone)]
pub struct TraceSource(mpsc::Sender<TraceQuestion>);

/// What the LAN is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Who answers for this address: of one host, on a LAN.
    Address(IpAddr),
    /// Which DHCP servers there are, and what they offer; to who would like this address, if there is one.
    DhcpServers(Option<Ipv4Addr>),
}

/// Somebody wants to know something of the LAN.
#[derive(Debug)]
pub struct TraceQuestion {
    /// What.
    pub wanted: Wanted,
    answer: oneshot::Sender<serde_json::Result<Vec<u8>>>,
}

/// The two ends between whom serves documents and whom can ask the LAN.
pub fn channel() -> (TraceSource, mpsc::Receiver<TraceQuestion>) {
    let (sender, receiver) = mpsc::channel(1);
    (TraceSource(sender), receiver)
}

impl TraceSource {
    /// The document, as text; nothing where nobody answers any more.
    pub async fn ask(&self, wanted: Wanted) -> Option<serde_json::Result<Vec<u8>>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(TraceQuestion { wanted, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl TraceQuestion {
    /// Answers with this document.
    pub fn answer(self, document: &impl serde::Serialize) {
        // Whoever has asked may have gone.
        _ = self.answer.send(serde_json::to_vec(document));
    }
}

/// Who is asked, and how often more.
#[derive(Debug)]
pub(super) struct TracePage {
    source: Option<TraceSource>,
    budget: Mutex<Budget>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoTrace {
    /// This program cannot ask the LAN.
    NotHere,
    /// It is not said for which address, in one sentence.
    Unreadable(String),
    TooOften,
    /// The task does not answer, or has not begun.
    NotStarted,
    Failed(String),
}

impl TracePage {
    pub(super) fn new(source: Option<TraceSource>) -> Self {
        Self { source, budget: Mutex::new(Budget::new(BURST, APART)) }
    }

    /// The document for the query of a URL.
    pub(super) async fn of(&self, query: Option<&str>) -> Result<Bytes, NoTrace> {
        let source = self.source.as_ref().ok_or(NoTrace::NotHere)?;
        let wanted = read(query).map_err(NoTrace::Unreadable)?;
        let taken = self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now().into());
        taken.map_err(|_later| NoTrace::TooOften)?;
        match timeout(wanted.patience(), source.ask(wanted)).await {
            Ok(Some(Ok(text))) => Ok(text.into()),
            Ok(Some(Err(error))) => Err(NoTrace::Failed(error.to_string())),
            Ok(None) | Err(_) => Err(NoTrace::NotStarted),
        }
    }
}

impl Wanted {
    fn patience(self) -> Duration {
        match self {
            Self::Address(_) => PATIENCE,
            Self::DhcpServers(_) => PATIENCE_WITH_SERVERS,
        }
    }
}

/// What a query is for, or why that cannot be told.
fn read(query: Option<&str>) -> Result<Wanted, String> {
    if query == Some("dhcp") {
        return Ok(Wanted::DhcpServers(None));
    }
    if let Some(text) = query.and_then(|query| query.strip_prefix("dhcp=")) {
        return match of_a_host(text)? {
            IpAddr::V4(ip) => Ok(Wanted::DhcpServers(Some(ip))),
            IpAddr::V6(ip) => Err(format!("servers are asked for IPv4 addresses only, not for {ip}")),
        };
    }
    let text = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("ip="));
    of_a_host(text.ok_or("say which address, ?ip=ADDRESS, or ?dhcp")?).map(Wanted::Address)
}

/// An address that a host on a LAN can have, or why it is none.
fn of_a_host(text: &str) -> Result<IpAddr, String> {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    let ip: IpAddr = text.parse().map_err(|_| "what is asked for is no IP address".to_owned())?;
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast || mapped {
        return Err(format!("{ip} is no address that a host on the LAN can have"));
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_host_is_read_and_nothing_else() {
        let ok = |query| match read(Some(query)) {
            Ok(Wanted::Address(ip)) => ip.to_string(),
            other => panic!("{query}: {other:?}"),
        };
        assert_eq!(ok("ip=192.0.2.1"), "192.0.2.1");
        assert_eq!(ok("a=b&ip=2001:db8::1"), "2001:db8::1");
        assert_eq!(ok("ip=2001%3adb8%3A%3a1"), "2001:db8::1");
        for query in [
            "",
            "ip",
            "ip=",
            "ip=web",
            "ip=192.0.2.0/24",
            "ip=0.0.0.0",
            "ip=127.0.0.1",
            "ip=224.0.0.1",
            "ip=255.255.255.255",
            "ip=::",
            "ip=::1",
            "ip=ff02::1",
            "ip=::ffff:192.0.2.1",
            "ip=fe80::1%25eth0",
        ] {
            assert!(read(Some(query)).is_err(), "{query}");
        }
        assert!(read(None).is_err());
        assert_eq!(read(Some("dhcp")), Ok(Wanted::DhcpServers(None)));
        assert_eq!(read(Some("dhcp=192.0.2.1")), Ok(Wanted::DhcpServers(Some([192, 0, 2, 1].into()))));
        for query in ["dhcp=", "dhcp=web", "dhcp=0.0.0.0", "dhcp=255.255.255.255", "dhcp=2001:db8::1"] {
            assert!(read(Some(query)).is_err(), "{query}");
        }
        assert_eq!(read(Some("ip=192.0.2.1")), Ok(Wanted::Address("192.0.2.1".parse().unwrap())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lan_is_asked_a_few_times_and_then_at_a_pace_and_not_for_what_is_no_address() {
        let (source, mut questions) = channel();
        let page = TracePage::new(Some(source));
        let answering = async {
            while let Some(question) = questions.recv().await {
                let Wanted::Address(ip) = question.wanted else { panic!("{question:?}") };
                question.answer(&ip);
            }
        };
        let asking = async {
            let ask = async || page.of(Some("ip=192.0.2.1")).await;
            for _ in 0..20 {
                assert!(matches!(page.of(Some("ip=x")).await, Err(NoTrace::Unreadable(_))));
            }
            for _ in 0..BURST {
                assert_eq!(ask().await.unwrap(), "\"192.0.2.1\"");
            }
            for _ in 0..3 {
                assert_eq!(ask().await, Err(NoTrace::TooOften));
                tokio::time::sleep(APART).await;
                assert!(ask().await.is_ok());
            }
            tokio::time::sleep(Duration::from_hours(1)).await;
            for _ in 0..BURST {
                assert!(ask().await.is_ok());
            }
            assert_eq!(ask().await, Err(NoTrace::TooOften), "nobody saves up");
        };
        tokio::select! {
            () = asking => {}
            () = answering => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_answer_and_who_cannot_are_told_apart() {
        let (source, questions) = channel();
        let page = TracePage::new(Some(source));
        assert_eq!(page.of(Some("ip=192.0.2.1")).await, Err(NoTrace::NotStarted));
        drop(questions);
        assert_eq!(page.of(Some("ip=192.0.2.1")).await, Err(NoTrace::NotStarted));
        assert_eq!(TracePage::new(None).of(Some("ip=192.0.2.1")).await, Err(NoTrace::NotHere));
    }
}
