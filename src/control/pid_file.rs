//! The file that holds the number of the process that serves, for those who have no service manager.
//!
//! Written when the process serves: at an upgrade the new one puts its number in place of the old one's. Taken away at the
//! end by the process whose number it holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StartFailure;
use crate::certs;
use crate::config::PidFilePath;

/// The file, with the number of this process in it.
pub(super) struct PidFile {
    path: PathBuf,
}

/// Has `kept` be what is `wanted` now.
///
/// # Errors
/// The file cannot be written; there is none then.
pub(super) fn keep(wanted: Option<&PidFilePath>, kept: &mut Option<PidFile>) -> Result<(), StartFailure> {
    if kept.as_ref().map(|kept| &kept.path) == wanted.map(|wanted| &wanted.path) {
        return Ok(());
    }
    *kept = None;
    let Some(PidFilePath { path, place }) = wanted else { return Ok(()) };
    let failed = |error| StartFailure::PidFile { place: place.clone(), path: path.clone(), error };
    *kept = Some(PidFile::write(path).map_err(failed)?);
    Ok(())
}

impl PidFile {
    fn write(path: &Path) -> io::Result<PidFile> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let number = format!("{}\n", std::process::id());
        certs::write_state_file(path, number.as_bytes(), 0o644)?;
        Ok(PidFile { path: path.to_owned() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        if fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == own) {
            // What cannot be removed holds a number that nobody has.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_another_process_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("portcullis.pid");
        let file = PidFile::write(&path).expect("writable");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).expect("writable");
        fs::write(&path, "1\n").expect("writable");
        drop(file);
        assert!(path.exists());
    }
}
