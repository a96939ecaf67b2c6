//! Follows the interfaces of this node through rtnetlink.
//!
//! This has a thread of its own: who lists interfaces waits, in the kernel, for whoever makes or removes some at that
//! moment, and for as long as that takes.

use std::thread;
use std::time::Duration;

use anyhow::Context;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use speaker_core::Links;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::addresses::Addresses;
use super::links;
use super::patterns::InterfacePatterns;

/// Notifications that come together are answered by one look at the interfaces: a node that starts many
/// Pods makes many.
const SETTLE: Duration = Duration::from_millis(5);
/// A look without a notification, in case one was lost, and for IPv4 addresses: kube-proxy may make thousands of them.
const INTERVAL: Duration = Duration::from_secs(30);

/// Tells what interfaces there are.
pub(super) struct Follower(mpsc::Receiver<anyhow::Result<Links>>);

impl Follower {
    /// Starts to follow the interfaces, those excluded among them. It ends with this.
    pub(super) fn start(exclude: InterfacePatterns) -> anyhow::Result<Self> {
        // One look may wait to be read. Until it is, nobody looks again: what comes next is as it is then.
        let (looks, follower) = mpsc::channel(1);
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        let follow = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = follow(exclude, &looks) => {}
                    () = looks.closed() => {}
                }
            });
        };
        thread::Builder::new().name("interfaces".to_owned()).spawn(follow).context("starting a thread")?;
        Ok(Self(follower))
    }

    /// The interfaces as they are: at once when first called, then whenever something may have changed. Cancel safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Links> {
        self.0.recv().await.context("nobody follows the interfaces any more")?
    }
}

/// Looks whenever something may have changed, until that fails.
async fn follow(exclude: InterfacePatterns, looks: &mpsc::Sender<anyhow::Result<Links>>) {
    let mut looker = match Looker::new(exclude) {
        Ok(looker) => looker,
        Err(error) => {
            // Nobody wants to know when this fails.
            _ = looks.send(Err(error)).await;
            return;
        }
    };
    loop {
        let links = looker.next().await;
        let failed = links.is_err();
        if looks.send(links).await.is_err() || failed {
            return;
        }
    }
}

/// Looks at the interfaces.
///
/// A notification is only taken as a hint to look: what counts is the complete list, so nothing can get out
/// of step when notifications are lost or come in bulk.
struct Looker {
    handle: Handle,
    hints: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    exclude: InterfacePatterns,
    connection: JoinHandle<()>,
    looked: bool,
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Looker {
    fn new(exclude: InterfacePatterns) -> anyhow::Result<Self> {
        // The queue has no bound, for the library offers none. It is emptied at every look.
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, hints) =
            rtnetlink::new_multicast_connection(&groups).context("opening a netlink socket")?;
        Ok(Self { handle, hints, exclude, connection: tokio::spawn(connection), looked: false })
    }

    /// The interfaces as they are: at once when first called, then whenever something may have changed. Not
    /// cancel safe.
    async fn next(&mut self) -> anyhow::Result<Links> {
        if std::mem::replace(&mut self.looked, true) {
            match tokio::time::timeout(INTERVAL, self.hints.next()).await {
                Ok(Some(_)) => tokio::time::sleep(SETTLE).await,
                Ok(None) => anyhow::bail!("the netlink socket was closed"),
                Err(_) => {}
            }
            while self.hints.try_recv().is_ok() {}
        }
        let addresses = self.handle.address().get().execute().try_collect::<Vec<_>>();
        let addresses = Addresses::read(&addresses.await.context("listing the addresses")?);
        let messages = self.handle.link().get().execute();
        let links = messages.try_filter_map(async |message| {
            Ok(links::read(&message, &addresses, &self.exclude).map(|link| (message.header.index, link)))
        });
        links.try_collect().await.context("listing the interfaces")
    }
}
