//! Who this program is in the cluster.

use std::fs;

/// Namespace and Pod of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where the configuration, the Lease and the fellow programs are.
    pub namespace: String,
    /// This program's own Pod, when it runs in one.
    pub pod_name: Option<String>,
}

const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const DEFAULT_NAMESPACE: &str = "metallb-system";

impl Identity {
    /// Fills in what was not given: the namespace of the service account, else `metallb-system`.
    pub fn new(namespace: Option<String>, pod_name: Option<String>) -> Self {
        let given = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
        let from_account = || given(fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok());
        let namespace =
            given(namespace).or_else(from_account).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Self { namespace: namespace.trim().to_owned(), pod_name: given(pod_name) }
    }

    /// A name for this program that differs from its fellows': the Pod's, else the host's with the process
    /// id.
    pub fn instance(&self) -> String {
        let host = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.pod_name.clone().unwrap_or_else(|| format!("{}-{}", host().trim(), std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_none() {
        let identity = Identity::new(Some(String::new()), Some(String::new()));
        assert_eq!(identity, Identity { namespace: DEFAULT_NAMESPACE.to_owned(), pod_name: None });
        assert_eq!(Identity::new(Some("lb".into()), None).namespace, "lb");
    }
}
