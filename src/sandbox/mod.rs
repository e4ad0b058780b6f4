//! Room: what the process and its threads give up for good once they have what they need.
//!
//! ```text
//!                        root   capabilities   files                    programs, listeners, other processes
//! workers                no     none           none                     no
//! admin, its requests    no     ports          reads /proc              no
//! access-log, watchdog   no     ports          yes                      no
//! the others             no     ports          yes                      yes
//! ```
//!
//! A worker reads what strangers send and has its sockets, its ring and its memory. It never opens a file, starts a
//! program, binds an address or changes who it is: those are forbidden to its thread, by landlock (the kernel's own
//! view of paths, which holds for operations of the ring as well) and by seccomp (system calls). The admin listener reads
//! what scrapers and browsers send, and the state of the process. The access log opens files whose names a reload may
//! change. Those that are left read the configuration and certificates at reloads, whatever paths it names by then, look up
//! names, and start programs: sources of certificates, what sets records, the next process at an upgrade. For all of them
//! `no_new_privs` holds, so that no program they start has more rights than they have, and when root has started the
//! process, `account` has it become somebody else.
//!
//! Threads share their memory: who runs code of his own in a worker can have another thread work for him. These
//! rules stop what reuses the worker's own calls, and make every other way longer.
//!
//! Set aside: a list of the calls that are allowed. The C library and the allocator make others with every version,
//! and a worker that is refused one ends connections; what is never meant is known and short. And landlock for the whole
//! process: its rules cannot be widened again, so that the next reload could name no new certificate, and they would hold
//! for programs that it starts, of which nobody here knows what they read.

mod account;
mod calls;

use std::io;

use landlock::{
    ABI, Access, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};

pub use account::{Account, NoAccount, is_root, keep_rights_from_programs, pass_ports_on};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub landlock: bool,
    pub seccomp: bool,
}

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serves visitors.
    Worker,
    /// Tells of the process, and starts a thread for each who asks.
    Admin,
    /// Writes lines: to files, to sockets, to the service manager.
    Lines,
}

/// What a thread could not give up.
#[derive(Debug)]
pub enum Left {
    Capabilities(io::Error),
    /// The kernel has no landlock, or it is not switched on.
    Landlock,
    LandlockFailed(landlock::RulesetError),
    Seccomp(seccompiler::Error),
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Left::Capabilities(error) => write!(f, "capabilities: {error}"),
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
pub fn confine(task: Task, rules: Rules) -> Vec<Left> {
    let mut left = Vec::new();
    if task == Task::Worker
        && let Err(error) = account::drop_capabilities()
    {
        left.push(Left::Capabilities(error));
    }
    let paths = match task {
        Task::Worker => Some(NO_PATHS),
        Task::Admin => Some(STATE_OF_PROCESSES),
        Task::Lines => None,
    };
    if rules.landlock
        && let Some(paths) = paths
    {
        match only_read(paths) {
            Ok(true) => {}
            Ok(false) => left.push(Left::Landlock),
            Err(error) => left.push(Left::LandlockFailed(error)),
        }
    }
    // Last: the filter may well forbid what the others need.
    let (files, threads) = (task != Task::Worker, task == Task::Admin);
    if rules.seccomp
        && let Err(error) =
            calls::filter(files, threads).and_then(|filter| seccompiler::apply_filter(&filter))
    {
        left.push(Left::Seccomp(error));
    }
    left
}

const NO_PATHS: &[&str] = &[];
const STATE_OF_PROCESSES: &[&str] = &["/proc"];

/// No path is left but those below these, to read. False: the kernel enforces nothing.
fn only_read(paths: &[&str]) -> Result<bool, landlock::RulesetError> {
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.create()?;
    for path in paths {
        // What is not there cannot be read.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
    }
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
            let left = confine(Task::Worker, Rules { landlock: false, seccomp: true });
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
            let left = confine(Task::Worker, Rules { landlock: true, seccomp: false });
            (left.is_empty(), std::fs::read("/etc/passwd"), std::fs::read_dir("/"))
        });
        if !enforced {
            return println!("skipped: this kernel has no landlock");
        }
        assert_eq!(read.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        assert_eq!(listed.err().map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        assert!(std::fs::read("/etc/passwd").is_ok());
    }

    #[test]
    fn the_admin_listener_reads_the_state_of_processes_and_starts_threads() {
        let rules = Rules { landlock: true, seccomp: true };
        let (left, read, others) = in_a_thread(move || {
            let left = confine(Task::Admin, rules);
            // As for each request.
            let read = in_a_thread(|| std::fs::read_to_string("/proc/self/stat"));
            (left, read, in_a_thread(attempts))
        });
        let has_landlock = left.is_empty();
        let _ = std::fs::remove_file(std::env::temp_dir().join("portcullis-not-this"));
        assert!(read.is_ok_and(|stat| !stat.is_empty()));
        for (what, result) in others {
            // Nothing but landlock keeps it from files.
            if has_landlock || ["start a program", "bind an address"].contains(&what) {
                let kind = result.as_ref().err().map(io::Error::kind);
                let gone = what == "remove a file" && kind == Some(ErrorKind::NotFound);
                assert!(gone || kind == Some(ErrorKind::PermissionDenied), "{what}: {result:?}");
            }
        }
    }

    #[test]
    fn the_writer_of_lines_opens_files_and_starts_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("access.log");
        let tried = in_a_thread(move || {
            confine(Task::Lines, Rules { landlock: true, seccomp: true });
            std::fs::write(file, "line").expect("files are what it is for");
            attempts()
        });
        // Landlock is not for this one.
        let _ = std::fs::remove_file(std::env::temp_dir().join("portcullis-not-this"));
        for (what, result) in tried {
            if ["start a program", "bind an address"].contains(&what) {
                assert_eq!(
                    result.err().map(|error| error.kind()),
                    Some(ErrorKind::PermissionDenied),
                    "{what}"
                );
            }
        }
    }
}
