//! Which node answers for the address: seen in gratuitous packets, and by what happens when it loses power.

use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use super::{SOON, TAKEOVER_WITHIN, print_indented, url};
use crate::plan::{Host, IpFamily, NodeId};
use crate::process::Running;
use crate::{Lab, ui, wait_until};

/// What tells where an address is, in tcpdump's words.
pub(super) fn filter(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "arp",
        IpFamily::V6 => "icmp6",
    }
}

/// A capture of the ARP or NDP packets that reach the client.
pub(super) struct Capture {
    tcpdump: Running,
    packets: NamedTempFile,
}

impl Capture {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let packets = NamedTempFile::new()?;
        let filter = filter(lab.families().first());
        let command = ["tcpdump", "-i", "eth0", "-n", "-e", "-l", "--immediate-mode", filter];
        let tcpdump = lab.spawn(Host::Client, command, Some(packets.path()))?;
        let this = Self { tcpdump, packets };
        wait_until("tcpdump listens", SOON, || {
            ensure!(this.text()?.contains("listening on"), "it said: {}", this.text()?);
            Ok(())
        })?;
        Ok(this)
    }

    fn text(&self) -> Result<String> {
        fs::read_to_string(self.packets.path()).context("reading what tcpdump wrote")
    }

    /// Waits for what tells everybody unasked of `address`, and shows it: a gratuitous request and reply, or an
    /// advertisement.
    pub(super) fn show(self, address: IpAddr) -> Result<()> {
        let (what, kinds) = match address {
            IpAddr::V4(_) => ("gratuitous ARP tells", &[Unasked::Request, Unasked::Reply][..]),
            IpAddr::V6(_) => ("an unsolicited neighbour advertisement tells", &[Unasked::Advertisement][..]),
        };
        let task = ui::task(format_args!("{what} the LAN where the address is"), Duration::ZERO);
        let packets = wait_until("it was captured", SOON, || {
            let text = self.text()?;
            let of = |kind: &Unasked| {
                let line = text.lines().find(|line| kind.is_in(line, address)).map(str::to_owned);
                line.with_context(|| format!("no {kind:?} for {address} among:\n{text}"))
            };
            kinds.iter().map(of).collect::<Result<Vec<_>>>()
        })?;
        task.done();
        print_indented(&packets.join("\n"));
        self.tcpdump.kill();
        Ok(())
    }
}

/// A packet to all that nobody asked for.
#[derive(Clone, Copy, Debug)]
enum Unasked {
    Request,
    Reply,
    Advertisement,
}

impl Unasked {
    /// Whether a line of tcpdump is such a packet about `address`. tcpdump calls an ARP request for the sender's own
    /// address an announcement.
    fn is_in(self, line: &str, address: IpAddr) -> bool {
        let to = |all: &str| line.contains(&format!("> {all},"));
        match self {
            Self::Request => {
                let question = line.contains("Request who-has") && line.contains(&format!("tell {address},"));
                to("ff:ff:ff:ff:ff:ff") && (question || line.contains(&format!("Announcement {address}")))
            }
            Self::Reply => to("ff:ff:ff:ff:ff:ff") && line.contains(&format!("Reply {address} is-at")),
            Self::Advertisement => {
                let said = line.contains(&format!("neighbor advertisement, tgt is {address},"));
                to("33:33:00:00:00:01") && said
            }
        }
    }
}

