//! The configuration's files, on disk.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::Files;

/// Larger than any configuration; a device file given by mistake must not fill the memory.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024 + 1;

pub struct OnDisk;

impl Files for OnDisk {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = glob::glob_with(pattern, options).map_err(io::Error::other)?;
        let mut paths = Vec::new();
        for path in found {
            let path = path.map_err(io::Error::from)?;
            if !path.is_dir() {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}
