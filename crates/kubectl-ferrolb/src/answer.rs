//! What a command answers: a page for people, the same for programs, and the exit status.

use serde::Serialize;
use serde_json::{Value, json};

use crate::output::Page;

/// The exit status, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All is well, as far as was asked.
    Fine,
    /// There is a problem.
    Problem,
    /// Something could not be looked at.
    CouldNotLook,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Problem => 1,
            Self::CouldNotLook => 2,
        }
    }
}

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For people.
    pub(crate) page: Page,
    /// For programs.
    pub(crate) machine: Value,
    pub(crate) exit: Exit,
    /// What could not be looked at: told on standard error, whatever the format, unless the page has it.
    pub(crate) failures: Vec<String>,
    /// What makes the answer another than it seems: told on standard error, whatever the format.
    pub(crate) warnings: Vec<String>,
    /// Whether the page tells what could not be looked at.
    pub(crate) page_has_failures: bool,
}

impl Answer {
    /// A list of rows of some kind.
    pub(crate) fn list(kind: &str, items: &[impl Serialize], page: Page) -> Self {
        let machine = json!({"apiVersion": introspection::API_VERSION, "kind": kind, "items": items});
        Self::plain(page, machine)
    }

    /// A page, and the same for programs.
    pub(crate) fn plain(page: Page, machine: Value) -> Self {
        Self { page, machine, exit: Exit::Fine, failures: vec![], warnings: vec![], page_has_failures: false }
    }

    /// One object of some kind.
    pub(crate) fn object(kind: &str, object: &impl Serialize, page: Page) -> Self {
        let mut machine = json!({"apiVersion": introspection::API_VERSION, "kind": kind});
        if let (Value::Object(machine), Ok(Value::Object(fields))) =
            (&mut machine, serde_json::to_value(object))
        {
            machine.extend(fields);
        }
        Self::plain(page, machine)
    }

    /// Adds a line for people.
    pub(crate) fn with_note(mut self, note: &str) -> Self {
        self.page.line(crate::output::cell(note, crate::output::Tone::Dim));
        self
    }

    /// There is a problem, if `so`.
    pub(crate) fn problem_if(mut self, so: bool) -> Self {
        if so {
            self.exit = self.exit.max(Exit::Problem);
        }
        self
    }

    /// The page tells what could not be looked at, which is not to be told twice.
    pub(crate) fn with_failures_on_page(mut self) -> Self {
        self.page_has_failures = true;
        self
    }

    /// FerroLB does not run, if it does not: that is a problem, whatever else is told.
    pub(crate) fn absent(mut self, absent: Option<(String, String)>) -> Self {
        self.warnings.extend(absent.map(|(what, remedy)| format!("{what} ({remedy})")));
        let so = !self.warnings.is_empty();
        self.problem_if(so)
    }

    /// This could not be looked at.
    pub(crate) fn not_seen(mut self, failures: impl IntoIterator<Item = String>) -> Self {
        let before = self.failures.len();
        self.failures.extend(failures);
        if self.failures.len() > before {
            self.exit = Exit::CouldNotLook;
        }
        self
    }
}