/// Powers off the node that answers for `address`, and shows how long the client had to wait for the next.
pub(super) fn power_off(lab: &Lab, address: IpAddr) -> Result<()> {
    let announcer = announcer(lab, address)?;
    let task =
        ui::task(format_args!("{announcer} answers for {address}; its power is cut"), TAKEOVER_WITHIN / 3);
    lab.poweroff(announcer)?;
    let cut = Instant::now();
    let url = url(address);
    while let Err(error) =
        lab.run(Host::Client, ["curl", "-gsS", "--fail", "--connect-timeout", "0.2", "--max-time", "1", &url])
    {
        ensure!(
            cut.elapsed() < TAKEOVER_WITHIN,
            "{address} did not answer within {TAKEOVER_WITHIN:?}: {error:#}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let silence = cut.elapsed();
    let successor = self::announcer(lab, address)?;
    ensure!(successor != announcer, "{announcer} is off and still answers");
    task.done_with(format_args!("{successor} answers after {}", ui::human(silence)));
    Ok(())
}

/// The node whose network card the client finds at `address`, asked anew.
fn announcer(lab: &Lab, address: IpAddr) -> Result<NodeId> {
    let (url, address) = (url(address), &address.to_string());
    wait_until("somebody on the LAN answers for the address", SOON, || {
        lab.run(Host::Client, ["ip", "neigh", "flush", "to", address, "dev", "eth0"])?;
        lab.run(Host::Client, ["curl", "-gsS", "--connect-timeout", "0.5", "--max-time", "2", &url])?;
        let entry = lab.run(Host::Client, ["ip", "neigh", "show", "to", address, "dev", "eth0"])?;
        let mut words = entry.split_whitespace().skip_while(|word| *word != "lladdr").skip(1);
        let mac = words.next().with_context(|| format!("no hardware address in {entry:?}"))?;
        match lab.hosts().find(|host| host.mac() == mac) {
            Some(Host::Node(node)) => Ok(node),
            _ => anyhow::bail!("{mac} is no node's"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "12:00:00.000001 02:00:ac:10:d3:0b > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 172.16.211.200 (ff:ff:ff:ff:ff:ff) tell 172.16.211.200, length 28";
    const ANNOUNCEMENT: &str = "12:00:00.000001 02:00:ac:10:d3:0b > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Announcement 172.16.211.200, length 28";
    const REPLY: &str = "12:00:00.000002 02:00:ac:10:d3:0b > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Reply 172.16.211.200 is-at 02:00:ac:10:d3:0b, length 28";
    const QUESTION: &str = "12:00:00.000003 02:00:ac:10:d3:64 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 172.16.211.200 tell 172.16.211.100, length 28";
    const ANSWER: &str = "12:00:00.000004 02:00:ac:10:d3:0b > 02:00:ac:10:d3:64, ethertype ARP (0x0806), length 42: Reply 172.16.211.200 is-at 02:00:ac:10:d3:0b, length 28";

    const UNSOLICITED: &str = "12:00:00.000001 02:00:ac:10:d3:0b > 33:33:00:00:00:01, ethertype IPv6 (0x86dd), length 86: fd00:172:16:211::200 > ff02::1: ICMP6, neighbor advertisement, tgt is fd00:172:16:211::200, length 32";
    const SOLICITED: &str = "12:00:00.000001 02:00:ac:10:d3:0b > 02:00:ac:10:d3:64, ethertype IPv6 (0x86dd), length 86: fd00:172:16:211::200 > fd00:172:16:211::100: ICMP6, neighbor advertisement, tgt is fd00:172:16:211::200, length 32";

    #[test]
    fn unsolicited_advertisements_are_told_from_answers() {
        let is = |line, address: &str| Unasked::Advertisement.is_in(line, address.parse().unwrap());
        assert!(is(UNSOLICITED, "fd00:172:16:211::200"));
        assert!(!is(UNSOLICITED, "fd00:172:16:211::20") && !is(SOLICITED, "fd00:172:16:211::200"));
    }

    #[test]
    fn gratuitous_packets_are_told_from_questions_and_answers() {
        let address = "172.16.211.200".parse().unwrap();
        let kinds = |line| [Unasked::Request, Unasked::Reply].map(|kind| kind.is_in(line, address));
        assert_eq!(kinds(REQUEST), [true, false]);
        assert_eq!(kinds(ANNOUNCEMENT), [true, false]);
        assert_eq!(kinds(REPLY), [false, true]);
        assert_eq!(kinds(QUESTION), [false, false]);
        assert_eq!(kinds(ANSWER), [false, false]);
    }
}
