//! Which DHCP servers there are, for whoever wants to know.

use std::fs;
use std::process::{Child, Command, Stdio};

use introspection::DhcpOffer;

use crate::fixture::{Client, Speaker, ip, on_a_cable, wait_for};

/// Waits until the speaker uses lan0.
fn ready(speaker: &Speaker, client: &Client) {
    speaker.announce(&[(crate::fixture::V4, 1)]);
    client.receive_arp();
}

#[test]
fn where_no_server_is_nobody_offers_anything() {
    on_a_cable(|speaker, client| {
        ready(speaker, client);
        let servers = speaker.inquire_for_dhcp(None).join().unwrap();
        let [place] = servers.places.as_slice() else { panic!("{servers:?}") };
        assert_eq!((place.interface.as_str(), place.asked), ("lan0", true));
        assert_eq!(place.offers, []);
    });
}

/// A server at the client's end of the cable.
struct Dnsmasq(Child, tempfile::TempDir);

impl Dnsmasq {
    fn start() -> Self {
        ip("address add 192.0.2.1/24 dev peer0");
        let folder = tempfile::tempdir().unwrap();
        let leases = folder.path().join("leases");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("dnsmasq")
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--interface=peer0",
                "--bind-interfaces",
            ])
            .args([
                "--user=root",
                "--dhcp-authoritative",
                "--dhcp-range=192.0.2.100,192.0.2.120,1h",
                "--log-dhcp",
            ])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .env("PATH", format!("{path}:/usr/sbin"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the program dnsmasq");
        let server = Self(child, folder);
        wait_for("the start of dnsmasq", || server.log().contains("DHCP, IP range").then_some(()));
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.1.path().join("log")).unwrap()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs dnsmasq (dnsmasq-base)"]
fn a_server_is_found_with_what_it_offers_and_leases_nothing() {
    on_a_cable(|speaker, client| {
        let server = Dnsmasq::start();
        ready(speaker, client);
        let servers = speaker.inquire_for_dhcp(None).join().unwrap();
        let [place] = servers.places.as_slice() else { panic!("{servers:?}") };
        let [offer] = place.offers.as_slice() else { panic!("{servers:?}\n{}", server.log()) };
        let DhcpOffer { server: by, address, prefix_length, router, lease_seconds } = offer;
        assert_eq!(
            (by.to_string().as_str(), *prefix_length, *lease_seconds),
            ("192.0.2.1", Some(24), Some(3600))
        );
        assert_eq!(router.map(|it| it.to_string()).as_deref(), Some("192.0.2.1"));
        assert!((100..=120).contains(&address.octets()[3]), "{address}");
        // Of what it gives out it offers what is asked for, of the rest nothing.
        for (wanted, gives_out) in [(103, true), (118, true), (130, false)] {
            let wanted = [192, 0, 2, wanted].into();
            let servers = speaker.inquire_for_dhcp(Some(wanted)).join().unwrap();
            let mut offers = servers.places.iter().flat_map(|place| &place.offers);
            let offered = offers.any(|offer| offer.address == wanted);
            assert_eq!(offered, gives_out, "{wanted}: {servers:?}\n{}", server.log());
        }
        let log = server.log();
        assert!(
            log.contains("DHCPOFFER") && !log.contains("DHCPREQUEST") && !log.contains("DHCPACK"),
            "{log}"
        );
        assert_eq!(fs::read_to_string(server.1.path().join("leases")).unwrap_or_default(), "");
    });
}
