//! Follows the interfaces of this node through rtnetlink.

use std::time::Duration;

use anyhow::Context;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use speaker_core::Links;
use tokio::task::JoinHandle;

use super::links::{self, ExcludeInterfaces, LinkLocals, link_locals};

/// Notifications that come together are answered by one look at the interfaces: a node that starts many
/// Pods makes many.
const SETTLE: Duration = Duration::from_millis(5);
/// A look without a notification, in case one was lost.
const INTERVAL: Duration = Duration::from_secs(30);

/// Tells what interfaces there are.
///
/// A notification is only taken as a hint to look: what counts is the complete list, so nothing can get out
/// of step when notifications are lost or come in bulk.
pub(super) struct Follower {
    handle: Handle,
    hints: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    exclude: ExcludeInterfaces,
    connection: JoinHandle<()>,
    looked: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Follower {
    pub(super) fn new(exclude: ExcludeInterfaces) -> anyhow::Result<Self> {
        // The queue has no bound, for the library offers none. It is emptied at every look.
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr];
        let (connection, handle, hints) =
            rtnetlink::new_multicast_connection(&groups).context("opening a netlink socket")?;
        Ok(Self { handle, hints, exclude, connection: tokio::spawn(connection), looked: false })
    }

    /// The interfaces as they are: at once when first called, then whenever something may have changed. Not
    /// cancel safe.
    pub(super) async fn next(&mut self) -> anyhow::Result<Links> {
        if std::mem::replace(&mut self.looked, true) {
            match tokio::time::timeout(INTERVAL, self.hints.next()).await {
                Ok(Some(_)) => tokio::time::sleep(SETTLE).await,
                Ok(None) => anyhow::bail!("the netlink socket was closed"),
                Err(_) => {}
            }
            while self.hints.try_recv().is_ok() {}
        }
        let link_locals = self.link_locals().await.context("listing the addresses")?;
        let messages = self.handle.link().get().execute();
        let links = messages.try_filter_map(async |message| {
            Ok(links::read(&message, &link_locals, &self.exclude).map(|link| (message.header.index, link)))
        });
        links.try_collect().await.context("listing the interfaces")
    }

    async fn link_locals(&self) -> Result<LinkLocals, rtnetlink::Error> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet6;
        Ok(link_locals(request.execute().try_collect::<Vec<_>>().await?))
    }
}
