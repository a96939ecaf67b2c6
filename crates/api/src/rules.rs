//! Rules in CEL that several resources share.

use kube::core::{Message, Rule};

/// A rule with what to say where it does not hold; both are CEL.
pub(crate) fn rule(condition: impl Into<String>, message: impl Into<String>) -> Rule {
    Rule::new(condition).message(Message::Expression(message.into()))
}

/// The most entries that are compared with each other. Beyond, the API server would give up for the cost,
/// which it takes for a refusal: the controller's warnings tell it then.
const COMPARED: u32 = 16;

/// A rule for a list of strings, in which no value may come twice.
pub(crate) fn no_duplicates(what: &str) -> Rule {
    no_duplicates_where(what, TWICE)
}

/// A rule for a list of communities and names of communities, in which no community may come twice. Upstream
/// takes names that do.
pub(crate) fn no_duplicate_communities() -> Rule {
    no_duplicates_where("community", &format!("x.contains(':') && {TWICE}"))
}

/// CEL: whether `x` comes twice in a list of strings.
const TWICE: &str = "!self.exists_one(y, x == y)";

/// Of no `x` may `twice` hold. To split what has been joined gives the first part of the list, of a length
/// that the API server can tell beforehand, which lets the list itself be long.
fn no_duplicates_where(what: &str, twice: &str) -> Rule {
    let few = format!("self.join('\\n').split('\\n', {COMPARED})");
    rule(
        format!("self.size() < 2 || self.size() > {COMPARED} || !{few}.exists(x, {twice})"),
        format!("'{what} ' + {few}.filter(x, {twice})[0] + ' is listed more than once: keep one'"),
    )
}

/// A rule for a field that stays as it was first written.
pub(crate) fn immutable() -> Rule {
    Rule::new("self == oldSelf")
        .message("the field is immutable: delete the object and create it anew with the other value")
}

/// A rule for an IP address. CEL's `isIP` knows no IPv4-mapped address, which upstream takes.
pub(crate) fn is_ip(example: &str) -> Rule {
    rule(
        "self == '' || isIP(self) || self.matches('(?i)^[0:]*:ffff:[0-9a-f.:]+$')",
        format!("self + ' is not an IP address: write one like {example}'"),
    )
}

/// A rule for a duration in Go's notation.
pub(crate) fn is_duration() -> Rule {
    rule(
        matches_duration("self"),
        "self + ' is not a duration: write a number with its unit, like 90s or 500ms'",
    )
}

/// CEL: whether `text` is a duration, and if so, whether `condition` holds, which may then call `duration`.
/// Text that is none is left to [`is_duration`], so that one mistake gives one sentence.
pub(crate) fn if_duration(text: &str, condition: &str) -> String {
    format!("!{} || ({condition})", matches_duration(text))
}

fn matches_duration(text: &str) -> String {
    format!("{text}.matches('^[+-]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$')")
}

/// CEL: whether `text` is a community, standard (RFC 1997) or large (RFC 8092). The bound on the digits
/// keeps `int` from overflowing, that on the parts keeps the cost in bounds.
pub(crate) fn is_community(text: &str) -> String {
    let within = |most: u32| format!("{text}.split(':', 4).all(n, n == 'large' || int(n) <= {most})");
    let standard =
        format!("{text}.matches('^0*[0-9]{{1,18}}:0*[0-9]{{1,18}}$') && {}", within(u16::MAX.into()));
    let large = format!("{text}.matches('^large(:0*[0-9]{{1,18}}){{3}}$') && {}", within(u32::MAX));
    format!("({standard}) || ({large})")
}

/// A rule for a list of communities and names of communities. Without a colon it is a name, whose meaning
/// stands in another object.
pub(crate) fn are_communities() -> Rule {
    let wrong = format!("x.contains(':') && !({})", is_community("x"));
    rule(
        format!("!self.exists(x, {wrong})"),
        format!(
            "self.filter(x, {wrong})[0] + ' is not a community: write two numbers up to 65535 like 64512:100, three up to 4294967295 like large:64512:1:2, or a name'"
        ),
    )
}
