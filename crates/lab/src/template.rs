//! Configuration files and argument lists as templates: `{name}` stands for a value.

/// The template with every `{name}` of `values` replaced.
///
/// # Panics
/// In debug builds, when a value is not used: the template and its caller have drifted apart.
pub(crate) fn render(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        let hole = format!("{{{name}}}");
        debug_assert!(text.contains(&hole), "the template has no {hole}");
        text.replace(&hole, value)
    })
}

/// A template with one argument per line, rendered.
pub(crate) fn arguments(template: &str, values: &[(&str, &str)]) -> Vec<String> {
    render(template, values).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_and_other_braces_stay() {
        assert_eq!(render("{a: {x}, b: {y}{x}}", &[("x", "1"), ("y", "2")]), "{a: 1, b: 21}");
    }

    #[test]
    fn each_line_is_one_argument() {
        assert_eq!(arguments("--a={x}\n--b c\n", &[("x", "1")]), ["--a=1", "--b c"]);
    }
}
