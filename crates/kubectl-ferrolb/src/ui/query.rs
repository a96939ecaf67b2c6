//! What the address of the page asks for: which Services, which page of them, which drain.

use form_urlencoded::Serializer;

use crate::survey::Surveyed;

/// As many Services are on a page.
pub(super) const PER_PAGE: usize = 50;
/// No wish has so many words or letters that looking for them takes long.
const LONGEST: usize = 200;

/// What is asked for. The default is the page as it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Words, all of which a Service must have.
    pub(super) words: String,
    /// Only Services with a problem.
    pub(super) problems: bool,
    /// Of the Services, from 0.
    pub(super) page: usize,
    /// The node whose drain is simulated.
    pub(super) drain: Option<String>,
    /// The version that the asker has; it waits for another one.
    pub(super) after: Option<u64>,
}

impl Query {
    /// Reads what comes after the `?`. What it does not know, it passes over.
    pub(super) fn read(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let value = || value.chars().take(LONGEST).collect::<String>();
            match &*name {
                "q" => value().trim().clone_into(&mut query.words),
                "show" => query.problems = value() == "problems",
                "page" => query.page = value().parse::<usize>().unwrap_or(1).saturating_sub(1),
                "drain" => query.drain = Some(value()).filter(|node| !node.is_empty()),
                "after" => query.after = value().parse().ok(),
                _ => {}
            }
        }
        query
    }

    /// The same as a relative address.
    pub(super) fn link(&self) -> String {
        let Self { words, problems, page, drain, after: _ } = self;
        let mut link = Serializer::for_suffix("?".to_owned(), 1);
        if !words.is_empty() {
            link.append_pair("q", words);
        }
        if *problems {
            link.append_pair("show", "problems");
        }
        if *page > 0 {
            link.append_pair("page", &(page + 1).to_string());
        }
        if let Some(node) = drain {
            link.append_pair("drain", node);
        }
        let link = link.finish();
        if link == "?" { "./".to_owned() } else { link }
    }

    pub(super) fn with_words(&self, words: &str) -> Self {
        Self { words: words.to_owned(), page: 0, ..self.clone() }
    }

    pub(super) fn with_problems(&self, problems: bool) -> Self {
        Self { problems, page: 0, ..self.clone() }
    }

    pub(super) fn with_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    pub(super) fn with_drain(&self, node: Option<&str>) -> Self {
        Self { drain: node.map(str::to_owned), ..self.clone() }
    }

    /// Whether a Service is asked for. `node:n1` and `pool:lan` ask for just these; other words for what has them in it.
    pub(super) fn wants(&self, service: &Surveyed) -> bool {
        if self.problems && !service.is_problem() {
            return false;
        }
        self.words.split_whitespace().all(|word| has(service, &word.to_lowercase()))
    }
}

fn has(service: &Surveyed, word: &str) -> bool {
    let within = |text: &str| text.to_lowercase().contains(word);
    if let Some(node) = word.strip_prefix("node:") {
        return service.addresses.iter().any(|it| it.nodes().any(|it| it.to_lowercase() == node));
    }
    if let Some(pool) = word.strip_prefix("pool:") {
        return service.pool.as_ref().is_some_and(|it| it.to_lowercase() == pool);
    }
    if let Some(ip) = word.strip_prefix("ip:") {
        return service.addresses.iter().any(|it| it.ip.to_string() == ip);
    }
    within(&service.title())
        || within(service.health.word())
        || service.pool.as_deref().is_some_and(within)
        || service.addresses.iter().any(|it| within(&it.ip.to_string()) || it.nodes().any(within))
        || service.all_reasons().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::{Announced, Health};

    fn service(name: &str, ip: &str, node: &str) -> Surveyed {
        let address = Announced {
            ip: ip.parse().unwrap(),
            health: Health::Announced,
            node: Some(node.to_owned()),
            interfaces: vec!["eth0".to_owned()],
            since: None,
            by_bgp: vec![],
        };
        Surveyed {
            key: None,
            namespace: "prod".to_owned(),
            name: name.to_owned(),
            health: Health::Announced,
            pool: Some("lan".to_owned()),
            addresses: vec![address],
            reasons: vec![],
            remedies: vec![],
            unserved: None,
            warnings: vec![],
        }
    }

    fn wants(words: &str, service: &Surveyed) -> bool {
        Query::default().with_words(words).wants(service)
    }

    #[test]
    fn a_query_reads_back_from_its_link() {
        for text in
            ["", "q=a+b%26c&show=problems&page=3&drain=n1", "drain=%22%3E%3Cscript%3E", "q=%F0%9F%8E%88"]
        {
            let query = Query::read(text);
            assert_eq!(
                Query::read(query.link().trim_start_matches("./").trim_start_matches('?')),
                query,
                "{text}"
            );
        }
        assert_eq!(Query::default().link(), "./");
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let odd = format!("page=-1&page=x&after=x&drain=&new=1&q={}", "x".repeat(10_000));
        let query = Query::read(&odd);
        assert_eq!((query.page, query.after, query.drain.as_deref()), (0, None, None));
        assert_eq!(query.words.len(), LONGEST);
        assert_eq!(Query::read("page=0").page, 0);
        assert_eq!(Query::read("page=18446744073709551615").page, usize::MAX - 1);
    }

    #[test]
    fn a_service_is_found_by_name_address_node_pool_and_state() {
        let web = service("web", "192.0.2.1", "n1");
        for words in
            ["web", "PROD", "192.0.2", "n1", "lan announced", "node:n1", "pool:lan web", "ip:192.0.2.1", ""]
        {
            assert!(wants(words, &web), "{words}");
        }
        for words in ["web other", "node:n", "pool:la", "ip:192.0.2", "silent"] {
            assert!(!wants(words, &web), "{words}");
        }
        assert!(!wants("node:n1", &service("web", "192.0.2.1", "n10")));
        assert!(!Query::default().with_problems(true).wants(&web));
    }
}
