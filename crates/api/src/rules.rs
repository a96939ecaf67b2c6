//! Rules in CEL that several resources share.

use kube::core::{Message, Rule};

/// A rule for a list of strings, in which no value may come twice.
pub(crate) fn no_duplicates(what: &str) -> Rule {
    Rule::new("self.all(x, self.exists_one(y, x == y))").message(Message::Expression(format!(
        "'{what} ' + self.filter(x, !self.exists_one(y, x == y))[0] + ' is listed more than once: keep one'"
    )))
}
