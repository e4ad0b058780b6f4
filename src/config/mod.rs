//! Room: config. One TOML file and what it includes become a `Config`, or all their problems at once.

#[expect(
    clippy::module_inception,
    reason = "the room and its main type share the name"
)]
mod config;
mod message;
mod problem;

use std::io;
use std::path::{Path, PathBuf};

pub use config::*;
pub use problem::{Level, Problem, Problems};

/// The files the reader asks for. The shell opens them; tests and `demo` hold them in memory.
pub trait Files {
    /// The whole file, at most `bytes_max` octets of it are looked at.
    ///
    /// # Errors
    /// As the system says.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files (no directories) a pattern in the notation of the `glob` crate names, sorted.
    /// The pattern is absolute or relative as the path given to `read` was.
    ///
    /// # Errors
    /// As the system says.
    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// What the command line says instead of the file, as typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub workers: Option<String>,
    pub session_cache_size: Option<String>,
    pub session_lifetime: Option<String>,
    pub session_mode: Option<String>,
    /// When not empty, instead of `[listen] http`.
    pub http: Vec<String>,
    /// When not empty, instead of `[listen] https`.
    pub https: Vec<String>,
    pub log: Option<String>,
}

/// Reads the configuration at `root`, what it includes and the dispatch files it names.
///
/// # Errors
/// All problems found, warnings among them.
pub fn read(root: &Path, files: &mut dyn Files, overrides: &Overrides) -> Result<Config, Problems> {
    let _ = (root, files, overrides);
    todo!()
}
