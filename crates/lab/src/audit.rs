//! What service accounts asked of the API server, beside what their roles allow them to ask.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names the file in which the end-to-end tests record what FerroLB may ask and what it asked.
pub const RECORD_VARIABLE: &str = "FERROLB_E2E_RIGHTS";

/// What a request is about, as far as roles can tell requests apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// The service account, as `NAMESPACE:NAME`.
    pub account: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// `get`, `list` and so on.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The resource, with its subresource after a slash; the path of what is no resource.
    pub resource: String,
    /// The namespace; empty for requests about all of them, or about what has none.
    pub namespace: String,
    /// The object; empty for requests about many, and for one that is not there yet.
    pub name: String,
}

/// A request that a role allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// The service account, as `NAMESPACE:NAME`.
    pub account: String,
    verb: String,
    group: String,
    resource: String,
    /// Where; none for everywhere.
    namespace: Option<String>,
    /// Which object; none for any.
    name: Option<String>,
}

/// The requests in an audit log, each once.
pub fn requests(log: &str) -> BTreeSet<Request> {
    events(log).collect()
}

/// The requests in an audit log, as often as they were made, in order.
pub fn events(log: &str) -> impl Iterator<Item = Request> {
    // The last line may be still in the making.
    log.lines().filter_map(|line| request(&serde_json::from_str(line).ok()?))
}

fn request(event: &Value) -> Option<Request> {
    let account = event["user"]["username"].as_str()?.strip_prefix("system:serviceaccount:")?;
    let object = &event["objectRef"];
    let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let resource = match (object["resource"].as_str(), object["subresource"].as_str()) {
        (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
        (Some(resource), None) => resource.to_owned(),
        (None, _) => event["requestURI"].as_str()?.to_owned(),
    };
    Some(Request {
        account: account.to_owned(),
        allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
        verb: event["verb"].as_str()?.to_owned(),
        group: field("apiGroup"),
        resource,
        namespace: field("namespace"),
        name: field("name"),
    })
}

/// What the end-to-end tests record in the file that [`RECORD_VARIABLE`] names.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// All that FerroLB asked.
    pub requests: BTreeSet<Request>,
    /// All that its roles allowed it, in any of the ways in which tests have installed the chart.
    pub grants: BTreeSet<Grant>,
}

impl Record {
    /// What no request needed. One that several grants allow needs the narrowest of them: wider ones are there for
    /// others.
    pub fn unused(&self) -> Vec<&Grant> {
        let mut needed = BTreeSet::new();
        for request in self.requests.iter().filter(|request| request.allowed) {
            let covering = || self.grants.iter().filter(|grant| grant.covers(request));
            let narrowest = covering().map(Grant::width).min();
            needed.extend(covering().filter(|grant| Some(grant.width()) == narrowest));
        }
        self.grants.iter().filter(|grant| !needed.contains(grant)).collect()
    }
}

/// What roles allow the service accounts that they are bound to. `objects` are roles and bindings of both scopes.
pub fn grants(objects: &[Value]) -> BTreeSet<Grant> {
    let bindings = objects
        .iter()
        .filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding")));
    bindings.flat_map(|binding| of_binding(binding, objects)).collect()
}

fn of_binding(binding: &Value, objects: &[Value]) -> Vec<Grant> {
    let namespace = binding["metadata"]["namespace"].as_str();
    let role = &binding["roleRef"];
    let is_role = |object: &&Value| {
        object["kind"] == role["kind"]
            && object["metadata"]["name"] == role["name"]
            && (role["kind"] == "ClusterRole" || object["metadata"]["namespace"].as_str() == namespace)
    };
    let rules: Vec<&Value> = objects.iter().filter(is_role).flat_map(|role| list(&role["rules"])).collect();
    let mut grants = Vec::new();
    for subject in list(&binding["subjects"]).filter(|subject| subject["kind"] == "ServiceAccount") {
        let account = format!("{}:{}", text(&subject["namespace"]), text(&subject["name"]));
        for rule in &rules {
            let names: Vec<Option<String>> = match rule["resourceNames"].as_array() {
                Some(names) => names.iter().map(|name| Some(text(name))).collect(),
                None => vec![None],
            };
            for (group, resource, verb) in combinations(rule) {
                grants.extend(names.iter().map(|name| Grant {
                    account: account.clone(),
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: namespace.map(str::to_owned),
                    name: name.clone(),
                }));
            }
        }
    }
    grants
}

fn combinations(rule: &Value) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            all.extend(list(&rule["verbs"]).map(|verb| (text(group), text(resource), text(verb))));
        }
    }
    all
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Request {
    /// Whether it is one that changes something.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }
}

