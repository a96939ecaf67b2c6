//! What the core says of routers bit by bit, put together for those who do it: the sessions with their routes, the Secrets
//! to read, and what to report of each Service.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use bgp::config::SessionConfig;
use bgp::route::Routes;
use kubekit::keep;
use objects::{BgpPeerName, SecretName};
use placement::ServiceKey;
use tokio::sync::watch;

use crate::bgp::{Peering, Wanted};
use crate::kube_proxy::Asked;
use crate::status::routed::Routed;

/// Where it goes.
pub(crate) struct RouterOutputs {
    /// The sessions, for who holds them. Once there are to be none for good, nothing else is asked for.
    pub(crate) wanted: watch::Sender<Wanted>,
    /// The Secrets to read.
    pub(crate) secrets: watch::Sender<BTreeSet<SecretName>>,
    /// What to ask kube-proxy.
    pub(crate) proxy: watch::Sender<Asked>,
    /// What to report of each Service that is announced from here, until this speaker stops.
    pub(crate) statuses: Option<keep::Wanted<Routed>>,
    /// Whether sessions of the speaker before go on as they are until it is known of all what they are to be.
    pub(crate) inherits: bool,
}

/// What is wanted of routers.
pub(super) struct Routers {
    outputs: RouterOutputs,
    sessions: BTreeMap<BgpPeerName, Arc<SessionConfig>>,
    routes: BTreeMap<BgpPeerName, Arc<Routes>>,
    changed: bool,
}

impl Routers {
    pub(super) fn new(outputs: RouterOutputs) -> Self {
        Self { outputs, sessions: BTreeMap::new(), routes: BTreeMap::new(), changed: false }
    }

    /// These are the sessions.
    pub(super) fn set_sessions(&mut self, sessions: BTreeMap<BgpPeerName, SessionConfig>) {
        self.routes.retain(|peer, _| sessions.contains_key(peer));
        let mut before = std::mem::take(&mut self.sessions);
        let session = |(name, config): (BgpPeerName, SessionConfig)| {
            let same = before.remove(&name).filter(|before| **before == config);
            (name, same.unwrap_or_else(|| Arc::new(config)))
        };
        self.sessions = sessions.into_iter().map(session).collect();
        self.changed = true;
    }

    /// A peer is told this.
    pub(super) fn set_routes(&mut self, peer: BgpPeerName, routes: Arc<Routes>) {
        self.routes.insert(peer, routes);
        self.changed = true;
    }

    /// These Secrets are to be read.
    pub(super) fn set_secrets(&self, secrets: BTreeSet<SecretName>) {
        self.outputs.secrets.send_replace(secrets);
    }

    /// kube-proxy is to be asked about a Service, at this port of the node if it has one.
    pub(super) fn ask_proxy(&self, service: ServiceKey, port: Option<NonZeroU16>) {
        self.outputs.proxy.send_modify(|asked| _ = asked.insert(service, port));
    }

    /// kube-proxy has answered about a Service, has had its time, or is not to be asked any more.
    pub(super) fn proxy_is_done(&self, service: &ServiceKey) {
        self.outputs.proxy.send_if_modified(|asked| asked.remove(service).is_some());
    }

    /// A Service is announced to these peers, and is reported under this name.
    pub(super) fn report(&self, service: ServiceKey, peers: Arc<BTreeSet<BgpPeerName>>, name: String) {
        if let Some(statuses) = &self.outputs.statuses {
            statuses.set(name, (!peers.is_empty()).then_some(Routed { service, peers }));
        }
    }

    /// Everything that is announced has been named.
    pub(super) fn reports_complete(&mut self) {
        self.changed |= std::mem::take(&mut self.outputs.inherits);
        self.outputs.statuses.iter().for_each(keep::Wanted::complete);
    }

    /// Nothing is reported any more.
    pub(super) fn last_reports(&mut self) {
        self.outputs.statuses.take().iter().for_each(keep::Wanted::none);
    }

    /// Lets those who hold the sessions see what has changed. This is to come after all that the core has to say at a time:
    /// a session that begins knows every route there is then, or the peer would take those that it kept for gone.
    pub(super) fn publish(&mut self) {
        if self.outputs.inherits || !std::mem::take(&mut self.changed) {
            return;
        }
        let peering = |(name, config): (&BgpPeerName, &Arc<SessionConfig>)| {
            let routes = self.routes.get(name).cloned().unwrap_or_default();
            (name.clone(), Peering { config: Arc::clone(config), routes })
        };
        let sessions = self.sessions.iter().map(peering).collect();
        self.outputs.wanted.send_if_modified(|wanted| match wanted {
            Wanted::Sessions(current) => {
                *current = sessions;
                true
            }
            Wanted::Nothing(_) => false,
        });
    }
}
