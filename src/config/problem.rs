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
use crate::config::words::Words;
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
    said: Said,
    at: At,
}

#[derive(Clone, Debug)]
enum Said {
    Here(What),
    Elsewhere(Remark),
}

/// What another room says about something it was configured with, for [`Problem::elsewhere`].
#[derive(Clone, Debug)]
pub struct Remark {
    /// Stable, in the manner of `certificate-expired`.
    pub code: &'static str,
    /// What happened, without its place.
    pub message: String,
    /// Stands beside the mark; may be empty.
    pub label: String,
    /// What to do; may be empty.
    pub advice: String,
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
    Line {
        place: Place,
        excerpt: Excerpt,
    },
    /// `Line` without the line at hand.
    Place(Place),
    /// A file as a whole.
    File(Arc<Path>),
    /// A flag of the command line, `--workers`.
    Flag(Arc<Path>),
}

impl Problems {
    /// Those of `list`, in this order; `None` when none of them is an error.
    #[must_use]
    pub fn new(list: Vec<Problem>) -> Option<Self> {
        list.iter().any(|problem| problem.level == Level::Error).then_some(Self { list })
    }

    /// The one problem of a file that cannot be read, for a reason nobody told.
    pub(super) fn of_file(path: &Path) -> Self {
        let what = What::FileUnreadable { path: path.to_owned(), cause: std::io::ErrorKind::Other };
        Self { list: vec![Problem::new(Level::Error, what, At::File(path.into()))] }
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
        Self { level, said: Said::Here(what), at }
    }

    /// A problem that another room found, such as a certificate that does not cover a host, in the same
    /// layout. `line`: what stands in the line of `place`, when the file is at hand.
    #[must_use]
    pub fn elsewhere(level: Level, remark: Remark, place: &Place, line: Option<&str>) -> Self {
        let at = match line {
            _ if place.line == 0 => At::Flag(place.file.clone()),
            None => At::Place(place.clone()),
            Some(line) => At::Line { place: place.clone(), excerpt: Excerpt::new(line, place.column, 1) },
        };
        Self { level, said: Said::Elsewhere(remark), at }
    }

    fn words(&self) -> Words {
        match &self.said {
            Said::Here(what) => what.words(),
            Said::Elsewhere(Remark { message, label, advice, .. }) => {
                Words { message: message.clone(), label: label.clone(), advice: advice.clone() }
            }
        }
    }

    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// A stable word for the kind of problem, such as `unknown-key`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.said {
            Said::Here(what) => what.code(),
            Said::Elsewhere(remark) => remark.code,
        }
    }

    /// The line it is in; `None` when it is about a whole file or a flag.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match &self.at {
            At::Line { place, .. } | At::Place(place) => Some(place),
            At::File(_) | At::Flag(_) => None,
        }
    }

    /// `level`, `code`, `message`, `label`, `advice`, and of `file`, `line`, `column`, `flag` those it has.
    /// `label` stands beside the mark on the terminal; both it and `advice` may be empty.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let words = self.words();
        let mut object = serde_json::json!({
            "level": match self.level { Level::Error => "error", Level::Warning => "warning" },
            "code": self.code(),
            "message": words.message,
            "label": words.label,
            "advice": words.advice,
        });
        match &self.at {
            At::Line { place, .. } | At::Place(place) => {
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
        let words = self.words();
        let level = match self.level {
            Level::Error => "",
            Level::Warning => "warning: ",
        };
        let message = visible(&words.message);
        match &self.at {
            At::Line { place, excerpt } => {
                let file = place.file.display();
                write!(f, "{file}:{}:{}: {level}{message}", place.line, place.column)?;
                write_excerpt(f, place.line, excerpt, &visible(&words.label))?;
            }
            At::Place(place) => {
                write!(f, "{}:{}:{}: {level}{message}", place.file.display(), place.line, place.column)?;
                if !words.label.is_empty() {
                    write!(f, " ({})", visible(&words.label))?;
                }
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

/// A line of a file, cut to what is shown: a problem keeps no more of it.
#[derive(Clone, Debug)]
pub(super) struct Excerpt {
    shown: String,
    /// Characters of `shown` before the mark.
    indent: usize,
    /// Characters under the mark, at least 1.
    marked: usize,
}

impl Excerpt {
    /// `line`: without its end. `column`: from 1, in characters, as `marked` is.
    pub(super) fn new(line: &str, column: u32, marked: usize) -> Self {
        let column = column.saturating_sub(1) as usize;
        let length = line.chars().count();
        let start = if length > SHOWN_MAX { column.saturating_sub(BEFORE_MARK) } else { 0 };
        let inside: String = line.chars().skip(start).take(SHOWN_MAX).collect();
        let front = if start > 0 { "…" } else { "" };
        let back = if start + SHOWN_MAX < length { "…" } else { "" };
        let before = (column - start).min(SHOWN_MAX);
        Self {
            shown: format!("{front}{}{back}", visible(&inside)),
            indent: before + front.chars().count(),
            marked: marked.clamp(1, (SHOWN_MAX - before).max(1)),
        }
    }
}

fn write_excerpt(f: &mut fmt::Formatter<'_>, line: u32, excerpt: &Excerpt, label: &str) -> fmt::Result {
    let Excerpt { shown, indent, marked } = excerpt;
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let (indent, mark) = (" ".repeat(*indent), "^".repeat(*marked));
    write!(f, "\n  {number} | {shown}\n  {gutter} | {indent}{mark}")?;
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
        let place = Place { file: Path::new("a.toml").into(), line: 7, column };
        Problem::new(
            Level::Error,
            What::NotUtf8 {},
            At::Line { excerpt: Excerpt::new(text, column, marked), place },
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
    fn other_rooms_say_it_in_the_same_layout() {
        let place = Place { file: Path::new("a.toml").into(), line: 2, column: 5 };
        let remark = Remark {
            code: "certificate-expired",
            message: "the certificate ended yesterday".to_owned(),
            label: "this one".to_owned(),
            advice: "renew it".to_owned(),
        };
        let with = Problem::elsewhere(Level::Error, remark.clone(), &place, Some("two = 2"));
        assert_eq!(
            with.to_string(),
            "a.toml:2:5: the certificate ended yesterday\n  2 | two = 2\n    |     ^ this one\n  do: renew it"
        );
        let without = Problem::elsewhere(Level::Warning, remark.clone(), &place, None);
        assert_eq!(
            without.to_string(),
            "a.toml:2:5: warning: the certificate ended yesterday (this one)\n  do: renew it"
        );
        let flag = Place { file: Path::new("--https").into(), line: 0, column: 0 };
        let of_flag = Problem::elsewhere(Level::Error, remark, &flag, None);
        assert!(of_flag.to_string().starts_with("--https: the certificate"));
        assert_eq!(of_flag.code(), "certificate-expired");
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let line = format!("{}{}{}", "a".repeat(500), "BBB", "c".repeat(500));
        let text = shown(&line, 501, 3);
        let lines: Vec<&str> = text.lines().collect();
        let at = lines[1].chars().position(|c| c == 'B');
        assert_eq!(lines[2].chars().position(|c| c == '^'), at);
        assert!(lines.iter().all(|line| line.chars().count() < 140), "{text}");
        // A mark longer than what is shown, and one past the end of the line.
        assert!(shown(&line, 1, 2000).lines().all(|line| line.chars().count() < 160));
        assert!(shown("", 1, 1).contains("^ "));
    }
}
