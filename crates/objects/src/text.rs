//! Texts that fit into the fields that they are written to, and that are what they seem. The API server refuses an object
//! for good when one of its texts is too long, so whatever is composed of names or problems goes through here first.
//!
//! What users have written can hold anything: a line feed that begins a line which looks like one of ours, escape
//! sequences that a terminal obeys, letters that turn the direction of writing, a quarter of a megabyte. Where a text
//! shows it, it is [`quoted`]; where a text goes out, it is [`printable`], whatever it is composed of.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The most that the message of a condition takes, in characters; a text of so many bytes has no more of them.
pub const CONDITION_MESSAGE: usize = 32_768;
/// The most that the message of an event takes.
pub const EVENT_MESSAGE: usize = 1024;
/// The most that the reason of an event takes.
pub const EVENT_REASON: usize = 128;
/// The most that the value of a label takes.
const LABEL_VALUE: usize = 63;
/// The most that the name of an object takes.
const OBJECT_NAME: usize = 253;

/// The most that is shown of something that somebody wrote, in characters: more than any name of an object or key of a label.
const QUOTED: usize = 320;

/// Something that somebody wrote, between quotes; see [`quoted`].
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(&'a str);

/// Shows `text` between quotes, with escapes for what cannot be printed, and no more than the beginning of a long one.
pub fn quoted<T: AsRef<str> + ?Sized>(text: &T) -> Quoted<'_> {
    Quoted(text.as_ref())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}

/// As much of something that somebody wrote as [`quoted`] shows, and that there is more, where there is. What is cut is
/// longer than any name of an object, so none is made up by that.
pub fn bounded(text: &str) -> &str {
    text.char_indices().nth(QUOTED + 1).map_or(text, |(end, _)| &text[..end])
}

/// A name that somebody wrote; see [`named`].
#[derive(Debug, Clone, Copy)]
pub struct Named<'a>(&'a str);

/// Shows a name as it is where an object, a label or an annotation can have it; whatever else somebody wrote for one is
/// [`quoted`].
pub fn named<T: AsRef<str> + ?Sized>(text: &T) -> Named<'_> {
    Named(text.as_ref())
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) { f.write_str(self.0) } else { write!(f, "{}", quoted(self.0)) }
    }
}

/// Whether it can stand in a text as it is: it has the length of a name, and only letters, digits and signs of ASCII that
/// mean nothing to whoever reads the text.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@/[]%+*".contains(&byte);
    (1..=253).contains(&name.len()) && name.bytes().all(plain)
}

/// Whether all of it can be printed as it is, in one line.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') || text.chars().all(prints)
}

/// Whether a character can be printed: what Rust shows of a text as it is, but for quotes, which mean nothing here.
fn prints(character: char) -> bool {
    matches!(character, '"' | '\'' | '\\') || character.escape_debug().eq([character])
}

/// The text as one line that a terminal can be given: escapes stand for whatever cannot be printed.
pub fn printable(text: &str) -> Cow<'_, str> {
    if is_printable(text) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if prints(character) { line.push(character) } else { line.extend(character.escape_debug()) }
    }
    Cow::Owned(line)
}

/// A text of at most `most` bytes: the whole of `text`, or its beginning, cut between two characters, with `...`
/// after it.
pub fn shorten(text: &str, most: usize) -> String {
    const CUT: &str = "...";
    if text.len() <= most {
        return text.to_owned();
    }
    if most <= CUT.len() {
        return beginning(text, most).to_owned();
    }
    format!("{}{CUT}", beginning(text, most - CUT.len()))
}

/// These in one line, with commas between them.
pub fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut line = String::new();
    for item in items {
        let separator = if line.is_empty() { "" } else { ", " };
        line.push_str(separator);
        line.push_str(&item.to_string());
    }
    line
}

