//! The API server: how it is reached, and what is said where something cannot be had.

use std::fmt;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::options::Connection;

/// As many objects come at a time.
const PAGE: u32 = 500;
/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// A client, and the namespace of the context.
pub(crate) async fn connect(options: &Connection) -> anyhow::Result<(Client, String)> {
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &options.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).context("reading the kubeconfig")?;
            Config::from_custom_kubeconfig(kubeconfig, &choice).await?
        }
        None if options.context.is_some() => {
            Config::from_kubeconfig(&choice).await.context("reading the kubeconfig")?
        }
        None => Config::infer()
            .await
            .context("no cluster to talk to: set KUBECONFIG or --kubeconfig, or write ~/.kube/config")?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(30));
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config).context("making a client of the kubeconfig")?, namespace))
}

/// What could not be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was tried: a verb, and what it was to be done with.
    pub(crate) verb: &'static str,
    pub(crate) resource: String,
    /// Where; everywhere, if not said.
    pub(crate) namespace: Option<String>,
    pub(crate) why: Why,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The user lacks the right.
    Forbidden,
    /// The credentials are good for nothing.
    Unauthorized,
    /// There is no such resource or object.
    NotFound,
    /// The API server cannot be reached.
    Unreachable(String),
    /// Something else.
    Other(String),
}

impl Why {
    /// Reads an error of the client.
    pub(crate) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                401 => Self::Unauthorized,
                403 => Self::Forbidden,
                404 => Self::NotFound,
                _ => Self::Other(status.message.clone()),
            },
            kube::Error::HyperError(error) => Self::Unreachable(chain(error)),
            kube::Error::Service(error) => Self::Unreachable(chain(&**error)),
            other => Self::Other(other.to_string()),
        }
    }
}

/// An error with what is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|told| told.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, namespace, why } = self;
        let place = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        };
        match why {
            Why::Forbidden => {
                let option = namespace.as_ref().map_or_else(|| "-A".to_owned(), |name| format!("-n {name}"));
                write!(
                    f,
                    "missing right: you may not {verb} {resource} {place} (kubectl auth can-i {verb} {resource} {option})"
                )
            }
            Why::Unauthorized => {
                write!(f, "cannot {verb} {resource}: the API server does not accept your credentials")
            }
            Why::NotFound => write!(
                f,
                "cannot {verb} {resource}: the cluster does not know them, so FerroLB's CRDs are not installed"
            ),
            Why::Unreachable(why) => {
                write!(f, "cannot {verb} {resource}: the API server cannot be reached: {why}")
            }
            Why::Other(why) => write!(f, "cannot {verb} {resource} {place}: {why}"),
        }
    }
}

/// What could not be done, in as few sentences as that takes: where the API server is away, or does not know the kinds, or
/// who asks, that is one.
pub(crate) fn told(failures: &[Failure]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for failure in failures {
        let text = match &failure.why {
            Why::Unreachable(why) => {
                format!("nothing can be looked at: the API server cannot be reached: {why}")
            }
            Why::Unauthorized => {
                "nothing can be looked at: the API server does not accept your credentials".to_owned()
            }
            Why::NotFound => {
                "the cluster does not know FerroLB's resources (metallb.io): its CRDs are not installed"
                    .to_owned()
            }
            Why::Forbidden | Why::Other(_) => failure.to_string(),
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

/// An error in one line, each part of its chain once.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    chain(error.as_ref())
}

/// A kind, as `kubectl` takes it: its plural, and its group where it has one.
fn resource<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") }
}

/// All objects of a kind, in a namespace or everywhere, or why they cannot be had.
pub(crate) async fn list<K>(
    client: &Client,
    namespace: Option<&str>,
    labels: Option<&str>,
) -> Result<Vec<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let resource = resource::<K>();
    let url = K::url_path(&(), namespace);
    let failure = |why| Failure {
        verb: "list",
        resource: resource.clone(),
        namespace: namespace.map(str::to_owned),
        why,
    };
    let mut parameters = ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default() };
    parameters.limit = Some(PAGE);
    let pages = async {
        let mut all = Vec::new();
        loop {
            let request = kube::core::Request::new(url.clone())
                .list(&parameters)
                .map_err(|error| failure(Why::Other(error.to_string())))?;
            let page: kube::core::ObjectList<K> =
                client.request(request).await.map_err(|error| failure(Why::of(&error)))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    };
    timeout(LIST_TIMEOUT, pages)
        .await
        .unwrap_or_else(|_| Err(failure(Why::Unreachable(format!("no answer within {LIST_TIMEOUT:?}")))))
}

/// One object, or why it cannot be had.
pub(crate) async fn get<K>(api: &Api<K>, namespace: &str, name: &str) -> Result<Option<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    api.get_opt(name).await.map_err(|error| Failure {
        verb: "get",
        resource: resource::<K>(),
        namespace: Some(namespace.to_owned()),
        why: Why::of(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(namespace: Option<&str>, why: Why) -> String {
        let namespace = namespace.map(str::to_owned);
        Failure { verb: "list", resource: "services".to_owned(), namespace, why }.to_string()
    }

    #[test]
    fn a_missing_right_is_named_with_the_command_that_shows_it() {
        assert_eq!(
            failure(None, Why::Forbidden),
            "missing right: you may not list services in all namespaces (kubectl auth can-i list services -A)"
        );
        assert!(
            failure(Some("prod"), Why::Forbidden).ends_with("(kubectl auth can-i list services -n prod)")
        );
    }

    #[test]
    fn what_has_one_cause_is_told_once() {
        let failure = |resource: &str, why: &Why| Failure {
            verb: "list",
            resource: resource.to_owned(),
            namespace: None,
            why: why.clone(),
        };
        let both = |why: Why| told(&[failure("nodes", &why), failure("pods", &why)]);
        assert_eq!(both(Why::Unreachable("refused".to_owned())).len(), 1);
        assert!(both(Why::NotFound)[0].contains("CRDs are not installed"));
        assert!(both(Why::Unauthorized)[0].contains("your credentials"));
        assert_eq!(both(Why::Forbidden).len(), 2, "each right is another");
        let error = anyhow::anyhow!("no such file")
            .context("reading: no such file")
            .context("reading the kubeconfig");
        assert_eq!(one_line(&error), "reading the kubeconfig: reading: no such file");
    }

    #[test]
    fn each_other_reason_says_what_could_not_be_done() {
        assert!(failure(None, Why::Unauthorized).contains("does not accept your credentials"));
        assert!(failure(None, Why::NotFound).contains("CRDs are not installed"));
        assert!(failure(None, Why::Unreachable("refused".to_owned())).contains("cannot be reached: refused"));
        assert!(failure(None, Why::Other("odd".to_owned())).ends_with("in all namespaces: odd"));
    }
}
