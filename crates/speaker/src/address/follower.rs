//! Follows the addresses of this host, and has the gossip listen where it should.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use placement::InterfaceName;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr as NetlinkAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use super::{Choice, Listed, Listening, addresses};

/// Notifications that come together are answered by one look: a node that starts many Pods makes many.
const SETTLE: Duration = Duration::from_millis(20);
/// A look without a notification, in case one was lost.
const INTERVAL: Duration = Duration::from_secs(30);
/// The same while there are no notifications, and between attempts to have them.
const WITHOUT_HINTS: Duration = Duration::from_secs(1);

/// Has `gossip` listen where `choice` says, for as long as the API server may list us elsewhere, and tells where that
/// is.
pub(crate) async fn follow(
    mut choice: Choice,
    mut listed: watch::Receiver<Listed>,
    gossip: gossip::Handle,
    listens: watch::Sender<Listening>,
) {
    let mut hints = Hints::new();
    loop {
        let known = listed.borrow_and_update().clone();
        // Who lists addresses waits, in the kernel, for whoever makes or removes interfaces. What cannot be found out has
        // not changed.
        if let Ok(Some(ours)) = spawn_blocking(addresses).await {
            let next = choice.next(&known, &ours);
            let interface = next.and_then(|next| interface_with(next.ip(), &ours));
            let before = listens.borrow().address;
            kubekit::send_if_new(&listens, Listening { address: next, interface });
            if next != before {
                match next {
                    Some(address) => info!(%address, "the address of this node has changed"),
                    None => warn!("this node has no address for the gossip any more"),
                }
                gossip.listen_at(next);
            }
        }
        tokio::select! {
            () = hints.next() => {}
            changed = listed.changed() => if changed.is_err() { return },
        }
    }
}

/// The interface that has an address.
fn interface_with(ip: IpAddr, ours: &[(InterfaceName, IpAddr)]) -> Option<InterfaceName> {
    ours.iter().find(|(_, address)| *address == ip).map(|(interface, _)| interface.clone())
}

/// Notifications that some address of this host may be new or gone, or that its interface has another name.
struct Hints(Option<Connection>);

struct Connection {
    hints: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, NetlinkAddr)>,
    task: JoinHandle<()>,
    _handle: Handle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    fn open() -> anyhow::Result<Self> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, hints) =
            rtnetlink::new_multicast_connection(&groups).context("opening a netlink socket")?;
        Ok(Self { hints, task: tokio::spawn(connection), _handle: handle })
    }
}

impl Hints {
    fn new() -> Self {
        let connection = Connection::open();
        Self(connection.inspect_err(|error| warn!(%error, "addresses are looked at once a second")).ok())
    }

    /// Waits until it may be worth a look. Can be dropped at any time: a hint that is lost by that is followed by a look.
    async fn next(&mut self) {
        let Some(Connection { hints, .. }) = &mut self.0 else {
            tokio::time::sleep(WITHOUT_HINTS).await;
            self.0 = Connection::open().ok();
            return;
        };
        match tokio::time::timeout(INTERVAL, hints.next()).await {
            Ok(Some(_)) => {
                tokio::time::sleep(SETTLE).await;
                while hints.try_recv().is_ok() {}
            }
            Ok(None) => self.0 = None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::process::Command;

    use gossip::{Metrics, Preset, Profile, Trouble};
    use nix::sched::{CloneFlags, unshare};
    use placement::NodeName;

    use super::*;

    /// Longer than anything here should take.
    const DEADLINE: Duration = Duration::from_mins(1);
    /// A busy machine keeps neither waiting for so long: whoever has lost the other goes on without it while it has no address.
    const PRESET: Preset = Preset::Relaxed;

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
        assert!(status.success(), "ip {arguments}: {status}");
    }

    fn start(name: &str, bind: &str) -> (gossip::Handle, SocketAddr) {
        let bind = SocketAddr::new(bind.parse().unwrap(), 7946);
        let config = gossip::Config {
            name: name.into(),
            bind,
            preset: PRESET,
            key_files: vec![],
            profile: Profile::default(),
        };
        (gossip::start(config, Metrics::default()).unwrap().0, bind)
    }

    async fn until<T: Clone>(mut channel: watch::Receiver<T>, what: &str, met: impl FnMut(&T) -> bool) {
        let waiting = tokio::time::timeout(DEADLINE, channel.wait_for(met)).await;
        waiting.unwrap_or_else(|_| panic!("{what} does not come about")).unwrap();
    }

    /// Whether `gossip` sees exactly these members.
    async fn sees(gossip: &gossip::Handle, names: &[&str]) {
        let what = format!("{names:?}");
        let names = names.iter().map(|name| NodeName::from(*name)).collect();
        until(gossip.view(), &what, |view| view.settled && view.members == names).await;
    }

    #[test]
    fn a_speaker_follows_the_address_of_its_node_and_is_not_ready_while_there_is_none() {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
        ip("link set lo up");
        ip("link add lan0 type veth peer name peer0");
        ip("address add 192.0.2.1/24 dev lan0");
        ip("address add 192.0.2.9/24 dev peer0");
        ip("link set lan0 up");
        ip("link set peer0 up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, bind) = start("n1", "192.0.2.1");
            let (other, place) = start("n2", "192.0.2.9");
            let peers = BTreeMap::from([("n1".into(), bind), ("n2".into(), place)]);
            for gossip in [&ours, &other] {
                gossip.set_peers(peers.clone());
                gossip.take_part();
            }
            let at = |text: &str| text.parse::<IpAddr>().unwrap();
            let old = Listed { pod: Some(at("192.0.2.1")), at_start: Some(at("192.0.2.1")), node: None };
            let (list, listed) = watch::channel(old.clone());
            let (listens, place) = watch::channel(Listening { address: Some(bind), interface: None });
            tokio::spawn(follow(Choice::new(bind, false), listed, ours.clone(), listens));
            sees(&other, &["n1", "n2"]).await;

            ip("address del 192.0.2.1/24 dev lan0");
            until(ours.trouble(), "trouble", |it| *it == Some(Trouble::Unbound)).await;
            until(place.clone(), "nowhere", |it| *it == Listening::default()).await;
            sees(&other, &["n2"]).await;
            sees(&ours, &["n1", "n2"]).await;

            // The other one goes on looking at the old address, where the API server lists us.
            ip("address add 192.0.2.2/24 dev lan0");
            until(ours.trouble(), "success", Option::is_none).await;
            sees(&other, &["n1", "n2"]).await;
            let here = |it: &Listening, ip: &str| it.address.is_some_and(|address| address.ip() == at(ip));
            until(place.clone(), "the address of the interface", |it| here(it, "192.0.2.2")).await;
            let is_named = |name: &'static str| move |it: &Listening| it.interface == Some(name.into());
            until(place.clone(), "its interface", is_named("lan0")).await;
            ip("link set lan0 name lan1");
            until(place.clone(), "the new name", is_named("lan1")).await;
            ip("link set lan1 name lan0");

            // Now it lists us at another one, which is added to that.
            ip("address add 192.0.2.3/32 dev lan0");
            list.send_replace(Listed { pod: Some(at("192.0.2.3")), ..old });
            until(place, "the new place", |it| here(it, "192.0.2.3")).await;
            ip("address del 192.0.2.2/24 dev lan0");
            tokio::time::sleep(2 * PRESET.timing().verdict()).await;
            sees(&other, &["n1", "n2"]).await;
        });
    }
}
