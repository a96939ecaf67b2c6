//! What the controller that decides says of Services, and objects alone do not tell.

use introspection::{ControllerStatus, Waiting};
use ipam::{Refusal, ServiceKey};

use super::Look;
use crate::ask::Told;
use crate::predict::NoAddress;
use crate::remedy;
use crate::survey::{Health, Surveyed, Warning};

/// What the event begins with that says why there is no address.
const FAILED: &str = "Failed to allocate IP for ";

impl Look {
    /// Takes over what the controller says: why pools of nodes refuse a Service, and what the API server does not take.
    pub(super) fn tell_decided(&mut self) {
        let mut statuses = self.controllers.iter().filter_map(Told::controller);
        let Some(status) = statuses.find(|status| status.decides).cloned() else { return };
        let ControllerStatus { waiting, unwritten, .. } = status;
        if self.snapshot.node_pools {
            waiting.items.iter().for_each(|it| self.tell_refused_nodes(it));
        }
        for it in &unwritten.items {
            self.tell_unwritten_status(it);
        }
    }

    fn tell_refused_nodes(&mut self, waiting: &Waiting) {
        let said = waiting.reason.strip_prefix(FAILED).and_then(|rest| rest.split_once(": "));
        let Some((_, said)) = said else { return };
        let of_nodes = remedy::of_refused_nodes(said, waiting, &self.snapshot);
        let Some(remedy) = of_nodes.or_else(|| self.remedy_without_nodes(waiting)) else { return };
        if let Some(service) = self.surveyed(waiting).filter(|it| it.health == Health::Waiting) {
            service.reasons = vec![said.to_owned()];
            service.remedies = vec![remedy];
        }
    }

    /// What helps a Service that no pool of nodes is for.
    fn remedy_without_nodes(&self, about: &Waiting) -> Option<String> {
        let key = ServiceKey::new(about.namespace.as_str(), about.name.as_str());
        let fate = self.allocation.fates.get(&key)?;
        let request = fate.request.as_ref();
        match (fate.outcome.as_ref().err()?, request.map(|request| &request.addresses)) {
            (NoAddress::Refused(Refusal::NoPools), Some(asked)) => Some(remedy::of_no_pools(asked)),
            (why, _) => remedy::of_no_address(
                why,
                fate.by_name.as_ref(),
                request.map(|request| request.families),
                self.allocation.pools(),
                &self.snapshot.elsewhere,
            ),
        }
    }

    fn tell_unwritten_status(&mut self, unwritten: &Waiting) {
        let reason = format!("the API server does not take its status: {}", unwritten.reason);
        let remedy = remedy::of_refused_status(&unwritten.reason).to_owned();
        let Some(service) = self.surveyed(unwritten) else { return };
        if service.addresses.is_empty() {
            service.health = Health::Waiting;
            service.reasons = vec![reason];
            service.remedies = vec![remedy];
        } else {
            service.warnings.push(Warning { reason, remedy });
        }
    }

    fn surveyed(&mut self, about: &Waiting) -> Option<&mut Surveyed> {
        self.services.iter_mut().find(|it| it.namespace == about.namespace && it.name == about.name)
    }
}

#[cfg(test)]
mod tests {
    use introspection::{Capped, Document, Status};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{service, snapshot, speaker_on};
    use crate::programs::{Part, Program};
    use crate::survey::Reports;

    /// A look at `default/web`, of which the leader says this.
    fn look(ip: Option<&str>, status: ControllerStatus) -> Surveyed {
        let program = Program { part: Part::Controller, ..speaker_on("n1") };
        let document = Document::new(vec![], Status::ControllerStatus(status));
        let controllers = vec![Told { program, document: Ok(document) }];
        let mut web = service("web", ip);
        web["metadata"]["annotations"] = json!({"metallb.io/address-pool": "nodes"});
        let mut snapshot = snapshot(&[web], &["n1"], &[]);
        snapshot.node_pools = true;
        let mut look = Look::new(controllers, vec![], snapshot, Some(Reports::new()), vec![]);
        look.tell_decided();
        look.services.remove(0)
    }

    fn leader() -> ControllerStatus {
        ControllerStatus { leads: true, decides: true, ..ControllerStatus::default() }
    }

    fn about_web(reason: &str) -> Capped<Waiting> {
        let (namespace, name) = ("default".to_owned(), "web".to_owned());
        [Waiting { namespace, name, reason: reason.to_owned() }].into_iter().collect()
    }

    #[test]
    fn what_a_pool_of_nodes_refuses_is_told_with_what_to_do() {
        for (said, remedy) in [
            (
                "port TCP/22 of nodes is protected by protectedPorts of NodeAddressPool nodes: use another port",
                "spec.protectedPorts",
            ),
            ("port TCP/80 of node n1 is in use by default/other", "another port"),
            ("port TCP/80 of node n1 is in use by a program that listens there", "protectListeners"),
            (
                "NodeAddressPool nodes: no node is selected, or all have the label node.kubernetes.io/exclude-from-external-load-balancers",
                "spec.nodeSelectors of NodeAddressPool nodes",
            ),
            (
                "NodeAddressPool nodes: no selected node has a ready endpoint (externalTrafficPolicy is Local)",
                "make an endpoint of it ready",
            ),
            (
                "NodeAddressPool nodes: no selected node has an ExternalIP of family IPv4",
                "spec.addresses of NodeAddressPool nodes",
            ),
            (
                "NodeAddressPool nodes does not select this Service: see its serviceAllocation",
                "spec.serviceAllocation of NodeAddressPool nodes",
            ),
        ] {
            let waiting = about_web(&format!("Failed to allocate IP for \"default/web\": {said}"));
            let web = look(None, ControllerStatus { waiting, ..leader() });
            assert_eq!(web.reasons, [said], "{web:?}");
            assert!(web.remedies[0].contains(remedy), "{said}: {:?}", web.remedies);
        }
        // What IPAddressPools refuse has the remedy that it has without pools of nodes.
        let said = "unknown pool nodes: there is none by this name";
        let waiting = about_web(&format!("Failed to allocate IP for \"default/web\": {said}"));
        let web = look(None, ControllerStatus { waiting, ..leader() });
        assert!(web.reasons[0].starts_with("unknown pool"), "{web:?}");
        assert!(web.remedies[0].starts_with("look for a typing mistake"), "{web:?}");
    }

    #[test]
    fn what_the_api_server_does_not_take_is_told_with_its_words_and_what_to_do() {
        for (said, remedy) in [
            (
                "admission webhook \"lb.example.com\" denied the request: no",
                "kubectl get validatingwebhookconfigurations",
            ),
            (
                "services \"web\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no",
                "validatingadmissionpolicies",
            ),
            (
                "services \"web\" is forbidden: User \"x\" cannot patch resource \"services/status\"",
                "ClusterRole",
            ),
            ("exceeded quota: lbs", "resourcequota"),
            ("no", "services/status"),
        ] {
            let web = look(None, ControllerStatus { unwritten: about_web(said), ..leader() });
            assert_eq!(web.health, Health::Waiting);
            assert!(web.reasons[0].ends_with(said), "{web:?}");
            assert!(web.remedies[0].contains(remedy), "{said}: {:?}", web.remedies);
        }
        let web = look(Some("192.0.2.1"), ControllerStatus { unwritten: about_web("no"), ..leader() });
        assert!(web.warnings.iter().any(|it| it.reason.contains("does not take its status: no")), "{web:?}");
        let follower = ControllerStatus { unwritten: about_web("no"), ..ControllerStatus::default() };
        assert!(!format!("{:?}", look(None, follower)).contains("does not take"), "it knows of no write");
    }
}
