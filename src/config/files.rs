//! The files the reader asks for: the shell opens them, tests and `demo` hold them in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where the reader gets its files.
pub trait Files {
    /// The whole file. The reader refuses more than 16 MiB; a disk reader may stop one octet later.
    ///
    /// # Errors
    /// As the system says; the kind is shown.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files, without directories, that a pattern in the notation of the `glob` crate names, sorted.
    /// `*` stops at `/` and does not match a dot at the front of a name. The pattern starts with the directory
    /// of the path given to [`crate::config::read`], its own `*`, `?` and `[` escaped, unless it is absolute.
    ///
    /// # Errors
    /// As the system says; the kind is shown.
    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// Files by their path.
#[derive(Clone, Debug, Default)]
pub struct FilesInMemory {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl FilesInMemory {
    /// Adds a file, or replaces the one of that path.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), bytes.into());
        self
    }
}

impl Files for FilesInMemory {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let pattern =
            glob::Pattern::new(pattern).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        Ok(self.files.keys().filter(|path| pattern.matches_path_with(path, options)).cloned().collect())
    }
}
