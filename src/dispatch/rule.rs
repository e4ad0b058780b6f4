//! What a dispatch rule says, before it is compiled.

use std::path::Path;
use std::sync::Arc;

/// Where something was written: for messages, `explain` and `check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// The scheme a rule asks for; a rule without `ssl` has none (`Option<Ssl>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ssl {
    /// `ssl = true`
    Https,
    /// `ssl = false`
    Http,
    /// `ssl = "any"` or `"keep"`
    Any,
}

/// One element of a rule's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// Exactly these bytes, compared after decoding.
    Literal(Vec<u8>),
    /// One segment, an empty one too.
    Variable(String),
    /// One segment in which the regular expression is found, unanchored.
    Pattern { name: String, pattern: String },
    /// One of the site's `languages` (`z_language`).
    Language,
    /// `*`: at the end the rest of the path, elsewhere one segment.
    Rest,
}

/// A rule as written; rules match in order and the first wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub path: Vec<Element>,
    pub ssl: Option<Ssl>,
    pub place: Place,
}