/// The lines, one below the other, in at most `most` bytes. Where not all of them fit, the last line says how many
/// there are besides; a first line that does not fit by itself is cut.
pub fn summary<S: AsRef<str>>(lines: &[S], most: usize) -> String {
    let lines: Vec<Cow<'_, str>> = lines.iter().map(|line| printable(line.as_ref())).collect();
    as_many_as_fit(&lines, most)
}

fn as_many_as_fit<S: AsRef<str>>(lines: &[S], most: usize) -> String {
    if let [line] = lines {
        return shorten(line.as_ref(), most);
    }
    let whole: usize = lines.iter().map(|line| line.as_ref().len() + 1).sum();
    if whole <= most + 1 {
        return lines.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\n");
    }
    let room = most.saturating_sub(rest(lines.len()).len());
    let mut text = String::new();
    let mut told = 0;
    for line in lines.iter().map(AsRef::as_ref) {
        let length = line.len() + usize::from(told > 0);
        if text.len() + length > room {
            break;
        }
        if told > 0 {
            text.push('\n');
        }
        text.push_str(line);
        told += 1;
    }
    if told == 0 {
        told = lines.len().min(1);
        text = lines.first().map_or_else(String::new, |line| shorten(line.as_ref(), room));
    }
    if told < lines.len() {
        text.push_str(&rest(lines.len() - told));
    }
    shorten(&text, most)
}

/// How the rest is told.
fn rest(count: usize) -> String {
    format!("\n... and {count} more")
}

