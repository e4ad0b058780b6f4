//! Files that are watched: which directories a change can come from, and what tells that one came.
//!
//! A file is not watched itself: editors and renewers put another one in its place by a rename, or turn a
//! symbolic link somewhere on its way. So every directory on the way is watched in which a name of the path, or
//! of what a link in it points to, is looked up; and after any event the files are looked at again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Links on one way, as the kernel has it (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 1000;
/// Certificate and key change one after the other: so long nothing may happen before they are read.
const QUIET: Duration = Duration::from_millis(250);
/// Somebody who writes all the time does not put it off for ever.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// What files look like from outside; another one when any of them was replaced or changed. A digest of it: each site
/// keeps one. That two differ and are taken for the same is one chance in 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look(Option<u64>);

impl Look {
    /// Of files, and of directories with all that is in them.
    pub(super) fn at<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Look {
        let mut all = DefaultHasher::new();
        for path in paths {
            let metadata = fs::metadata(path).ok();
            let is_directory = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
            metadata.as_ref().map(seen).hash(&mut all);
            if is_directory && let Ok(entries) = fs::read_dir(path) {
                let mut inside: Vec<_> = entries
                    .take(ENTRIES_MAX)
                    .filter_map(Result::ok)
                    .filter_map(|entry| {
                        // Through links: what is in the file counts.
                        let metadata = fs::metadata(entry.path()).ok()?;
                        Some((entry.file_name(), seen(&metadata)))
                    })
                    .collect();
                inside.sort();
                inside.hash(&mut all);
            }
        }
        Look(Some(all.finish()))
    }
}

/// Which file it is, its size, and when it and its owner or mode were changed: what could not be read may be readable now.
fn seen(metadata: &fs::Metadata) -> [i64; 7] {
    [
        metadata.dev() as i64,
        metadata.ino() as i64,
        metadata.size() as i64,
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ]
}

/// The directories in which names are looked up on the way to `path`, and `path` itself when it is one.
pub(super) fn directories(path: &Path, into: &mut BTreeSet<PathBuf>) {
    let mut rest: Vec<OsString> = parts(path).rev().collect();
    let mut at = if path.is_absolute() { PathBuf::from("/") } else { PathBuf::from(".") };
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let kind = fs::symlink_metadata(&next).map(|metadata| metadata.file_type());
        match kind {
            Ok(kind) if kind.is_symlink() && links < LINKS_MAX => {
                links += 1;
                into.insert(at.clone());
                let Ok(target) = fs::read_link(&next) else { return };
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                rest.extend(parts(&target).rev());
            }
            Ok(kind) if kind.is_dir() => {
                if rest.is_empty() {
                    into.insert(next.clone());
                }
                at = next;
            }
            // The file, or what is not there yet: it will come here.
            Ok(_) | Err(_) => {
                into.insert(at.clone());
                return;
            }
        }
    }
    // The entries of a directory may be links themselves.
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.take(ENTRIES_MAX).filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                && let Ok(target) = fs::canonicalize(entry.path())
                && let Some(parent) = target.parent()
            {
                into.insert(parent.to_owned());
            }
        }
    }
}

fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// Directories under watch.
pub(super) struct Watch {
    inotify: OwnedFd,
    directories: BTreeSet<PathBuf>,
    // Some could not be watched: only looking helps.
    incomplete: bool,
}

impl Watch {
    /// # Errors
    /// The system has no more watches to give at all (`fs.inotify.max_user_instances`).
    pub(super) fn new() -> std::io::Result<Watch> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Watch { inotify, directories: BTreeSet::new(), incomplete: false })
    }

    /// Watches these from here on. What happened before is not told: look at the files afterwards.
    pub(super) fn set(&mut self, directories: BTreeSet<PathBuf>) -> std::io::Result<()> {
        if directories == self.directories && !self.incomplete {
            return Ok(());
        }
        let mut watch = Watch::new()?;
        let flags = WatchFlags::ATTRIB
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        for directory in &directories {
            let added = inotify::add_watch(&watch.inotify, directory, flags);
            watch.incomplete |= added.is_err();
        }
        watch.directories = directories;
        *self = watch;
        Ok(())
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Waits for a change, for a byte on `wake`, or for `timeout`. After a change it waits until nothing
    /// more happens for a moment.
    pub(super) fn wait(&self, wake: &impl AsFd, timeout: Duration) -> Woken {
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        match poll_for(&mut fds, timeout) {
            Ok(0) => return Woken::Nothing,
            Ok(_) => {}
            Err(_) => return Woken::Nothing,
        }
        if !fds[1].revents().is_empty() {
            return Woken::Asked;
        }
        let since = Instant::now();
        loop {
            self.drain();
            let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
            match poll_for(&mut fds, QUIET) {
                Ok(1..) if since.elapsed() < QUIET_MAX => {}
                _ => break,
            }
        }
        Woken::Changed
    }

    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        while reader.next().is_ok() {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Changed,
    Asked,
    Nothing,
}

fn poll_for(fds: &mut [PollFd<'_>], timeout: Duration) -> Result<usize, Errno> {
    let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
    poll(fds, Some(&timeout))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn watched(path: &Path) -> Vec<PathBuf> {
        let mut all = BTreeSet::new();
        directories(path, &mut all);
        all.into_iter().collect()
    }

    #[test]
    fn every_directory_a_change_can_come_from_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = |name: &str| root.join(name);
        for name in ["live", "archive", "versions/1"] {
            fs::create_dir_all(dir(name)).unwrap();
        }
        fs::write(dir("archive/cert1.pem"), "1").unwrap();
        symlink("../archive/cert1.pem", dir("live/cert.pem")).unwrap();
        symlink("versions/1", dir("current")).unwrap();
        fs::write(dir("versions/1/cert.pem"), "1").unwrap();
        assert_eq!(watched(&dir("archive/cert1.pem")), [dir("archive")]);
        assert_eq!(watched(&dir("live/cert.pem")), [dir("archive"), dir("live")]);
        assert_eq!(watched(&dir("current/cert.pem")), [root.clone(), dir("versions/1")]);
        assert_eq!(watched(&dir("absent/cert.pem")), std::slice::from_ref(&root));
        assert_eq!(watched(&dir("live")), [dir("archive"), dir("live")]);
        symlink("loop", dir("loop")).unwrap();
        assert_eq!(watched(&dir("loop/cert.pem")), std::slice::from_ref(&root));
    }

    #[test]
    fn a_change_wakes_and_looks_different() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("cert.pem");
        fs::write(&path, "1").unwrap();
        let (wake, other) = UnixStream::pair().unwrap();
        let mut watch = Watch::new().unwrap();
        let mut all = BTreeSet::new();
        directories(&path, &mut all);
        watch.set(all).unwrap();
        assert!(!watch.is_incomplete());
        assert_eq!(watch.wait(&wake, Duration::ZERO), Woken::Nothing);
        let before = Look::at([&*path]);
        let beside = root.path().join("new");
        fs::write(&beside, "2").unwrap();
        fs::rename(&beside, &path).unwrap();
        assert_eq!(watch.wait(&wake, Duration::from_secs(10)), Woken::Changed);
        assert_ne!(Look::at([&*path]), before);
        assert_ne!(Look::at([root.path()]), Look::at([&*path]));
        std::io::Write::write_all(&mut &other, &[1]).unwrap();
        assert_eq!(watch.wait(&wake, Duration::from_secs(10)), Woken::Asked);
    }
}
