//! The API server: how it is reached, and what is said where something cannot be had.

use std::fmt;
use std::fmt::Debug;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::nearest::did_you_mean;
use crate::options::Connection;

/// As many objects come at a time.
const PAGE: u32 = 500;
/// How long the first answer of an API server may take. A list may take longer.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(8);
/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// A client, and the namespace of the context.
pub(crate) async fn connect(options: &Connection) -> anyhow::Result<(Clients, String)> {
    let mut config = match kubeconfig(options.kubeconfig.as_deref())? {
        Some(kubeconfig) => of_kubeconfig(kubeconfig, options.context.clone()).await?,
        None if options.context.is_some() => bail!("{NO_KUBECONFIG}"),
        None => Config::incluster().map_err(|_| anyhow!("no cluster to talk to: {NO_KUBECONFIG}"))?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(30));
    let namespace = config.default_namespace.clone();
    let client = |config| Client::try_from(config).context("making a client of the kubeconfig");
    // A Pod that does not answer is not to be waited for, nor is what it says in refusing: it may be the answer.
    let api = client(config.clone())?;
    config.default_retry = false;
    Ok((Clients { api, once: client(config)? }, namespace))
}

/// Clients of one API server.
#[derive(Clone)]
pub(crate) struct Clients {
    /// Asks again where the API server says that it is busy.
    pub(crate) api: Client,
    /// Takes the first answer, whatever it is.
    pub(crate) once: Client,
}

/// What is to be done where there is none.
const NO_KUBECONFIG: &str = "set KUBECONFIG or --kubeconfig, or write ~/.kube/config";

/// The kubeconfig, as kubectl finds it: that which is named, those that `KUBECONFIG` names, or that of the user; nothing if
/// there is none.
pub(crate) fn kubeconfig(named: Option<&Path>) -> anyhow::Result<Option<Kubeconfig>> {
    let read = |path: &Path| Kubeconfig::read_from(path).map(Some);
    let of_user = || std::env::home_dir().map(|home| home.join(".kube/config")).filter(|path| path.exists());
    let found = match named {
        Some(path) => read(path),
        None => match Kubeconfig::from_env() {
            Ok(None) => of_user().map_or(Ok(None), |path| read(&path)),
            found => found,
        },
    };
    found.map_err(|error| anyhow!("{}", unreadable(&error)))
}

/// Why a kubeconfig cannot be used, in one line; kube tells that once for each error of the chain.
fn unreadable(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(why, path) => {
            format!("the kubeconfig {} cannot be read: {why}", path.display())
        }
        other => {
            let text = chain(other);
            // A parser shows the place with a mark below it.
            let first = text.lines().next().unwrap_or_default();
            format!("the kubeconfig cannot be used: {}", first.trim())
        }
    }
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, context: Option<String>) -> anyhow::Result<Config> {
    let context = context.filter(|name| !name.is_empty());
    let wanted = context.as_ref().or(kubeconfig.current_context.as_ref()).filter(|name| !name.is_empty());
    let contexts = || kubeconfig.contexts.iter().map(|context| context.name.clone());
    match wanted {
        None => bail!(
            "the kubeconfig has no current context: name one with --context{}",
            did_you_mean("", contexts())
        ),
        Some(name) if contexts().all(|it| it != *name) => {
            bail!("there is no context {name} in the kubeconfig{}", did_you_mean(name, contexts()))
        }
        Some(_) => {}
    }
    let choice = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &choice)
        .await
        .map_err(|error| anyhow!("{}", unreadable(&error)))
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

