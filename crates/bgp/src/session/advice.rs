//! What whoever configures a session can do about its end, where the codes of BGP alone leave that open.

use super::event::{State, Transition, Why};
use crate::config::{AsNumbers, PeerAs, SessionConfig};
use crate::wire::notification::{Code, Notification};

impl Transition {
    /// What to compare or to correct, of which there is something to say for what goes wrong most often. `config` is that of
    /// the session.
    pub fn advice(&self, config: &SessionConfig) -> Option<String> {
        let SessionConfig { asns, router_id, timers, .. } = config;
        match &self.why {
            Why::Sent(notification) => match notification.code() {
                Notification::BAD_PEER_AS => other_as(notification, *asns),
                Notification::BAD_IDENTIFIER => Some(format!(
                    "the router says 0.0.0.0, or {router_id} as this node does: give one of them another router ID (spec.routerID)"
                )),
                Notification::UNSUPPORTED_CAPABILITY => Some(no_family()),
                Notification::SEND_HOLD_TIMER_EXPIRED => {
                    Some("the router lives, but reads nothing of what it is sent".to_owned())
                }
                _ => None,
            },
            Why::Received(notification) => Some(match notification.code() {
                Notification::BAD_PEER_AS => format!(
                    "the router expects this node in another AS than {}: correct spec.{} or the AS of the node there",
                    asns.told(),
                    if asns.shown.is_some() { "localASN" } else { "myASN" }
                ),
                Notification::BAD_IDENTIFIER => format!(
                    "the router does not take the router ID {router_id}, as it has the same, or takes none from 224.0.0.0 on: write another spec.routerID"
                ),
                Notification::UNACCEPTABLE_HOLD_TIME => {
                    format!("the router does not take spec.holdTime {}s: write another", timers.hold().seconds())
                }
                Notification::UNSUPPORTED_CAPABILITY => no_family(),
                Code(6, 1) => {
                    "the router takes no more prefixes from this node: raise its limit, or announce fewer (aggregationLength)"
                        .to_owned()
                }
                Code(6, 3 | 5) => {
                    "the router has no neighbor with the address and the AS of this node, or has a connection with it already"
                        .to_owned()
                }
                Code(6, 7) => {
                    "the router has another connection with this node: another program on the node may speak BGP with it, or the last connection is not over for the router yet"
                        .to_owned()
                }
                _ => return None,
            }),
            Why::ConnectionLost if self.from == State::OpenSent => Some(
                "the router has closed it before it said who it is: it may have no neighbor with the address of this node"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn other_as(notification: &Notification, asns: AsNumbers) -> Option<String> {
    let told = u32::from_be_bytes(notification.data().try_into().ok()?);
    Some(match asns.peer {
        PeerAs::Is(number) => {
            format!("the router is in AS {told}, and spec.peerASN is {number}: correct one of them")
        }
        PeerAs::Internal => {
            format!("the router is in AS {told}, and spec.dynamicASN internal takes AS {} alone", asns.own)
        }
        PeerAs::External => {
            format!(
                "the router is in AS {told}, which is spec.myASN, and spec.dynamicASN external takes any but that"
            )
        }
    })
}

fn no_family() -> String {
    "there is no address family that both ends exchange: let the router exchange IPv4 or IPv6 unicast with this node, or write spec.dualStackAddressFamily"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SessionKind;
    use crate::session::tests::{Bench, asn, config, theirs};
    use crate::session::{Input, Output};
    use crate::wire::open::Open;

    fn advice(bench: &mut Bench, input: Input<'_>) -> String {
        let config = bench.session.config().clone();
        bench.session.handle(input, bench.now);
        let outputs = std::iter::from_fn(|| bench.session.poll_output());
        let transition = outputs.filter_map(|it| match it {
            Output::Changed(transition) => Some(transition),
            _ => None,
        });
        transition.last().unwrap().advice(&config).unwrap_or_default()
    }

    #[test]
    fn the_numbers_that_do_not_go_together_are_told() {
        let stranger = Open { asn: asn(7), ..theirs() }.emit();
        let said = advice(&mut Bench::at(State::OpenSent), Input::Received(&stranger));
        assert_eq!(said, "the router is in AS 7, and spec.peerASN is 64513: correct one of them");
        let refused = Notification::new(Notification::BAD_PEER_AS).emit();
        let said = advice(&mut Bench::at(State::OpenSent), Input::Received(&refused));
        assert!(said.contains("another AS than 64512: correct spec.myASN"), "{said}");
        let mut external = config();
        external.asns.peer = PeerAs::External;
        assert_eq!(external.asns.kind(), SessionKind::External);
        let same = Open { asn: external.asns.own, ..theirs() }.emit();
        let said = advice(&mut Bench::with(external, &theirs(), State::OpenSent), Input::Received(&same));
        assert!(said.contains("in AS 64512, which is spec.myASN"), "{said}");
        let refused = Notification::new(Notification::BAD_IDENTIFIER).emit();
        let said = advice(&mut Bench::at(State::OpenConfirm), Input::Received(&refused));
        assert!(said.contains("192.0.2.2") && said.contains("spec.routerID"), "{said}");
    }

    #[test]
    fn a_router_that_hangs_up_at_once_may_not_know_the_node() {
        let said = advice(&mut Bench::at(State::OpenSent), Input::Disconnected);
        assert!(said.contains("no neighbor"), "{said}");
        assert_eq!(advice(&mut Bench::at(State::Established), Input::Disconnected), "");
    }
}
