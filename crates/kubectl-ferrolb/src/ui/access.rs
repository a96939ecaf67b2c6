//! For whom the page is: for whoever was told its address, and nobody else on this machine or on the web.
//!
//! - A page of the web cannot read it: nothing allows other origins, and where a browser says that another page asks, it is
//!   refused. A name of the attacker's that leads to this machine (DNS rebinding) is no name of this machine.
//! - Another user of this machine does not know the token in the path. A cookie would do worse: browsers send it to all
//!   ports of a host, and another user may listen on one.

use std::sync::Mutex;
use std::sync::PoisonError;

use anyhow::anyhow;
use http::{HeaderMap, HeaderValue, Method};
use ring::rand::{SecureRandom, SystemRandom};

/// What opens the page.
#[derive(Debug)]
pub(super) struct Access {
    token: String,
    /// Good for one visit, then gone.
    ticket: Mutex<Option<String>>,
    first_ticket: String,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// A file below the token.
    File(&'a str),
    /// The ticket was shown, and is used up: go to the page.
    Enter,
    /// No.
    Refused(Refused),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It would change something.
    Method,
    /// It is not for this machine.
    Host,
    /// A page from elsewhere asks.
    OtherSite,
    /// The ticket was used before.
    UsedTicket,
    /// There is nothing, as far as somebody without the token is told.
    NotFound,
}

impl Access {
    /// With a token that nobody can guess.
    pub(super) fn new() -> anyhow::Result<Self> {
        let ticket = random()?;
        Ok(Self { token: random()?, ticket: Mutex::new(Some(ticket.clone())), first_ticket: ticket })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn ticket(&self) -> &str {
        &self.first_ticket
    }

    /// Decides what becomes of a request.
    pub(super) fn decide<'a>(&self, method: &Method, path: &'a str, headers: &HeaderMap) -> Request<'a> {
        if method != Method::GET && method != Method::HEAD {
            return Request::Refused(Refused::Method);
        }
        if !headers.get(http::header::HOST).is_some_and(is_this_machine) {
            return Request::Refused(Refused::Host);
        }
        if comes_from_another_site(headers) {
            return Request::Refused(Refused::OtherSite);
        }
        let Some((first, rest)) = path.trim_start_matches('/').split_once('/') else {
            return Request::Refused(Refused::NotFound);
        };
        if same(first, &self.token) {
            return Request::File(rest);
        }
        if first == "open" {
            let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
            if ticket.take_if(|ticket| same(rest, ticket)).is_some() {
                return Request::Enter;
            }
            if same(rest, &self.first_ticket) {
                return Request::Refused(Refused::UsedTicket);
            }
        }
        Request::Refused(Refused::NotFound)
    }
}

/// 128 bits, as text.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("this machine gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Whether `Host` names this machine: no name that somebody else gives out. Any port will do, for the page may be reached
/// through a tunnel.
fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) | None => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|it| name.eq_ignore_ascii_case(it))
}

/// Whether a browser says that another site asks, and that the user has not gone here from there.
fn comes_from_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    let other = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    let visit = is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document");
    other && !visit
}

/// What browsers are told of every answer: nothing but what this server sends, nowhere else, not within another page, and
/// kept nowhere.
pub(super) const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn here() -> HeaderMap {
        headers(&[("host", "127.0.0.1:4000")])
    }

    fn decided(access: &Access, path: &str, headers: &HeaderMap) -> String {
        format!("{:?}", access.decide(&Method::GET, path, headers))
    }

    #[test]
    fn who_knows_the_token_gets_what_is_below_it_and_nobody_else_gets_anything() {
        let access = Access::new().unwrap();
        let token = access.token().to_owned();
        assert_eq!(token.len(), 32);
        assert_ne!(token, Access::new().unwrap().token());
        let page = format!("/{token}/");
        assert_eq!(access.decide(&Method::GET, &page, &here()), Request::File(""));
        assert_eq!(decided(&access, &format!("/{token}/style.css"), &here()), r#"File("style.css")"#);
        for path in ["/", "", "/style.css", "//", "/0/", &format!("/{}/", &token[1..]), &format!("/{token}")]
        {
            assert_eq!(decided(&access, path, &here()), "Refused(NotFound)", "{path}");
        }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let access = Access::new().unwrap();
        let path = format!("/open/{}", access.ticket());
        assert_eq!(decided(&access, "/open/", &here()), "Refused(NotFound)");
        assert_eq!(access.decide(&Method::GET, &path, &here()), Request::Enter);
        assert_eq!(decided(&access, &path, &here()), "Refused(UsedTicket)");
    }

    #[test]
    fn only_reading_is_done() {
        let access = Access::new().unwrap();
        let page = format!("/{}/", access.token());
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
            assert_eq!(access.decide(&method, &page, &here()), Request::Refused(Refused::Method));
        }
        assert_eq!(access.decide(&Method::HEAD, &page, &here()), Request::File(""));
    }

    #[test]
    fn a_name_that_others_give_out_is_refused() {
        let access = Access::new().unwrap();
        let page = format!("/{}/", access.token());
        for host in ["127.0.0.1:4000", "localhost", "LOCALHOST:80", "[::1]:4000", "[::1]"] {
            assert_eq!(decided(&access, &page, &headers(&[("host", host)])), r#"File("")"#, "{host}");
        }
        for host in [
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
            "127.0.0.1:evil",
            "192.0.2.1",
            "",
        ] {
            assert_eq!(decided(&access, &page, &headers(&[("host", host)])), "Refused(Host)", "{host}");
        }
        assert_eq!(decided(&access, &page, &HeaderMap::new()), "Refused(Host)");
    }

    #[test]
    fn another_site_may_lead_here_and_not_read_here() {
        let access = Access::new().unwrap();
        let page = format!("/{}/", access.token());
        let from = |site, mode, dest| {
            headers(&[
                ("host", "localhost:1"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ])
        };
        for (site, mode, dest) in [
            ("cross-site", "cors", "empty"),
            ("cross-site", "no-cors", "image"),
            ("cross-site", "no-cors", "script"),
            ("cross-site", "navigate", "iframe"),
            ("same-site", "cors", "empty"),
        ] {
            assert_eq!(
                decided(&access, &page, &from(site, mode, dest)),
                "Refused(OtherSite)",
                "{site} {dest}"
            );
        }
        for (site, mode, dest) in [
            ("none", "navigate", "document"),
            ("cross-site", "navigate", "document"),
            ("same-origin", "cors", "empty"),
        ] {
            assert_eq!(decided(&access, &page, &from(site, mode, dest)), r#"File("")"#, "{site} {mode}");
        }
    }
}