impl Failure {
    /// Whether the API server cannot be reached, so that nothing else can be done either.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self.why, Why::Unreachable(_))
    }
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

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("you lack the right"),
            Self::Unauthorized => f.write_str("the API server does not accept your credentials"),
            Self::NotFound => f.write_str("there is no such thing"),
            Self::Unreachable(why) => write!(f, "the API server cannot be reached: {why}"),
            Self::Other(why) => f.write_str(why),
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
            Why::NotFound if resource.ends_with(".metallb.io") => write!(
                f,
                "cannot {verb} {resource}: the cluster does not know them, so FerroLB's CRDs are not installed"
            ),
            Why::NotFound => write!(f, "cannot {verb} {resource} {place}: there is no such thing"),
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
                let missing = failures.iter().filter(|it| it.why == Why::NotFound);
                let missing: Vec<&str> = missing.map(|it| it.resource.as_str()).collect();
                format!(
                    "the cluster does not know {}: these CRDs are not installed (helm upgrade, or kubectl apply -f crds/)",
                    missing.join(", ")
                )
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
pub(crate) fn resource<K: Resource<DynamicType = ()>>() -> String {
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

/// The first list that an API server is asked for, or that it answers nothing: it is asked for its version meanwhile, which
/// takes no time, and which everybody may read.
pub(crate) async fn first<K>(
    client: &Client,
    list: impl Future<Output = Result<Vec<K>, Failure>>,
) -> Result<Vec<K>, Failure>
where
    K: Resource<DynamicType = ()>,
{
    let why = async {
        let end = Instant::now() + FIRST_ANSWER;
        match timeout_at(end, client.apiserver_version()).await {
            Ok(Ok(_)) => pending().await,
            Ok(Err(error)) => match Why::of(&error) {
                Why::Unreachable(why) => {
                    // The list may have come through.
                    sleep_until(end).await;
                    why
                }
                // It answers.
                Why::Forbidden | Why::Unauthorized | Why::NotFound | Why::Other(_) => pending().await,
            },
            Err(_) => format!("it has answered nothing for {} s", FIRST_ANSWER.as_secs()),
        }
    };
    tokio::select! {
        listed = list => listed,
        why = why => {
            let why = Why::Unreachable(why);
            Err(Failure { verb: "list", resource: resource::<K>(), namespace: None, why })
        }
    }
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
        Failure { verb: "list", resource: "ipaddresspools.metallb.io".to_owned(), namespace, why }.to_string()
    }

    #[test]
    fn a_missing_right_is_named_with_the_command_that_shows_it() {
        assert_eq!(
            failure(None, Why::Forbidden),
            "missing right: you may not list ipaddresspools.metallb.io in all namespaces (kubectl auth can-i list ipaddresspools.metallb.io -A)"
        );
        assert!(
            failure(Some("prod"), Why::Forbidden)
                .ends_with("(kubectl auth can-i list ipaddresspools.metallb.io -n prod)")
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

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_told_once_and_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let context = |cluster: &str| {
            format!(
                "{{contexts: [{{name: homelab, context: {{cluster: {cluster}, user: u}}}}, \
                 {{name: work, context: {{cluster: {cluster}, user: u}}}}], \
                 clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:9'}}}}], users: [{{name: u, user: {{}}}}]}}"
            )
        };
        for (content, named, part) in [
            (None, None, "No such file or directory"),
            (Some("contexts: [\n".to_owned()), None, "cannot be used"),
            (Some("just words".to_owned()), None, "cannot be used"),
            (Some("{}".to_owned()), None, "no current context"),
            (
                Some(context("c")),
                None,
                "no current context: name one with --context: there are homelab, work",
            ),
            (
                Some(context("c")),
                Some("homlab"),
                "there is no context homlab in the kubeconfig: did you mean homelab?",
            ),
            (Some(context("none")), Some("work"), "cluster of context"),
        ] {
            _ = std::fs::remove_file(&path);
            if let Some(content) = &content {
                std::fs::write(&path, content).unwrap();
            }
            let options = Connection {
                kubeconfig: Some(path.clone()),
                context: named.map(str::to_owned),
                ..Connection::default()
            };
            let error = one_line(&connect(&options).await.map(drop).unwrap_err());
            assert_eq!(error.matches(part).count(), 1, "{content:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{content:?}: {error}");
            assert!(error.matches("kubeconfig").count() <= 2, "{content:?}: {error}");
        }
        // A folder in its place.
        let options = Connection { kubeconfig: Some(folder.path().to_owned()), ..Connection::default() };
        let error = one_line(&connect(&options).await.map(drop).unwrap_err());
        assert_eq!(error.matches("Is a directory").count(), 1, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_accepts_connections_and_answers_nothing_is_named_by_each_command_in_one_sentence()
     {
        // The kernel accepts for it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        for scheme in ["http", "https"] {
            let server = format!("{scheme}://{}", listener.local_addr().unwrap());
            let kubeconfig = format!(
                "{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
                 clusters: [{{name: c, cluster: {{server: '{server}'}}}}], users: [{{name: u, user: {{}}}}]}}"
            );
            std::fs::write(&path, kubeconfig).unwrap();
            for command in [&["status"][..], &["explain", "web"], &["services", "-o", "json"], &["version"]] {
                let line = ["kubectl-ferrolb", "--kubeconfig", path.to_str().unwrap()];
                let began = Instant::now();
                let said = Box::pin(crate::say(line.into_iter().chain(command.iter().copied()))).await;
                // By the clock of the test, which stands still while something is done.
                assert!(began.elapsed() <= Duration::from_secs(10), "{server} {command:?}: {said:?}");
                assert_eq!(
                    (said.code, said.stderr.lines().count()),
                    (2, 1),
                    "{server} {command:?}: {said:?}"
                );
                let sentence = "error: nothing can be looked at: the API server cannot be reached: ";
                assert!(said.stderr.starts_with(sentence), "{server} {command:?}: {said:?}");
            }
        }
    }

    #[test]
    fn each_other_reason_says_what_could_not_be_done() {
        assert!(failure(None, Why::Unauthorized).contains("does not accept your credentials"));
        assert!(failure(None, Why::NotFound).contains("CRDs are not installed"));
        assert!(failure(None, Why::Unreachable("refused".to_owned())).contains("cannot be reached: refused"));
        assert!(failure(None, Why::Other("odd".to_owned())).ends_with("in all namespaces: odd"));
    }
}
