//! Room: what the process, and above all its workers, give up for good once they have what they need.
//!
//! A worker reads what strangers send and has its sockets, its ring and its memory. It never opens a file, starts a
//! program, binds an address or changes who it is: those are forbidden to its thread, by landlock (the kernel's own
//! view of paths, which holds for operations of the ring as well) and by seccomp (system calls). The other threads
//! read files at reloads and start the next process at upgrades, and keep the right to; for all of them
//! `no_new_privs` holds, so that no program they start has more rights than they have.
//!
//! Threads share their memory: who runs code of his own in a worker can have another thread work for him. These
//! rules stop what reuses the worker's own calls, and make every other way longer.
//!
//! Set aside: a list of the calls that are allowed. The C library and the allocator make others with every version,
//! and a worker that is refused one ends connections; what is never meant is known and short.

mod calls;

use std::io;

use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetStatus};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub landlock: bool,
    pub seccomp: bool,
}

/// What a thread could not give up.
#[derive(Debug)]
pub enum Left {
    /// The kernel has no landlock, or it is not switched on.
    Landlock,
    LandlockFailed(landlock::RulesetError),
    Seccomp(seccompiler::Error),
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Left::Landlock => {
                f.write_str("landlock is not there (Linux 5.13, `lsm=` of the kernel's command line)")
            }
            Left::LandlockFailed(error) => write!(f, "landlock: {error}"),
            Left::Seccomp(error) => write!(f, "seccomp: {error}"),
        }
    }
}

/// No program that is started from here on has more rights than this process. To be called before there are threads.
///
/// # Errors
/// That of the system call; Linux has had it since 3.5.
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Confines the calling thread, and what it starts, for good. What is left over was asked for and could not be had.
pub fn confine_worker(rules: Rules) -> Vec<Left> {
    let mut left = Vec::new();
    if rules.landlock {
        match no_files() {
            Ok(true) => {}
            Ok(false) => left.push(Left::Landlock),
            Err(error) => left.push(Left::LandlockFailed(error)),
        }
    }
    // Last: the filter may well forbid what the other needs.
    if rules.seccomp
        && let Err(error) = calls::filter().and_then(|filter| seccompiler::apply_filter(&filter))
    {
        left.push(Left::Seccomp(error));
    }
    left
}

/// No path is left. False: the kernel enforces nothing.
fn no_files() -> Result<bool, landlock::RulesetError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.create()?;
    Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// What a worker must not do any more, by name.
    fn attempts() -> Vec<(&'static str, io::Result<()>)> {
        vec![
            ("read a file", std::fs::read("/etc/hostname").map(drop)),
            ("list a directory", std::fs::read_dir("/").map(drop)),
            ("write a file", std::fs::write(std::env::temp_dir().join("portcullis-not-this"), "")),
            ("start a program", std::process::Command::new("/bin/true").status().map(drop)),
            ("bind an address", TcpListener::bind("127.0.0.1:0").map(drop)),
            ("remove a file", std::fs::remove_file("/tmp/portcullis-not-there")),
        ]
    }

    fn in_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().expect("no panic")
    }

    #[test]
    fn a_confined_thread_opens_and_starts_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("not confined");
        let address = listener.local_addr().expect("bound");
        let (left, tried, connected) = in_a_thread(move || {
            let left = confine_worker(Rules { landlock: false, seccomp: true });
            (left.len(), attempts(), TcpStream::connect(address).is_ok())
        });
        assert_eq!(left, 0);
        assert!(connected, "connections to site servers are made");
        for (what, result) in tried {
            let kind = result.as_ref().err().map(io::Error::kind);
            assert_eq!(kind, Some(ErrorKind::PermissionDenied), "{what}: {result:?}");
        }
        // The others go on as before.
        assert!(std::fs::read_dir("/").is_ok());
    }

    #[test]
    fn landlock_leaves_no_path() {
        let (enforced, read, listed) = in_a_thread(|| {
            let left = confine_worker(Rules { landlock: true, seccomp: false });
            (left.is_empty(), std::fs::read("/etc/passwd"), std::fs::read_dir("/"))
        });
        if !enforced {
            return println!("skipped: this kernel has no landlock");
        }
        assert_eq!(read.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        assert_eq!(listed.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        assert!(std::fs::read("/etc/passwd").is_ok());
    }
}
