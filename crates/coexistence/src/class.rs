//! The class of Services that a program of MetalLB serves, read off the command line that its Pod starts it with.

use std::collections::BTreeMap;

use crate::pod::Container;

/// MetalLB's option, without its dashes: Go's programs take one as well as two.
const OPTION: &str = "lb-class";

/// What a program of MetalLB serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// Services that name no class.
    Unnamed,
    /// Services of this class.
    Named(String),
    /// Services of some class that the Pod takes from elsewhere, such as a ConfigMap.
    SomeOther,
}

impl Class {
    /// The class that a container is told to serve. Of several, the last one counts, as it does for the program.
    pub(crate) fn of(container: &Container) -> Self {
        let environment: BTreeMap<&str, Option<&str>> =
            container.env.iter().map(|variable| (&*variable.name, variable.value.as_deref())).collect();
        let mut words = container
            .command
            .iter()
            .chain(&container.args)
            .flat_map(|argument| words(argument))
            .collect::<Vec<_>>()
            .into_iter();
        let mut class = Self::Unnamed;
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
            let value = match option.split_once('=') {
                Some((OPTION, value)) => Some(value.to_owned()),
                None if option == OPTION => words.next(),
                Some(_) | None => continue,
            };
            class = Self::from_value(&value.unwrap_or_default(), &environment);
        }
        class
    }

    fn from_value(value: &str, environment: &BTreeMap<&str, Option<&str>>) -> Self {
        match expand(value, environment) {
            None => Self::SomeOther,
            Some(name) if name.is_empty() => Self::Unnamed,
            Some(name) => Self::Named(name),
        }
    }

    /// Whether it can be that of Services which name `ours`, or none.
    pub(crate) fn can_be(&self, ours: Option<&str>) -> bool {
        match self {
            Self::Unnamed => ours.is_none(),
            Self::Named(name) => ours == Some(name),
            Self::SomeOther => ours.is_some(),
        }
    }
}

/// The words of an argument: itself, unless it is a command line for a shell.
fn words(argument: &str) -> Vec<String> {
    if argument.contains(char::is_whitespace) { shell_words(argument) } else { vec![unquoted(argument)] }
}

/// Splits as a shell does, with quotes taken off.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, _) if character.is_whitespace() || character == ';' => words.extend(word.take()),
            (Some(_) | None, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Without quotes around the value of an option, which somebody wrote as for a shell.
fn unquoted(argument: &str) -> String {
    let (option, value) = match argument.split_once('=') {
        Some((option, value)) => (Some(option), value),
        None => (None, argument),
    };
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = inner('"').or_else(|| inner('\'')).unwrap_or(value);
    option.map_or_else(|| value.to_owned(), |option| format!("{option}={value}"))
}

/// Puts variables of the environment in, `$(NAME)` as Kubernetes does and `$NAME` or `${NAME}` as shells do. `None` when
/// a value is not in the Pod. What names no variable stays as it is.
fn expand(value: &str, environment: &BTreeMap<&str, Option<&str>>) -> Option<String> {
    let Some(reference) = value.strip_prefix('$') else { return Some(value.to_owned()) };
    let inner = |open, close| reference.strip_prefix(open)?.strip_suffix(close);
    let name = inner('(', ')').or_else(|| inner('{', '}')).unwrap_or(reference);
    match environment.get(name) {
        Some(Some(text)) => Some((*text).to_owned()),
        // Kubernetes leaves a variable without a value empty, but this one may have one from elsewhere.
        Some(None) => None,
        None => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(container: Value) -> Class {
        Class::of(&serde_json::from_value(container).unwrap())
    }

    fn named(name: &str) -> Class {
        Class::Named(name.to_owned())
    }

    #[test]
    fn an_option_may_be_written_in_each_way_that_the_program_takes() {
        for args in [
            json!(["--port=7472", "--lb-class=x"]),
            json!(["--port=7472", "-lb-class=x"]),
            json!(["--lb-class", "x", "--port=7472"]),
            json!(["-lb-class", "x"]),
            json!(["--lb-class=\"x\""]),
            json!(["--lb-class", "'x'"]),
            json!(["--lb-class=y", "--lb-class=x"]),
        ] {
            assert_eq!(class(json!({"args": args})), named("x"), "{args}");
            assert_eq!(class(json!({"command": args})), named("x"), "{args}");
        }
        assert_eq!(class(json!({"command": ["/speaker", "--lb-class"], "args": ["x"]})), named("x"));
    }

    #[test]
    fn without_the_option_or_with_an_empty_one_it_is_services_of_no_class() {
        for args in [
            json!([]),
            json!(["--lb-class="]),
            json!(["--lb-class", ""]),
            json!(["--lb-class=\"\""]),
            json!(["--lb-class"]),
            json!(["--no-lb-class=x", "lb-class=x", "lb-class", "x"]),
            json!(["--lb-class=x", "--lb-class="]),
        ] {
            assert_eq!(class(json!({"args": args})), Class::Unnamed, "{args}");
        }
        assert_eq!(class(json!({"args": null, "command": null, "env": null})), Class::Unnamed);
    }

    #[test]
    fn a_command_line_for_a_shell_is_split_as_the_shell_does() {
        for line in [
            "/speaker --port=7472 --lb-class=x",
            "exec /speaker --lb-class 'x' --port=7472",
            "sleep 1; /speaker --lb-class=\"x\"; true",
            "/speaker\n  --lb-class x\n",
            "/speaker --lb-class=\\x",
        ] {
            assert_eq!(class(json!({"command": ["/bin/sh", "-c"], "args": [line]})), named("x"), "{line}");
        }
    }

    #[test]
    fn variables_are_those_of_the_container() {
        let env = json!([{"name": "CLASS", "value": "x"}, {"name": "ELSEWHERE", "valueFrom": {}}]);
        for (value, expected) in [
            ("$(CLASS)", named("x")),
            ("${CLASS}", named("x")),
            ("$CLASS", named("x")),
            ("$(ELSEWHERE)", Class::SomeOther),
            ("$(NOBODY)", named("$(NOBODY)")),
        ] {
            let container = json!({"args": [format!("--lb-class={value}")], "env": env});
            assert_eq!(class(container), expected, "{value}");
        }
    }

    #[test]
    fn a_class_that_cannot_be_read_is_not_that_of_services_without_one() {
        assert!(Class::Unnamed.can_be(None) && !Class::Unnamed.can_be(Some("x")));
        assert!(named("x").can_be(Some("x")) && !named("x").can_be(Some("y")) && !named("x").can_be(None));
        assert!(Class::SomeOther.can_be(Some("x")) && !Class::SomeOther.can_be(None));
    }
}
