//! Giving up root: `user` looked up, what the process keeps handed to it, then the process itself.
//!
//! Sockets are bound and keys are read before. What lies in the state directory was written by root then, and by this user
//! at the next reload: it must be its own. Only what root owns there changes hands, and nothing that has another name
//! elsewhere: whoever was this user before could have put it there.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::path::Arg;
use rustix::process::{Resource, Rlimit};

use crate::access_log::Destination;
use crate::config::{Config, RunAs, Source};
use crate::dispatch::Place;
use crate::http::Scheme;
use crate::sandbox::{self, Account, NoAccount};

/// The state directory has four levels.
const DEPTH_MAX: usize = 16;

/// Why the process cannot be who it should be.
#[derive(Debug)]
pub enum RunAsFailure {
    NoUser(Place, String),
    NoGroup(Place, String),
    Unknown(Place, io::Error),
    /// Only root becomes somebody else.
    NotRoot(Place, String),
    /// Not this user's, and open to more than root.
    Shared(PathBuf),
    HandOver(PathBuf, io::Error),
    Become(Place, String, io::Error),
}

impl RunAsFailure {
    /// Where in the configuration the reason is, if it is there.
    pub fn place(&self) -> Option<&Place> {
        match self {
            RunAsFailure::NoUser(place, _)
            | RunAsFailure::NoGroup(place, _)
            | RunAsFailure::Unknown(place, _)
            | RunAsFailure::NotRoot(place, _)
            | RunAsFailure::Become(place, ..) => Some(place),
            RunAsFailure::Shared(_) | RunAsFailure::HandOver(..) => None,
        }
    }

    pub fn remedy(&self) -> String {
        match self {
            RunAsFailure::NoUser(_, user) => {
                format!("make it (`adduser --system --group {user}`), or name another one")
            }
            RunAsFailure::NoGroup(_, group) => format!("make it (`addgroup --system {group}`), or name another one"),
            RunAsFailure::Unknown(..) => "see whether `getent passwd` answers".to_owned(),
            RunAsFailure::NotRoot(_, user) => {
                format!("start as root, or as {user}; or take the key out, and it runs as whoever starts it")
            }
            RunAsFailure::Shared(path) => {
                let path = path.display();
                format!("let `state_directory` be one of its own: chown it to this user, or chmod 700 {path}")
            }
            RunAsFailure::HandOver(..) => "let root change owners there, or name another directory".to_owned(),
            RunAsFailure::Become(..) => {
                "leave CAP_SETUID, CAP_SETGID and CAP_SETPCAP to root, or start as this user and take the key out".to_owned()
            }
        }
    }
}

impl fmt::Display for RunAsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunAsFailure::NoUser(_, user) => write!(f, "there is no user \"{user}\" on this system"),
            RunAsFailure::NoGroup(_, group) => write!(f, "there is no group \"{group}\" on this system"),
            RunAsFailure::Unknown(_, error) => write!(f, "users and groups cannot be looked up: {error}"),
            RunAsFailure::NotRoot(_, user) => write!(f, "only root can become the user \"{user}\""),
            RunAsFailure::Shared(path) => {
                write!(f, "{} belongs to root and is open to others", path.display())
            }
            RunAsFailure::HandOver(path, error) => {
                write!(f, "{} cannot be given to the user that serves: {error}", path.display())
            }
            RunAsFailure::Become(_, user, error) => write!(f, "cannot become the user \"{user}\": {error}"),
        }
    }
}

/// The account that is asked for; `None`: none is.
///
/// # Errors
/// When the system does not have it.
pub(super) fn find(wanted: Option<&RunAs>) -> Result<Option<Account>, RunAsFailure> {
    let Some(wanted) = wanted else { return Ok(None) };
    let RunAs { user, user_place, group } = wanted;
    let found = Account::find(user, group.as_ref().map(|(name, _)| name.as_str()));
    found.map(Some).map_err(|none| match (none, group) {
        (NoAccount::Group, Some((name, place))) => RunAsFailure::NoGroup(place.clone(), name.clone()),
        (NoAccount::Unknown(error), _) => RunAsFailure::Unknown(user_place.clone(), error),
        _ => RunAsFailure::NoUser(user_place.clone(), user.clone()),
    })
}

/// Who the process, which has just been started, has to become.
pub(super) struct Leaving {
    account: Account,
    wanted: RunAs,
}

/// `None`: it stays who it is.
///
/// # Errors
/// When it cannot become what is asked for.
pub(super) fn leaving(config: &Config) -> Result<Option<Leaving>, RunAsFailure> {
    let Some(wanted) = &config.run_as else { return Ok(None) };
    let account = find(Some(wanted))?.expect("one is asked for");
    if account.is_ours() {
        return Ok(None);
    }
    if !sandbox::is_root() {
        return Err(RunAsFailure::NotRoot(wanted.user_place.clone(), wanted.user.clone()));
    }
    // Before Linux 5.12 the rings of the workers are locked memory, of which a user has little.
    let unlimited = Rlimit { current: None, maximum: None };
    // Where this is not to be had the ladder of rings goes down, and says so.
    let _ = rustix::process::setrlimit(Resource::Memlock, unlimited);
    Ok(Some(Leaving { account, wanted: wanted.clone() }))
}

