//! Metrics for those only whom the API server allows it.

use std::process::Command;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::fixture::{Cluster, run, start, wait};
use crate::proxy::{Mischief, Proxy};
use crate::told::{free_address, get};

/// Makes a service account and returns a token of it.
async fn token(cluster: &Cluster, name: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(cluster.client.clone());
    let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

/// Gives a service account the right that Prometheus is given to scrape metrics.
async fn allow(cluster: &Cluster, name: &str) {
    let role =
        json!({"metadata": {"name": name}, "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]});
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    });
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

/// Asks for metrics by TLS. Returns the status and what is said; nothing while nobody listens.
async fn metrics(bind: &str, token: Option<&str>) -> Option<(u16, String)> {
    let mut curl = Command::new("curl");
    curl.args(["-sk", "-m", "5", "-w", "\n%{http_code}", &format!("https://{bind}/metrics")]);
    if let Some(token) = token {
        curl.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = tokio::task::spawn_blocking(move || curl.output().expect("the program curl")).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (said, status) = text.rsplit_once('\n')?;
    Some((status.parse().ok().filter(|status| *status != 0)?, said.to_owned()))
}

#[test]
fn metrics_are_for_those_whom_the_api_server_allows_it() {
    run(async {
        let cluster = Cluster::start().await;
        let (proxy, probes, secure) = (Proxy::start(&cluster).await, free_address(), free_address());
        let options = [&format!("--http-bind={probes}"), &format!("--metrics-bind={secure}")];
        let _controller = start(&proxy.kubeconfig(&cluster), "c", &options.map(String::as_str));
        let (scraper, stranger) = (token(&cluster, "scraper").await, token(&cluster, "stranger").await);
        allow(&cluster, "scraper").await;
        // A right is known to the API server a moment after it is granted.
        let (status, said) = wait("the metrics", async || {
            let answer = metrics(&secure, Some(&scraper)).await?;
            (answer.0 == 200).then_some(answer)
        })
        .await;
        assert!(status == 200 && said.contains("ferrolb_controller_leader"), "{said}");
        let (status, said) = metrics(&secure, Some(&stranger)).await.unwrap();
        assert_eq!(status, 403);
        assert!(said.contains("system:serviceaccount:default:stranger"), "{said}");
        for none in [None, Some("nonsense")] {
            assert_eq!(metrics(&secure, none).await.unwrap().0, 401, "{none:?}");
        }
        // Probes are for everybody, and plain; metrics are not there.
        assert_eq!(get(&probes, "/healthz").await.unwrap(), "ok\n");
        assert!(!get(&probes, "/metrics").await.unwrap().contains("ferrolb"));
        // Where the API server fails, there are no metrics for those that it has not allowed yet, and no other harm.
        proxy.set(Mischief::Forbid("/tokenreviews"));
        let another = token(&cluster, "another").await;
        assert_eq!(metrics(&secure, Some(&another)).await.unwrap().0, 500);
        assert_eq!(metrics(&secure, Some(&scraper)).await.unwrap().0, 200);
        assert_eq!(get(&probes, "/readyz").await.unwrap(), "ok\n");
        proxy.set(Mischief::None);
        assert_eq!(metrics(&secure, Some(&another)).await.unwrap().0, 403);
    });
}