/// A label value for a name: the name itself if a label takes it, else its beginning and a hash of all of it. Equal
/// names have equal values, so the value can be selected by.
pub fn label_value(name: &str) -> String {
    fit(name, LABEL_VALUE, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The name of an object that consists of a name and of what tells several objects of that name apart: `name` with
/// `suffix` after it. A name that is too long loses its end, for which a hash stands.
pub fn object_name(name: &str, suffix: &str) -> String {
    let takes = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let most = OBJECT_NAME.saturating_sub(suffix.len());
    if name.len() > most { format!("{}{suffix}", fit(name, most, takes)) } else { format!("{name}{suffix}") }
}

/// The text itself if it is short enough and has only bytes that are taken, with letters or digits at its ends; else
/// what remains of it and a hash of the whole.
fn fit(text: &str, most: usize, takes: impl Fn(u8) -> bool) -> String {
    let ends = |text: &str| {
        let bytes = text.as_bytes();
        let sound = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
        sound(bytes.first()) && sound(bytes.last())
    };
    if text.len() <= most && text.bytes().all(&takes) && ends(text) {
        return text.to_owned();
    }
    let mut hash = String::new();
    write!(hash, "{:08x}", fnv1a(text) & 0xffff_ffff).expect("a string takes all");
    let room = most.saturating_sub(hash.len() + 1);
    let kept: String = text.bytes().filter(|byte| takes(*byte)).take(room).map(char::from).collect();
    let kept = kept.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if kept.is_empty() { hash } else { format!("{kept}-{hash}") }
}

/// The hash FNV-1a: the same on every machine and in every version, and nobody has a reason to seek collisions.
fn fnv1a(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// As much of the beginning as fits, in whole characters.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_line_with_commas() {
        assert_eq!([&[][..], &[1], &[1, 2]].map(listed), ["", "1", "1, 2"]);
    }

    #[test]
    fn what_somebody_wrote_is_shown_between_quotes_in_one_line_and_not_at_length() {
        assert_eq!(quoted("lan-1.example.org").to_string(), "\"lan-1.example.org\"");
        assert_eq!(
            quoted("a\"b\\c\n\u{1b}[31mred\u{202e}\u{7}").to_string(),
            r#""a\"b\\c\n\u{1b}[31mred\u{202e}\u{7}""#
        );
        assert_eq!(quoted("Grüße, 世界").to_string(), "\"Grüße, 世界\"");
        let long = quoted(&"ä".repeat(300_000)).to_string();
        assert!(long.starts_with("\"ää") && long.ends_with("ä\"...") && long.chars().count() == QUOTED + 5);
    }

    #[test]
    fn a_text_that_goes_out_is_one_line_whatever_is_in_it() {
        for plain in ["", "pool \"lan\" has none of it's 5 % {left} \\ at all", "Grüße, 世界"] {
            assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain), "{plain}");
        }
        assert_eq!(
            printable("a\r\nINFO all is well\u{1b}]0;x\u{7}\u{9b}\t"),
            r"a\r\nINFO all is well\u{1b}]0;x\u{7}\u{9b}\t"
        );
        assert_eq!(printable("\u{202e}evil\u{200b}\u{2028}"), r"\u{202e}evil\u{200b}\u{2028}");
        assert_eq!(summary(&["one\nINFO", "two"], 100), "one\\nINFO\ntwo");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shorten("short", 5), "short");
        let cut = shorten(&"ä".repeat(600), EVENT_MESSAGE);
        assert!(cut.len() <= EVENT_MESSAGE && cut.ends_with("ä..."), "{} bytes", cut.len());
        assert_eq!(shorten("äää", 3), "ä");
        assert_eq!(shorten("äää", 0), "");
    }

    #[test]
    fn a_summary_says_how_many_lines_are_missing() {
        let lines: Vec<String> = (0..300).map(|i| format!("{i:03} {}", "x".repeat(496))).collect();
        for most in [600, 2000, 32_768] {
            let text = summary(&lines, most);
            assert!(text.len() <= most, "{} of {most}", text.len());
            let (told, rest) = text.rsplit_once('\n').unwrap();
            let told = told.lines().count();
            assert_eq!(told, (most - 18) / 501);
            assert_eq!(rest, format!("... and {} more", 300 - told));
        }
        assert_eq!(summary(&lines[..2], 1001), format!("{}\n{}", lines[0], lines[1]), "all of them fit");
        assert_eq!(summary::<&str>(&[], 10), "");
    }

    #[test]
    fn a_line_that_is_too_long_by_itself_is_cut() {
        assert_eq!(summary(&["abcdefghij"], 8), "abcde...");
        let two = summary(&["ä".repeat(100), "b".to_owned()], 40);
        assert!(two.len() <= 40 && two.starts_with('ä') && two.ends_with("...\n... and 1 more"), "{two}");
    }

    #[test]
    fn every_name_makes_a_label_value_and_different_names_different_ones() {
        let long = format!("node-{}.example.org", "x".repeat(230));
        let other = format!("node-{}.example.com", "x".repeat(230));
        assert_eq!(label_value("node-1.example.org"), "node-1.example.org");
        assert_eq!(label_value(""), "");
        for name in [&*long, &*other, "-n", "n.", "a b", "ü", &"-".repeat(70)] {
            let value = label_value(name);
            assert!(!value.is_empty() && value.len() <= 63, "{name}: {value}");
            assert!(
                value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
                "{name}: {value}"
            );
            let ends = [value.bytes().next(), value.bytes().last()];
            assert!(ends.iter().flatten().all(u8::is_ascii_alphanumeric), "{name}: {value}");
        }
        assert_ne!(label_value(&long), label_value(&other));
        assert_eq!(label_value(&long), label_value(&long));
    }

    #[test]
    fn a_name_with_a_suffix_is_no_longer_than_names_may_be() {
        assert_eq!(object_name("web", ".1f"), "web.1f");
        let name = object_name(&"a".repeat(253), ".1f");
        assert!(name.len() == 253 && name.starts_with("aaa") && name[name.len() - 3..] == *".1f", "{name}");
        let dotted = object_name(&format!("{}.{}", "a".repeat(233), "b".repeat(19)), ".0123456789");
        assert!(dotted.len() <= 253 && !dotted.contains("..") && !dotted.contains(".-"), "{dotted}");
    }
}