impl Grant {
    /// Whether a request needs this grant, or another one like it.
    pub fn covers(&self, request: &Request) -> bool {
        let Self { account, verb, group, resource, namespace, name } = self;
        *account == request.account
            && *verb == request.verb
            && *group == request.group
            && *resource == request.resource
            && namespace.as_ref().is_none_or(|namespace| *namespace == request.namespace)
            && name.as_ref().is_none_or(|name| *name == request.name)
    }

    /// Orders grants that allow the same request.
    fn width(&self) -> (bool, bool) {
        (self.namespace.is_none(), self.name.is_none())
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, verb, group, resource, namespace, name } = self;
        write!(f, "{account} may {verb} {resource}")?;
        if !group.is_empty() {
            write!(f, " of {group}")?;
        }
        if let Some(name) = name {
            write!(f, " called {name}")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => write!(f, " everywhere"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, allowed: _, verb, group, resource, namespace, name } = self;
        write!(f, "{account}: {verb} {resource} ({group}) {namespace}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(user: &str, decision: &str, verb: &str, object: Value) -> String {
        json!({
            "user": {"username": user}, "verb": verb, "objectRef": object, "requestURI": "/readyz",
            "annotations": {"authorization.k8s.io/decision": decision},
        })
        .to_string()
    }

    fn roles() -> Vec<Value> {
        let bound = |kind: &str, role: &str, namespace: Value| {
            json!({"kind": kind, "metadata": {"name": "b", "namespace": namespace}, "roleRef": {"kind": role, "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "lb", "name": "speaker"}]})
        };
        vec![
            json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [
                {"apiGroups": [""], "resources": ["services", "services/status"], "verbs": ["list"]}]}),
            json!({"kind": "Role", "metadata": {"name": "r", "namespace": "lb"}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["key"], "verbs": ["list"]}]}),
            json!({"kind": "Role", "metadata": {"name": "r", "namespace": "other"}, "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}),
            bound("ClusterRoleBinding", "ClusterRole", Value::Null),
            bound("RoleBinding", "Role", json!("lb")),
        ]
    }

    #[test]
    fn a_role_grants_each_combination_to_those_that_it_is_bound_to() {
        let granted: Vec<String> = grants(&roles()).iter().map(ToString::to_string).collect();
        let expected = [
            "lb:speaker may list secrets called key in lb",
            "lb:speaker may list services everywhere",
            "lb:speaker may list services/status everywhere",
        ];
        assert_eq!(granted, expected);
    }

    #[test]
    fn a_request_uses_the_grants_that_allow_it_and_no_other() {
        let user = "system:serviceaccount:lb:speaker";
        let log = [
            event(user, "allow", "list", json!({"resource": "services"})),
            event(user, "allow", "list", json!({"resource": "secrets", "namespace": "lb", "name": "key"})),
            event(user, "forbid", "list", json!({"resource": "services", "subresource": "status"})),
            event("system:node:n1", "allow", "list", json!({"resource": "pods"})),
            event(user, "allow", "get", Value::Null),
            "{\"user\":".to_owned(),
        ];
        let requests = requests(&log.join("\n"));
        assert_eq!(requests.len(), 4, "{requests:?}");
        assert!(requests.iter().any(|request| request.resource == "/readyz"));
        let record = Record { requests, grants: grants(&roles()) };
        let unused: Vec<String> = record.unused().iter().map(ToString::to_string).collect();
        assert_eq!(unused, ["lb:speaker may list services/status everywhere"]);
    }

    #[test]
    fn a_wide_grant_is_not_used_by_requests_that_a_narrow_one_allows() {
        let pods = |namespace: Option<&str>| Grant {
            account: "lb:speaker".into(),
            verb: "list".into(),
            group: String::new(),
            resource: "pods".into(),
            namespace: namespace.map(str::to_owned),
            name: None,
        };
        let (narrow, wide) = (pods(Some("lb")), pods(None));
        let unused_by = |namespaces: &[&str]| {
            let user = "system:serviceaccount:lb:speaker";
            let request = |namespace: &&str| {
                event(user, "allow", "list", json!({"resource": "pods", "namespace": namespace}))
            };
            let log: Vec<String> = namespaces.iter().map(request).collect();
            let grants = BTreeSet::from([narrow.clone(), wide.clone()]);
            let record = Record { requests: requests(&log.join("\n")), grants };
            record.unused().into_iter().cloned().collect::<Vec<_>>()
        };
        assert_eq!(unused_by(&["lb"]), std::slice::from_ref(&wide));
        assert_eq!(unused_by(&[""]), std::slice::from_ref(&narrow));
        assert_eq!(unused_by(&["lb", ""]), []);
    }
}
