//! Requests as the API server itself counts them.

use std::collections::BTreeMap;
use std::fmt;

/// How many requests there were, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requests(BTreeMap<Kind, u64>);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// `PATCH` and the like, also `LIST` and `WATCH`.
    verb: String,
    /// `services/status` and the like.
    resource: String,
}

impl Requests {
    /// Reads the metrics of an API server, in Prometheus' text format. What is asked of it besides objects,
    /// such as these metrics themselves, does not count.
    pub(crate) fn read(metrics: &str) -> Self {
        let mut requests = Self::default();
        for (kind, count) in metrics.lines().filter_map(read_line) {
            *requests.0.entry(kind).or_default() += count;
        }
        requests
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is here and not in `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let rest = self.0.iter().map(|(kind, count)| {
            (kind.clone(), count.saturating_sub(earlier.0.get(kind).copied().unwrap_or(0)))
        });
        Self(rest.filter(|(_, count)| *count > 0).collect())
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that change a resource, such as `services/status`.
    pub(crate) fn writes(&self, resource: &str) -> u64 {
        let writes = self.0.iter().filter(|(kind, _)| {
            kind.resource == resource && !["GET", "LIST", "WATCH"].contains(&kind.verb.as_str())
        });
        writes.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (i, (Kind { verb, resource }, count)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{count} {verb} {resource}")?;
        }
        Ok(())
    }
}

/// A line such as `apiserver_request_total{code="200",resource="leases",...,verb="PUT"} 6`.
fn read_line(line: &str) -> Option<(Kind, u64)> {
    let (labels, count) = line.strip_prefix("apiserver_request_total{")?.rsplit_once("} ")?;
    // No value of these labels has a comma or a quote in it.
    let label = |name: &str| {
        labels.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
    };
    let (verb, resource, subresource) = (label("verb")?, label("resource")?, label("subresource")?);
    if resource.is_empty() {
        return None;
    }
    let resource =
        if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    Some((Kind { verb: verb.to_owned(), resource }, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE apiserver_request_total counter
apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"services\",scope=\"resource\",subresource=\"status\",verb=\"PATCH\",version=\"v1\"} 5
apiserver_request_total{code=\"409\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"services\",scope=\"resource\",subresource=\"status\",verb=\"PATCH\",version=\"v1\"} 2
apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"services\",scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1
apiserver_request_total{code=\"200\",component=\"\",dry_run=\"\",group=\"\",resource=\"\",scope=\"\",subresource=\"/metrics\",verb=\"GET\",version=\"\"} 9
apiserver_request_terminations_total{code=\"429\"} 3
";

    #[test]
    fn requests_are_read_by_verb_and_resource() {
        let requests = Requests::read(METRICS);
        assert_eq!(requests.to_string(), "1 LIST services, 7 PATCH services/status");
        assert_eq!((requests.total(), requests.writes("services/status")), (8, 7));
        assert_eq!(requests.writes("services"), 0);
    }

    #[test]
    fn what_was_counted_before_is_taken_off() {
        let later = Requests::read(METRICS);
        let earlier = Requests::read(METRICS.lines().nth(1).unwrap());
        assert_eq!(later.since(&earlier).to_string(), "1 LIST services, 2 PATCH services/status");
        assert_eq!(later.since(&later).to_string(), "none");
    }
}
