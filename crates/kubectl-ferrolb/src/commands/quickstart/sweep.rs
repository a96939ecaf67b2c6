//! Asks the LAN for addresses, one by one: the speakers share them, each at the pace that it allows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use pools::{Range, successor};
use tokio::time::sleep;

use crate::ask::{Silence, Told};
use crate::cluster::Cluster;
use crate::programs::{Part, Program};

/// A speaker asks the LAN as often as that, whoever wants to know.
const APART: Duration = Duration::from_millis(550);
/// So often an address is asked for again that a speaker was too busy for.
const TRIES: usize = 6;

/// Who has which of these addresses, or why that cannot be told. Each is asked for from one node.
pub(super) async fn sweep(cluster: &Cluster, range: Range) -> Result<BTreeMap<IpAddr, String>, String> {
    let speakers: Vec<&Program> = cluster.of_part(Part::Speaker).collect();
    if speakers.is_empty() {
        return Err("there is no speaker to ask the LAN".to_owned());
    }
    let mut shares: Vec<Vec<IpAddr>> = vec![Vec::new(); speakers.len()];
    for (index, ip) in addresses(range).enumerate() {
        shares[index % speakers.len()].push(ip);
    }
    let asked = speakers.into_iter().zip(shares).map(async |(speaker, share)| {
        let mut taken = BTreeMap::new();
        for ip in share {
            if let Some(whose) = ask(cluster, speaker, ip).await? {
                taken.insert(ip, whose);
            }
            sleep(APART).await;
        }
        Ok::<_, String>(taken)
    });
    let mut taken = BTreeMap::new();
    for share in join_all(asked).await {
        taken.extend(share?);
    }
    Ok(taken)
}

/// How long that takes.
pub(super) fn duration(cluster: &Cluster, range: Range) -> Duration {
    let speakers = cluster.of_part(Part::Speaker).count().max(1);
    let each = addresses(range).count().div_ceil(speakers);
    // An answer takes its time, too.
    (APART + Duration::from_millis(400)) * u32::try_from(each).unwrap_or(u32::MAX)
}

fn addresses(range: Range) -> impl Iterator<Item = IpAddr> {
    std::iter::successors(Some(range.first()), |ip| successor(*ip)).take_while(move |ip| range.contains(*ip))
}

/// Whose an address is, as one node hears; nobody's where nobody answers.
async fn ask(cluster: &Cluster, speaker: &Program, ip: IpAddr) -> Result<Option<String>, String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        for told in cluster.trace_from(std::slice::from_ref(speaker), ip).await {
            match heard(&told) {
                Heard::Answered(whose) => return Ok(whose),
                Heard::NotNow(why) => last = why,
            }
        }
        sleep(2 * APART).await;
    }
    let node = speaker.node.as_deref().unwrap_or("a node");
    Err(format!("the LAN could not be asked for {ip} from {node}: {last}"))
}

enum Heard {
    Answered(Option<String>),
    NotNow(String),
}

fn heard(told: &Told) -> Heard {
    let Some(trace) = told.trace() else {
        let why = told.document.as_ref().err().map_or_else(String::new, Silence::to_string);
        return Heard::NotNow(why);
    };
    if trace.places.iter().any(|place| place.here) {
        return Heard::Answered(Some("announced already".to_owned()));
    }
    let answers: Vec<&str> = trace.places.iter().flat_map(|it| &it.answers).map(String::as_str).collect();
    if !answers.is_empty() {
        return Heard::Answered(Some(format!("that of {}", answers.join(", "))));
    }
    match trace.places.iter().find(|place| !place.asked) {
        Some(place) => Heard::NotNow(format!("its speaker could not ask on {}", place.interface)),
        None if trace.places.is_empty() => Heard::NotNow("its speaker uses no interface".to_owned()),
        None => Heard::Answered(None),
    }
}

#[cfg(test)]
mod tests {
    use introspection::{Document, Status, Trace, TracedPlace};

    use super::*;
    use crate::fixtures::speaker_on;

    fn told(places: &[(bool, bool, &[&str])]) -> Told {
        let place = |(asked, here, answers): &(bool, bool, &[&str])| TracedPlace {
            interface: "eth0".to_owned(),
            asked: *asked,
            here: *here,
            answers: answers.iter().map(|mac| (*mac).to_owned()).collect(),
            ..TracedPlace::default()
        };
        let trace = Trace { places: places.iter().map(place).collect(), ..Trace::default() };
        Told { program: speaker_on("n1"), document: Ok(Document::new(vec![], Status::Trace(trace))) }
    }

    #[test]
    fn an_address_is_free_only_where_somebody_asked_and_nobody_answered() {
        let free = |places: &[(bool, bool, &[&str])]| matches!(heard(&told(places)), Heard::Answered(None));
        assert!(free(&[(true, false, &[]), (true, false, &[])]));
        assert!(!free(&[]));
        assert!(!free(&[(true, false, &[]), (false, false, &[])]));
        assert!(!free(&[(true, true, &[])]));
        let taken = told(&[(true, false, &["02:00:00:00:00:07"]), (false, false, &[])]);
        assert!(matches!(heard(&taken), Heard::Answered(Some(whose)) if whose.contains("00:07")));
        let silent = Told { document: Err("asked too often".to_owned().into()), ..taken };
        assert!(matches!(heard(&silent), Heard::NotNow(why) if why == "asked too often"));
    }

    #[test]
    fn all_addresses_of_a_range_are_asked_for() {
        let all = |text: &str| addresses(text.parse().unwrap()).count();
        assert_eq!(all("10.0.0.250-10.0.1.5"), 12);
        assert_eq!(all("255.255.255.254/31"), 2);
        assert_eq!(all("2001:db8::/124"), 16);
    }
}
