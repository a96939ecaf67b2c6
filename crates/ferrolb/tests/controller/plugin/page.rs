//! The page of `kubectl ferrolb ui`, without a browser.

use std::net::IpAddr;
use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SYSTEM, account, advertise, endpoints, node, pod, user};
use crate::fixture::{Cluster, run, wait};

/// A page that is served.
struct Page {
    /// As `HOST:PORT`.
    host: String,
    /// As `/TOKEN/`.
    path: String,
}

impl Page {
    /// Serves it with the rights of this kubeconfig, for as long as the test's runtime is there.
    async fn serve(kubeconfig: &Path) -> Self {
        let kubeconfig = kubeconfig.display().to_string();
        let line =
            ["kubectl-ferrolb", "--kubeconfig", &kubeconfig, "--pod-timeout", "1", "ui", "--no-browser"];
        let page = kubectl_ferrolb::page(line.map(str::to_owned)).await.unwrap();
        let url = page.url();
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let (host, path) = (host.to_owned(), format!("/{path}"));
        tokio::spawn(page.serve());
        Self { host, path }
    }

    async fn get(&self, query: &str) -> String {
        let mut stream = TcpStream::connect(&self.host).await.unwrap();
        let request =
            format!("GET {}{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.path, self.host);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        answer
    }

    /// Waits until the page has all of these texts, and returns it.
    async fn wait_for(&self, texts: &[&str]) -> String {
        wait(&format!("the page to show {texts:?}"), async || {
            let page = self.get("").await;
            texts.iter().all(|text| page.contains(text)).then_some(page)
        })
        .await
    }
}

#[test]
fn the_page_shows_what_is_there_and_hears_of_what_comes() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/31"]).await;
        advertise(&cluster, json!({})).await;
        let _controller = cluster.controller("c-1", &[]);
        cluster.service("a", json!({})).await;
        cluster.wait_for_addresses("a", &["10.9.0.0"]).await;
        let page = Page::serve(&cluster.server.kubeconfig()).await;
        let shown = page.wait_for(&["data-key=\"service default/a\"", "10.9.0.0: silent by default/a"]).await;
        assert!(shown.contains("No Pod of FerroLB in namespace metallb-system"), "{shown}");
        assert!(shown.contains("<b data-flash>1</b> of 2 "), "{shown}");

        let version = shown.split_once("data-version=\"").unwrap().1.split_once('"').unwrap().0;
        let news = format!("live?after={version}");
        let (news, ()) = tokio::join!(page.get(&news), cluster.service("b", json!({})));
        assert!(!news.contains(&format!("data-version=\"{version}\"")), "{news}");
        page.wait_for(&["data-key=\"service default/b\"", "<b data-flash>2</b> of 2 ", "10.9.0.1"]).await;
    });
}

#[test]
fn a_drain_is_foretold_on_the_page_and_done_nowhere() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/31"]).await;
        advertise(&cluster, json!({})).await;
        let _controller = cluster.controller("c-1", &[]);
        let nowhere: IpAddr = "192.0.2.1".parse().unwrap();
        account(&cluster, SYSTEM, "ferrolb").await;
        for name in ["n1", "n2"] {
            node(&cluster, name, json!({}), "192.0.2.1").await;
            pod(&cluster, &format!("s-{name}"), "speaker", name, nowhere, &[]).await;
        }
        cluster.service("a", json!({})).await;
        cluster.wait_for_addresses("a", &["10.9.0.0"]).await;
        endpoints(&cluster, "a", &["n1"]).await;
        let page = Page::serve(&cluster.server.kubeconfig()).await;
        page.wait_for(&["data-key=\"node n1\"", "data-key=\"service default/a\""]).await;
        let drained = page.get("?drain=n1").await;
        assert!(drained.contains("If n1 is drained, then switched off"), "{drained}");
        assert!(
            drained.contains("OUTAGE until a Pod is ready elsewhere: only n1 has serving endpoints"),
            "{drained}"
        );
        assert!(drained.contains("No speaker can be asked"), "{drained}");
        let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.client.clone());
        let node = nodes.get("n1").await.unwrap();
        assert_eq!(node.spec.and_then(|spec| spec.unschedulable), None);
    });
}

#[test]
fn who_may_see_nothing_is_told_which_rights_are_missing() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/30"]).await;
        let (_folder, nobody) = user(&cluster, "nobody", &[]).await;
        let page = Page::serve(&nobody).await;
        let shown = page
            .wait_for(&[
                "missing right: you may not list services in all namespaces",
                "missing right: you may not list ipaddresspools.metallb.io in namespace metallb-system",
            ])
            .await;
        assert!(!shown.contains("All is well"), "{shown}");
        let drained = page.get("?drain=n1").await;
        assert!(drained.contains("nothing can be foretold while lists are missing"), "{drained}");
    });
}

#[test]
fn a_cluster_that_goes_away_is_told_and_what_was_seen_stays() {
    run(async {
        let mut cluster = Cluster::start().await;
        cluster.pool("lan", &["10.9.0.0/30"]).await;
        let page = Page::serve(&cluster.server.kubeconfig()).await;
        page.wait_for(&["data-key=\"pool lan\""]).await;
        cluster.server.stop();
        page.wait_for(&["The cluster cannot be reached", "was seen before", "data-key=\"pool lan\""]).await;
    });
}
