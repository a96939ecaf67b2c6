//! Characters that look like one of ASCII and are none: what a word processor, a web page or a keyboard of another script
//! puts where a hyphen, a digit or a blank was meant.

use std::fmt;

use crate::text::quoted;

/// A character of a text that is not of ASCII, where only those of ASCII mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookAlike {
    character: char,
    /// Counted from 1.
    position: usize,
    instead: Instead,
}

/// What was meant by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instead {
    This(char),
    Nothing,
    Unknown,
}

/// The first character of a text that is not of ASCII.
pub fn look_alike(text: &str) -> Option<LookAlike> {
    let (index, character) = text.chars().enumerate().find(|(_, character)| !character.is_ascii())?;
    Some(LookAlike { character, position: index + 1, instead: instead(character) })
}

fn instead(character: char) -> Instead {
    let code = u32::from(character);
    let digit = |zero: u32| char::from_digit((code - zero) % 10, 10).map_or(Instead::Unknown, Instead::This);
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => {
            Instead::This('-')
        }
        // All other forms of ASCII that are as wide as an ideograph.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(code - 0xfee0).map_or(Instead::Unknown, Instead::This),
        '\u{3002}' | '\u{ff61}' | '\u{2024}' | '\u{00b7}' => Instead::This('.'),
        '\u{2044}' | '\u{2215}' | '\u{29f8}' => Instead::This('/'),
        '\u{2236}' | '\u{a789}' | '\u{fe55}' => Instead::This(':'),
        '\u{3001}' | '\u{201a}' | '\u{060c}' => Instead::This(','),
        // Of Arabic, of Devanagari, and of mathematics.
        '\u{0660}'..='\u{0669}' => digit(0x0660),
        '\u{06f0}'..='\u{06f9}' => digit(0x06f0),
        '\u{0966}'..='\u{096f}' => digit(0x0966),
        '\u{1d7ce}'..='\u{1d7ff}' => digit(0x1d7ce),
        // Letters of Cyrillic and Greek that look like hexadecimal digits.
        '\u{0430}' => Instead::This('a'),
        '\u{0441}' => Instead::This('c'),
        '\u{0435}' => Instead::This('e'),
        '\u{0410}' | '\u{0391}' => Instead::This('A'),
        '\u{0412}' | '\u{0392}' => Instead::This('B'),
        '\u{0421}' => Instead::This('C'),
        '\u{0415}' | '\u{0395}' => Instead::This('E'),
        // Blanks, and what cannot be seen.
        '\u{00ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}' => Instead::Nothing,
        _ if character.is_whitespace() => Instead::Nothing,
        _ => Instead::Unknown,
    }
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { character, position, instead } = self;
        let mut buffer = [0; 4];
        let shown = quoted(character.encode_utf8(&mut buffer)).to_string();
        // What cannot be seen is shown by its number alone.
        let seen = if shown.contains('\\') { String::new() } else { format!(" ({shown})") };
        write!(f, "character {position} is U+{:04X}{seen}, which is not ASCII: ", u32::from(*character))?;
        match instead {
            Instead::This(meant) => write!(f, "type \"{meant}\" instead"),
            Instead::Nothing => f.write_str("remove it"),
            Instead::Unknown => f.write_str("type it anew"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_only_looks_right_is_named_with_what_to_type() {
        for (text, told) in [
            (
                "192.0.2.1\u{2013}192.0.2.9",
                "character 10 is U+2013 (\"\u{2013}\"), which is not ASCII: type \"-\" instead",
            ),
            ("192.0.2.1\u{2212}192.0.2.9", "U+2212 (\"\u{2212}\"), which is not ASCII: type \"-\" instead"),
            (
                "19\u{ff12}.0.2.0/24",
                "character 3 is U+FF12 (\"\u{ff12}\"), which is not ASCII: type \"2\" instead",
            ),
            ("192.0.2.0\u{ff0f}24", "type \"/\" instead"),
            ("192.0.2\u{3002}0/24", "type \".\" instead"),
            ("fd00\u{ff1a}:/64", "type \":\" instead"),
            ("\u{0663}0.0.0.0/8", "type \"3\" instead"),
            ("\u{1d7d9}0.0.0.0/8", "type \"1\" instead"),
            ("f\u{0430}00::/64", "U+0430 (\"\u{0430}\"), which is not ASCII: type \"a\" instead"),
            ("192.0.2.0/24\u{a0}", "character 13 is U+00A0, which is not ASCII: remove it"),
            ("\u{200b}192.0.2.0/24", "character 1 is U+200B, which is not ASCII: remove it"),
            ("192.0.2.0/\u{4e8c}", "type it anew"),
        ] {
            let said = look_alike(text).unwrap().to_string();
            assert!(said.contains(told), "{text:?}: {said}");
        }
        assert_eq!(look_alike("192.0.2.1 - 192.0.2.9"), None);
    }
}
