//! The keys of sealed session cookies: their file, and the thread that looks after it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand;
use rustix::fs::FlockOperation;
use zeroize::Zeroizing;

use super::generation;
use crate::certs;
use crate::config::Generation;
use crate::sealing::{KEY_RANDOM_BYTES, KeyFileProblem, Keys, SharedKeys};

/// In the state directory.
const FILE: &str = "session-cookie-keys";
/// Held while the file is read and written anew: two processes must not both make the next key.
const LOCK: &str = ".session-cookie-keys.lock";
/// How often the file is looked at: well within the time in which a new key only opens.
const LOOK: Duration = Duration::from_secs(60);
/// Far more than keys of centuries take.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why session cookies cannot be sealed.
#[derive(Debug)]
pub struct KeyFileFailure {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Read(io::Error),
    Write(io::Error),
    Content(KeyFileProblem),
    TooLarge,
    NoRandomness,
}

impl fmt::Display for KeyFileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Read(error) => write!(f, "cannot read the keys of session cookies, {path}: {error}"),
            Why::Write(error) => write!(f, "cannot write the keys of session cookies, {path}: {error}"),
            Why::Content(problem) => write!(f, "{path} does not hold keys of session cookies: {problem}"),
            Why::TooLarge => {
                write!(f, "{path} does not hold keys of session cookies: it is larger than 1MiB")
            }
            Why::NoRandomness => write!(f, "no key for session cookies: the system has no random numbers"),
        }
    }
}

impl KeyFileFailure {
    pub fn remedy(&self) -> &'static str {
        match self.why {
            Why::Read(_) | Why::Write(_) => {
                "let the user that runs Portcullis read and write `state_directory`, or name another one"
            }
            Why::Content(_) | Why::TooLarge => {
                "bring the file back from a backup; or remove it, and all sessions of sites with \
                 session_protection = \"sealed\" end"
            }
            Why::NoRandomness => "start again; see whether getrandom(2) is allowed",
        }
    }
}

/// The file of one state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyFile {
    directory: PathBuf,
}

impl KeyFile {
    pub(super) fn in_directory(state: &Path) -> KeyFile {
        KeyFile { directory: state.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Reads the file, makes the key that is due, and has `shared` hold what is in it then. True when that is
    /// something else than before.
    ///
    /// # Errors
    /// Why it cannot; `shared` is as it was.
    pub(super) fn look(&self, shared: &SharedKeys) -> Result<bool, KeyFileFailure> {
        let failed = |why| KeyFileFailure { path: self.path(), why };
        certs::make_state_directory(&self.directory).map_err(|error| failed(Why::Write(error)))?;
        // Let go of when it is dropped.
        let _lock = self.lock().map_err(|error| failed(Why::Write(error)))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut random = Zeroizing::new([0; KEY_RANDOM_BYTES]);
        rand::fill(&mut *random).map_err(|_| failed(Why::NoRandomness))?;

        let before = shared.current();
        let (keys, new) = match self.read().map_err(&failed)? {
            None => (Keys::new(now, &random), true),
            Some(text) => {
                let keys = Keys::read(&text, now).map_err(|problem| failed(Why::Content(problem)))?;
                // What was counted was sealed under the key that this process seals with.
                let same_key = keys.sealing_id() == before.sealing_id();
                let sealed = if same_key { shared.sealed() } else { 0 };
                match keys.rotated(now, sealed, &random) {
                    Some(rotated) => (rotated, true),
                    None => (keys, false),
                }
            }
        };
        if new {
            let written = certs::write_state_file(&self.path(), keys.write().as_bytes(), 0o600);
            written.map_err(|error| failed(Why::Write(error)))?;
        }
        if keys.same_as(&before) {
            return Ok(false);
        }
        let another_seals = keys.sealing_id() != before.sealing_id();
        shared.replace(keys, another_seals);
        Ok(true)
    }

    /// Whether what is there can be read; that nothing is there is well.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn verify(&self) -> Result<(), KeyFileFailure> {
        let failed = |why| KeyFileFailure { path: self.path(), why };
        let Some(text) = self.read().map_err(failed)? else { return Ok(()) };
        Keys::read(&text, 0).map(drop).map_err(|problem| failed(Why::Content(problem)))
    }

    fn lock(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let lock =
            options.create(true).truncate(false).write(true).mode(0o600).open(self.directory.join(LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Why> {
        let path = self.path();
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Why::Read(error)),
        };
        if meta.len() > FILE_BYTES_MAX {
            return Err(Why::TooLarge);
        }
        let mode = meta.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!("{path} can be read by others (mode {mode:o}): chmod 600 keeps sessions secret");
        }
        fs::read(&path).map(|text| Some(Zeroizing::new(text))).map_err(Why::Read)
    }
}

/// Looks after the file of the generation that serves; one for the process.
#[derive(Default)]
pub(super) struct KeyKeeper {
    kept: Arc<Mutex<Option<KeyFile>>>,
    runs: bool,
}

impl KeyKeeper {
    /// From here on it is this generation's file that is kept, if it needs one.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn keep(&mut self, generation: &Generation) -> io::Result<()> {
        let config = &generation.config;
        let file = generation::seals(config).then(|| KeyFile::in_directory(&config.state_directory));
        let needed = file.is_some();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = file;
        if needed && !self.runs {
            let (kept, shared) = (self.kept.clone(), generation.sealing.clone());
            // It ends with the process.
            std::thread::Builder::new().name("cookie-keys".to_owned()).spawn(move || {
                loop {
                    std::thread::sleep(LOOK);
                    let file = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some(file) = file {
                        look_again(&file, &shared);
                    }
                }
            })?;
            self.runs = true;
        }
        Ok(())
    }
}

