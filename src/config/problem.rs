//! A problem as operators see it: what happened, where, the line itself, what to do.
//!
//! ```text
//! sites.toml:41:12: "127.0.0.1:8000" is not an upstream
//!   41 | upstream = ["127.0.0.1:8000"]
//!      |             ^^^^^^^^^^^^^^^^ a scheme is missing
//!   do: write "http://127.0.0.1:8000"
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::message::What;
use crate::dispatch::Place;

/// Characters of a line that are shown; a longer one is cut around the mark.
const SHOWN_MAX: usize = 120;
/// Characters kept before the mark when a line is cut.
const BEFORE_MARK: usize = 40;

/// Everything that is wrong with a configuration, in the order of its files and their lines.
/// `Display` is the layout for the terminal, without a line end at the end.
#[derive(Clone, Debug)]
pub struct Problems {
    // Not empty; one at least is an error.
    list: Vec<Problem>,
}

/// One problem. `Display` is the layout for the terminal, without a line end at the end.
#[derive(Clone, Debug)]
pub struct Problem {
    level: Level,
    what: What,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing is served with it.
    Error,
    /// Served, but hardly meant.
    Warning,
}

/// Where a problem is.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// `text`: the whole line without its end. `marked`: characters under the mark, at least 1.
    Line {
        place: Place,
        text: String,
        marked: usize,
    },
    /// A file as a whole.
    File(Arc<Path>),
    /// A flag of the command line, `--workers`.
    Flag(Arc<Path>),
}

impl Problems {
    pub(super) fn new(list: Vec<Problem>) -> Self {
        debug_assert!(list.iter().any(|problem| problem.level == Level::Error));
        Self { list }
    }

    /// Errors and warnings, in order.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.list
    }

    /// An array with an object for each problem; see [`Problem::to_json`].
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.list.iter().map(Problem::to_json).collect()
    }
}

impl Problem {
    pub(super) fn new(level: Level, what: What, at: At) -> Self {
        Self { level, what, at }
    }

    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// A stable word for the kind of problem, such as `unknown-key`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.what.code()
    }

    /// The line it is in; `None` when it is about a whole file or a flag.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match &self.at {
            At::Line { place, .. } => Some(place),
            At::File(_) | At::Flag(_) => None,
        }
    }

    /// `level`, `code`, `message`, `label`, `advice`, and of `file`, `line`, `column`, `flag` those it has.
    /// `label` stands beside the mark on the terminal; both it and `advice` may be empty.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let words = self.what.words();
        let mut object = serde_json::json!({
            "level": match self.level { Level::Error => "error", Level::Warning => "warning" },
            "code": self.code(),
            "message": words.message,
            "label": words.label,
            "advice": words.advice,
        });
        match &self.at {
            At::Line { place, .. } => {
                object["file"] = place.file.to_string_lossy().into();
                object["line"] = place.line.into();
                object["column"] = place.column.into();
            }
            At::File(file) => object["file"] = file.to_string_lossy().into(),
            At::Flag(flag) => object["flag"] = flag.to_string_lossy().into(),
        }
        object
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.what.words();
        let level = match self.level {
            Level::Error => "",
            Level::Warning => "warning: ",
        };
        let message = visible(&words.message);
        match &self.at {
            At::Line {
                place,
                text,
                marked,
            } => {
                let file = place.file.display();
                write!(
                    f,
                    "{file}:{}:{}: {level}{message}",
                    place.line, place.column
                )?;
                excerpt(f, place, text, *marked, &visible(&words.label))?;
            }
            At::File(name) | At::Flag(name) => {
                write!(f, "{}: {level}{message}", name.display())?;
                if !words.label.is_empty() {
                    write!(f, " ({})", visible(&words.label))?;
                }
            }
        }
        if !words.advice.is_empty() {
            write!(f, "\n  do: {}", visible(&words.advice))?;
        }
        Ok(())
    }
}

/// The line and the mark below it.
fn excerpt(
    f: &mut fmt::Formatter<'_>,
    place: &Place,
    text: &str,
    marked: usize,
    label: &str,
) -> fmt::Result {
    let column = place.column.saturating_sub(1) as usize;
    let line = visible(text);
    let length = line.chars().count();
    let (start, cut_front) = if length > SHOWN_MAX && column > BEFORE_MARK {
        (column - BEFORE_MARK, true)
    } else {
        (0, false)
    };
    let shown: String = line.chars().skip(start).take(SHOWN_MAX).collect();
    let cut_back = start + SHOWN_MAX < length;
    let front = if cut_front { "…" } else { "" };
    let back = if cut_back { "…" } else { "" };

    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let indent = " ".repeat(column - start + front.chars().count());
    let room = (SHOWN_MAX + start).saturating_sub(column).max(1);
    let mark = "^".repeat(marked.clamp(1, room));
    write!(
        f,
        "\n  {number} | {front}{shown}{back}\n  {gutter} | {indent}{mark}"
    )?;
    if !label.is_empty() {
        write!(f, " {label}")?;
    }
    Ok(())
}

/// One character for each: a tab is a space so that the mark stands right, and what a terminal would obey is
/// replaced.
fn visible(text: &str) -> String {
    let show = |c: char| match c {
        '\t' => ' ',
        c if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            char::REPLACEMENT_CHARACTER
        }
        c => c,
    };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, column: u32, marked: usize) -> String {
        let place = Place {
            file: Path::new("a.toml").into(),
            line: 7,
            column,
        };
        Problem::new(
            Level::Error,
            What::NotUtf8 {},
            At::Line {
                place,
                text: text.to_owned(),
                marked,
            },
        )
        .to_string()
    }

    #[test]
    fn marks_stand_below_what_they_mark() {
        let text = shown("\tkey = \"ä\" # \u{1b}[31m", 8, 3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "  7 |  key = \"ä\" # \u{fffd}[31m");
        assert_eq!(lines[2], "    |        ^^^ from here on");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let line = format!("{}{}{}", "a".repeat(500), "BBB", "c".repeat(500));
        let text = shown(&line, 501, 3);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines[1].chars().position(|c| c == 'B');
        assert_eq!(lines[2].chars().position(|c| c == '^'), at);
        assert!(
            lines.iter().all(|line| line.chars().count() < 140),
            "{text}"
        );
        // A mark longer than what is shown, and one past the end of the line.
        assert!(
            shown(&line, 1, 2000)
                .lines()
                .all(|line| line.chars().count() < 160)
        );
        assert!(shown("", 1, 1).contains("^ "));
    }
}
