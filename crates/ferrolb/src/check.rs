//! `ferrolb check`: asks for an address and reaches it. `helm test` runs it in a Pod that a Service of type
//! LoadBalancer selects, so the Pod that asks is the one that answers.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use kube::Api;
use kubekit::http::listen;
use slim::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// How long to wait before asking again, and for an answer.
const PAUSE: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What to check.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) listen: SocketAddr,
    pub(crate) patience: Duration,
}

/// Succeeds when the Service has an address and all its addresses lead here.
pub(crate) async fn run(check: Check) -> anyhow::Result<()> {
    let services: Api<Service> = Api::namespaced(kubekit::client().await?, &check.namespace);
    let listener = listen(check.listen).with_context(|| format!("listening on {}", check.listen))?;
    let word = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    tokio::select! {
        result = answer(&listener, &word) => result,
        result = reach(&services, &check, &word) => result,
    }
}

/// Says the word to everybody who connects.
async fn answer(listener: &TcpListener, word: &str) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await.context("waiting for connections")?;
        // Whoever goes away without listening has no word.
        let _ = stream.write_all(word.as_bytes()).await;
    }
}

async fn reach(services: &Api<Service>, check: &Check, word: &str) -> anyhow::Result<()> {
    let Check { namespace, service, patience, .. } = check;
    let deadline = Instant::now() + *patience;
    let addresses = loop {
        let addresses = addresses(&services.get(service).await.context("reading the Service")?);
        if !addresses.is_empty() {
            break addresses;
        }
        if Instant::now() > deadline {
            bail!(
                "no address within {patience:?}: `kubectl describe service -n {namespace} {service}` says why"
            );
        }
        sleep(PAUSE).await;
    };
    for address in addresses {
        println!("the Service has the address {address}");
        while let Err(error) = hear(address, word).await {
            ensure!(Instant::now() < deadline, "{address} is not reached within {patience:?}: {error:#}");
            sleep(PAUSE).await;
        }
        println!("{address} leads here");
    }
    Ok(())
}

/// Each address with each port.
fn addresses(service: &Service) -> Vec<SocketAddr> {
    let (ingress, ports) = (&service.status.load_balancer.ingress, &service.spec.ports);
    let ips = ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse::<IpAddr>().ok());
    let ports = || ports.iter().filter_map(|port| u16::try_from(port.port).ok());
    ips.flat_map(|ip| ports().map(move |port| SocketAddr::new(ip, port))).collect()
}

async fn hear(address: SocketAddr, word: &str) -> anyhow::Result<()> {
    let listen = async {
        let mut heard = String::new();
        TcpStream::connect(address).await?.take(1024).read_to_string(&mut heard).await?;
        anyhow::Ok(heard)
    };
    let heard = timeout(ANSWER_WITHIN, listen).await.context("no answer in time")??;
    ensure!(heard == word, "somebody else answers");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_word_is_told_from_what_others_say() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { answer(&listener, "word").await });
        hear(address, "word").await.unwrap();
        assert_eq!(hear(address, "another").await.unwrap_err().to_string(), "somebody else answers");
    }

    #[test]
    fn every_address_is_reached_on_every_port() {
        let service = serde_json::json!({
            "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}, {"port": 443}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}, {"hostname": "x"}]}},
        });
        let addresses = addresses(&serde_json::from_value(service).unwrap());
        let expected = ["192.0.2.1:80", "192.0.2.1:443", "[2001:db8::1]:80", "[2001:db8::1]:443"];
        assert_eq!(addresses, expected.map(|address| address.parse().unwrap()));
    }
}