fn look_again(file: &KeyFile, shared: &SharedKeys) {
    match file.look(shared) {
        Ok(false) => {}
        Ok(true) => tracing::info!(keys = shared.current().len(), "the keys of session cookies have changed"),
        Err(failure) => {
            tracing::error!("{failure}; those in use stay. To do: {}", failure.remedy());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn makes_a_file_for_its_owner_alone_and_reads_it_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        let file = KeyFile::in_directory(&state);
        let shared = SharedKeys::default();
        assert!(file.look(&shared).expect("it is made"));
        assert_eq!((mode(&file.path()), mode(&state)), (0o600, 0o700));
        let text = fs::read(file.path()).expect("it is there");
        assert!(!file.look(&shared).expect("it is read"), "nothing is due");
        assert_eq!(fs::read(file.path()).expect("it is there"), text);
        // Another process, or the next one.
        let other = SharedKeys::default();
        assert!(file.look(&other).expect("it is read"));
        assert!(other.current().same_as(&shared.current()));
    }

    #[test]
    fn a_worn_key_gets_a_successor_that_others_see() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeyFile::in_directory(directory.path());
        let (one, other) = (SharedKeys::default(), SharedKeys::default());
        file.look(&one).expect("it is made");
        file.look(&other).expect("it is read");
        one.add_sealed(crate::sealing::SEALED_MAX);
        assert!(file.look(&one).expect("it is rotated"));
        assert_eq!(one.current().len(), 2);
        assert!(!file.look(&one).expect("once is enough"));
        assert!(file.look(&other).expect("it is read"));
        assert!(other.current().same_as(&one.current()));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeyFile::in_directory(directory.path());
        let shared = SharedKeys::default();
        file.look(&shared).expect("it is made");
        let before = shared.current();
        fs::write(file.path(), "2 not of this version\n").expect("writable");
        assert!(file.verify().is_err());
        let failure = file.look(&shared).expect_err("no keys");
        let said = failure.to_string();
        assert!(said.contains("line 1: this key is of a later version"), "{said}");
        assert!(shared.current().same_as(&before));
        fs::remove_file(file.path()).expect("it is there");
        // Sessions end, as the page on configuration says.
        assert!(file.look(&shared).expect("it is made anew"));
        assert!(!shared.current().same_as(&before));
    }
}
