//! Files of the state directory: written whole or not at all, and for their owner only.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::CertificateProblem;

/// Makes `directory` and what is missing above it, mode 0700.
pub(super) fn make_directory(directory: &Path) -> Result<(), CertificateProblem> {
    make_state_directory(directory).map_err(CertificateProblem::io(directory))
}

/// As [`write_state_file`].
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateProblem> {
    write_state_file(path, bytes, mode).map_err(CertificateProblem::io(path))
}

/// Makes `directory` and what is missing above it, mode 0700.
///
/// # Errors
/// Those of the system.
pub fn make_state_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Puts `bytes` at `path` with `mode`: into a new file beside it, to the disk, then renamed, so
/// that after a crash the old or the new content is there, never half of it.
///
/// # Errors
/// Those of the system; what was there is there still.
pub fn write_state_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = beside(path);
    let written = write_new(&beside, bytes, mode)
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_directory(path));
    written.inspect_err(|_| {
        // Whatever is left of it is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = match options.open(path) {
        // Left by a process that died with our number.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)?
        }
        other => other?,
    };
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}
