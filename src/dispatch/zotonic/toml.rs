//! Rules as lines of the configuration.

use std::path::Path;

use super::super::rule::{Rule, Ssl};
use super::super::written_path::{self, Written};

/// Writes `dispatch = [ … ]` for a `[[site]]`, one rule a line, a comment where the next file begins.
///
/// A rule that the configuration has no words for (see [`written_path::write`]) becomes a comment that
/// says so and why. One with an empty name becomes `unnamed`.
pub fn to_toml(rules: &[Rule]) -> String {
    let mut text = String::from("dispatch = [\n");
    let mut file: Option<&Path> = None;
    for rule in rules {
        if file != Some(&rule.place.file) {
            file = Some(&rule.place.file);
            text.push_str("  # ");
            // A name can hold a line feed, a comment cannot.
            text.extend(
                rule.place.file.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }),
            );
            text.push('\n');
        }
        add_rule(&mut text, rule);
    }
    text.push_str("]\n");
    text
}

fn add_rule(text: &mut String, rule: &Rule) {
    let Some(path) = written_path::write(&rule.path) else {
        let wrong = rule.path.iter().find(|element| written_path::write_segment(element).is_none());
        text.push_str(&format!(
            "  # line {}: rule {:?} is left out, its paths fall to the rules below: ",
            rule.place.line, rule.name
        ));
        text.push_str(&match wrong {
            Some(element) => format!("no words here for {element:?}; rename it\n"),
            None => "its path is too long; end it with '*'\n".to_owned(),
        });
        return;
    };
    text.push_str("  { name = ");
    // The atom '' is a name in Erlang; here names are for people.
    add_string(text, if rule.name.is_empty() { "unnamed" } else { &rule.name });
    text.push_str(", path = ");
    match path {
        Written::Path(path) => add_string(text, &path),
        Written::Segments(segments) => {
            text.push('[');
            for (index, segment) in segments.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                add_string(text, segment);
            }
            text.push(']');
        }
    }
    text.push_str(match rule.ssl {
        None => "",
        Some(Ssl::Https) => ", ssl = true",
        Some(Ssl::Http) => ", ssl = false",
        Some(Ssl::Any) => ", ssl = \"any\"",
    });
    text.push_str(" },\n");
}

/// A string of TOML: as it stands between single quotes where that spares escapes.
fn add_string(text: &mut String, string: &str) {
    let plain = !string.chars().any(|c| c.is_control());
    if plain && string.contains(['\\', '"']) && !string.contains('\'') {
        text.push_str(&format!("'{string}'"));
        return;
    }
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}
