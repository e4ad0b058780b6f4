//! A problem as operators see it: what, where, and what to do.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::message::What;
use crate::dispatch::Place;

/// Everything that is wrong with a configuration, in the order of the files and their lines.
/// `Display` is the layout for the terminal.
#[derive(Clone, Debug)]
pub struct Problems {
    // Never empty, and at least one is an error.
    pub(super) list: Vec<Problem>,
}

/// One problem.
#[derive(Clone, Debug)]
pub struct Problem {
    pub level: Level,
    pub(super) what: What,
    pub(super) at: At,
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
        text: String,
        width: usize,
    },
    File(Arc<Path>),
    /// A flag of the command line, `--workers`.
    Flag(Arc<Path>),
}

impl Problems {
    /// Errors and warnings, in order.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Problems {}
