//! `--watch`: looks again and again, and shows what is different.

use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::answer::Exit;
use crate::options::Cli;
use crate::output::{Format, Style};
use crate::{Said, commands, spoken};

/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);
/// To the upper left corner, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Looks again and again, and says what is to be printed until `write` fails: then nobody reads any more. Returns the exit
/// status.
pub(crate) async fn watch(cli: &Cli, style: Style, mut write: impl FnMut(&Said) -> io::Result<()>) -> u8 {
    let mut shown = Shown::new(cli.output, style.width.is_some());
    loop {
        let answer = commands::run(cli).await;
        let said = spoken(answer.as_ref(), cli.output, style);
        let seen = answer.map_or_else(|error| Value::from(error.to_string()), |answer| answer.machine);
        if let Some(next) = shown.next(seen, said)
            && write(&next).is_err()
        {
            return next.code;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What was shown last, and how.
#[derive(Debug)]
struct Shown {
    format: Format,
    terminal: bool,
    /// What was seen, and what was said of what could not be.
    last: Option<(Value, String)>,
}

impl Shown {
    fn new(format: Format, terminal: bool) -> Self {
        Self { format, terminal, last: None }
    }

    /// What to print for what was seen. On a terminal, all of it in the place of what was there; elsewhere what is different
    /// from what was seen before, after it.
    fn next(&mut self, seen: Value, said: Said) -> Option<Said> {
        let seen = (seen, said.stderr.clone());
        let first = self.last.is_none();
        let same = self.last.as_ref() == Some(&seen);
        self.last = Some(seen);
        if self.terminal && matches!(self.format, Format::Table | Format::Wide) {
            // Errors are part of the picture, which is printed at once.
            return Some(Said {
                stdout: format!("{CLEAR}{}{}", said.stderr, said.stdout),
                stderr: String::new(),
                ..said
            });
        }
        if same {
            return None;
        }
        if said.code == Exit::CouldNotLook.code() && matches!(self.format, Format::Json | Format::Yaml) {
            // A list that could not be had is no empty list.
            return Some(Said { stdout: String::new(), ..said });
        }
        let between = match self.format {
            Format::Table | Format::Wide => "\n",
            Format::Yaml => "---\n",
            Format::Json => "",
        };
        let stdout = if first { said.stdout } else { format!("{between}{}", said.stdout) };
        Some(Said { stdout, ..said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        Said { stdout: format!("{text}\n"), stderr: String::new(), code: 0 }
    }

    /// What is printed, one after the other, of what is seen and said.
    fn printed(format: Format, terminal: bool, looks: &[(u8, &str)]) -> Vec<String> {
        let mut shown = Shown::new(format, terminal);
        let next = |(seen, text): &(u8, &str)| shown.next(Value::from(*seen), said(text));
        looks.iter().filter_map(next).map(|said| said.stdout).collect()
    }

    #[test]
    fn where_it_is_written_down_only_what_is_different_follows() {
        let looks = [(1, "a 5s"), (1, "a 7s"), (2, "b")];
        assert_eq!(printed(Format::Table, false, &looks), ["a 5s\n", "\nb\n"]);
        assert_eq!(printed(Format::Yaml, true, &looks), ["a 5s\n", "---\nb\n"]);
        assert_eq!(printed(Format::Json, false, &looks), ["a 5s\n", "b\n"]);
    }

    #[test]
    fn programs_are_not_given_an_empty_list_where_nothing_can_be_seen() {
        let mut shown = Shown::new(Format::Json, false);
        assert_eq!(shown.next(Value::from(1), said("one")).unwrap().stdout, "one\n");
        let failed = || Said {
            stdout: "[]\n".to_owned(),
            stderr: "error: away\n".to_owned(),
            code: Exit::CouldNotLook.code(),
        };
        let next = shown.next(Value::Null, failed()).unwrap();
        assert_eq!((next.stdout.as_str(), next.stderr.as_str()), ("", "error: away\n"));
        assert_eq!(shown.next(Value::Null, failed()), None, "it is told once");
        assert_eq!(shown.next(Value::from(1), said("one")).unwrap().stdout, "one\n", "it is back");
    }

    #[test]
    fn on_a_terminal_each_look_takes_the_place_of_the_last() {
        let looks = [(1, "a 5s"), (1, "a 7s")];
        let expected = ["\x1b[H\x1b[Ja 5s\n", "\x1b[H\x1b[Ja 7s\n"];
        assert_eq!(printed(Format::Wide, true, &looks), expected);
        let mut shown = Shown::new(Format::Table, true);
        let failed = Said { stdout: String::new(), stderr: "error: away\n".to_owned(), code: 2 };
        assert_eq!(shown.next(Value::Null, failed).unwrap().stdout, "\x1b[H\x1b[Jerror: away\n");
    }
}