impl Leaving {
    /// Hands over what was made so far, and gives up root. Says what cannot be read again at a reload.
    ///
    /// # Errors
    /// When the process is not who it should be: it must end.
    pub(super) fn leave(
        &self,
        config: &Config,
        listeners: &[(Scheme, SocketAddr)],
    ) -> Result<(), RunAsFailure> {
        let handed = |path: &Path, error| RunAsFailure::HandOver(path.to_owned(), error);
        self.state_directory(&config.state_directory)?;
        if let Some(Destination::File(path)) = config.access_log.as_ref().map(|log| &log.to) {
            self.give(path).map_err(|error| handed(path, error))?;
        }
        // Such as below /run, which is empty after each start of the machine.
        let socket = config.admin.socket.as_ref().filter(|socket| socket.place.is_some());
        let socket = socket.map(|socket| &socket.path);
        let pid_file = config.pid_file.as_ref().map(|file| &file.path);
        for directory in [socket, pid_file].into_iter().flatten().filter_map(|path| path.parent()) {
            if !directory.as_os_str().is_empty() && !directory.exists() {
                let made = fs::create_dir_all(directory).and_then(|()| self.give(directory));
                made.map_err(|error| handed(directory, error))?;
            }
        }
        let ports = listeners.iter().any(|(_, address)| address.port() < 1024);
        let RunAs { user, user_place, .. } = &self.wanted;
        let failed = |error| RunAsFailure::Become(user_place.clone(), user.clone(), error);
        self.account.become_it(ports).map_err(failed)?;
        tracing::info!("root is given up: the process runs as {}", self.account);
        for path in unreadable(config) {
            let path = path.display();
            tracing::warn!(
                "{path} was read by root, and cannot be read by the user {user}: what changes there is not taken up by a reload, \
                 and an upgrade fails. To do: chgrp and chmod it for the group of {user}"
            );
        }
        Ok(())
    }

    fn state_directory(&self, path: &Path) -> Result<(), RunAsFailure> {
        let handed = |error| RunAsFailure::HandOver(path.to_owned(), error);
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                crate::certs::make_state_directory(path).map_err(handed)?;
                fs::metadata(path).map_err(handed)?
            }
            Err(error) => return Err(handed(error)),
        };
        // Such as /etc, named by mistake.
        if found.uid() != self.account.user() && (found.uid() != 0 || found.mode() & 0o077 != 0) {
            return Err(RunAsFailure::Shared(path.to_owned()));
        }
        let directory = open(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(handed)?;
        self.give_all(directory, 0).map_err(handed)
    }

    /// A file or directory of root's is this user's from here on.
    fn give(&self, path: &Path) -> io::Result<()> {
        let found = open(CWD, path, OFlags::PATH)?;
        self.give_open(&found).map(drop)
    }

    /// The same with all that is in a directory. Everything is opened by its name in the directory that is open
    /// already, so that no link leads elsewhere.
    fn give_all(&self, directory: impl AsFd, depth: usize) -> io::Result<()> {
        self.give_open(&directory)?;
        if depth == DEPTH_MAX {
            return Err(io::Error::other("its directories are too deep"));
        }
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let found = match open(&directory, name, OFlags::PATH) {
                // A socket or a file under a passing name.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if self.give_open(&found)? == FileType::Directory {
                self.give_all(open(&directory, name, OFlags::RDONLY | OFlags::DIRECTORY)?, depth + 1)?;
            }
        }
        Ok(())
    }

    fn give_open(&self, found: impl AsFd) -> io::Result<FileType> {
        let about = rustix::fs::fstat(&found)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        let alone = kind == FileType::Directory || kind == FileType::RegularFile && about.st_nlink == 1;
        if about.st_uid == 0 && alone {
            let (user, group) = (Uid::from_raw(self.account.user()), Gid::from_raw(self.account.group()));
            rustix::fs::chownat(&found, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        }
        Ok(kind)
    }
}

fn open(directory: impl AsFd, name: impl Arg, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// For a reload.
pub(super) fn warn_of_change(before: &Config, after: &Config) {
    let same = match (&before.run_as, &after.run_as) {
        (Some(before), Some(after)) => before.is_same(after),
        (before, after) => before.is_none() && after.is_none(),
    };
    if !same {
        tracing::warn!("`user` and `group` change at the next start only: the process stays who it is");
    }
}

/// Files of the configuration that this process cannot read.
fn unreadable(config: &Config) -> Vec<PathBuf> {
    let mut named: Vec<PathBuf> = config.files.clone();
    named.extend(config.session_cache.fleet_secret_file.clone());
    named.extend(config.admin.token_file.as_ref().map(|token| token.path.clone()));
    for site in &config.sites {
        named.extend(site.client_auth.as_ref().map(|auth| auth.ca.clone()));
        for written in &site.certificate {
            match &written.source {
                Source::Files { certificate, key, ocsp } => {
                    named.extend([certificate.clone(), key.clone()]);
                    named.extend(ocsp.clone());
                }
                Source::Directory { directory } => {
                    named.push(directory.clone());
                    let inside = fs::read_dir(directory).into_iter().flatten();
                    named.extend(inside.filter_map(|entry| Some(entry.ok()?.path())));
                }
                Source::Acme(acme) => named.extend(acme.eab.as_ref().map(|eab| eab.key_file.clone())),
                Source::SelfSigned { .. } | Source::Command { .. } | Source::Http { .. } => {}
            }
        }
    }
    let is_denied =
        |path: &PathBuf| File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    named.retain(is_denied);
    named.sort();
    named.dedup();
    named
}
