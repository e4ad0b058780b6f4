//! An upgrade: the program is started anew beside the one that serves, and takes over its listening sockets.
//!
//! The sockets are the same ones, not others on the same address: a queue of connections that the kernel has
//! completed lives as long as one of the two holds its socket, so none is refused or reset. The new process builds and
//! proves everything first; until all its workers run, the old one serves as if nothing was. Whatever goes wrong
//! ends the new process alone. `wire` has the words they say.
//!
//! The new process accepts when the old one has taken back its last accept, some milliseconds after it stopped, and
//! finds what came meanwhile. Never do both accept from one queue: the kernel wakes one of those that wait for a
//! connection, and an accept that is being taken back swallows that. The connection then waits for the next one.
//!
//! Set aside: sockets in `LISTEN_FDS` between the two. They must be inherited by number, which means descriptors
//! without close-on-exec in a process that starts other programs, too; over a socket that is the standard input of
//! the new process nothing is inherited but that.

mod predecessor;
mod wire;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::net;
use crate::sandbox;
use crate::tls::{self, Sessions};

pub use predecessor::Predecessor;
pub use wire::Inherited;
use wire::{Frame, Kind};

/// Says to the new process that its standard input is the old one.
const VARIABLE: &str = "PORTCULLIS_UPGRADE";
/// From its start until it can serve: certificates may have to be asked for. Then it is ended.
const VERIFIED_WITHIN: Duration = Duration::from_secs(300);
/// From there on nothing waits for the network.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The program to start: the file this process was started from, whatever it holds by now.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// To be called at the start: once the file is replaced, the system says that it was deleted.
    ///
    /// # Errors
    /// When the system does not say where the program is.
    pub fn running() -> io::Result<Program> {
        Ok(Program { path: std::env::current_exe()? })
    }

    pub(super) fn at(path: PathBuf) -> Program {
        Program { path }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// A process that accepts in place of this one, as soon as it is told that this one has stopped.
pub(super) struct Successor {
    pub(super) process: u32,
    /// Of the program.
    pub(super) version: String,
    stream: UnixStream,
}

impl Successor {
    /// This process accepts no more.
    pub(super) fn gone(self) {
        // It goes on when it hears nothing, too.
        let _ = wire::send(&self.stream, Kind::Gone, b"");
    }
}

/// Why there is no new process.
#[derive(Debug)]
pub enum UpgradeFailure {
    /// The program could not be started.
    Start(PathBuf, io::Error),
    /// What the new process said.
    Refused(String),
    /// It ended without a word to us; its own lines are where ours are.
    Ended(Option<i32>),
    Late,
    Wire(io::Error),
    /// Nothing can be upgraded here.
    Unavailable,
    /// The process is about to end.
    Draining,
    /// Another was asked for before.
    UnderWay,
}

impl fmt::Display for UpgradeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpgradeFailure::Start(path, error) => write!(f, "cannot start {}: {error}", path.display()),
            UpgradeFailure::Refused(why) => write!(f, "the new process cannot serve: {why}"),
            UpgradeFailure::Ended(Some(status)) => {
                write!(
                    f,
                    "the new process ended with status {status} before it could serve; see its lines in the log"
                )
            }
            UpgradeFailure::Ended(None) => f.write_str("the new process was killed before it could serve"),
            UpgradeFailure::Late => {
                let seconds = VERIFIED_WITHIN.as_secs();
                write!(f, "the new process could not serve within {seconds} s, and was ended")
            }
            UpgradeFailure::Wire(error) => write!(f, "the new process is not understood: {error}"),
            UpgradeFailure::Unavailable => f.write_str("the demo cannot be upgraded"),
            UpgradeFailure::Draining => f.write_str("the process is draining"),
            UpgradeFailure::UnderWay => f.write_str("an upgrade is under way already"),
        }
    }
}

/// What the new process goes on with.
pub(super) struct Estate {
    pub(super) listeners: Vec<Inherited>,
    pub(super) sessions: Sessions,
}

/// Starts the program on a thread of its own, and calls `done` when it serves beside this process, or will not.
/// `started`: its process number, as soon as it has one.
///
/// # Errors
/// When no thread can be started.
pub(super) fn start(
    program: Program,
    estate: Estate,
    started: Arc<AtomicU32>,
    done: impl FnOnce(Result<Successor, UpgradeFailure>) + Send + 'static,
) -> io::Result<()> {
    let work = move || {
        let succeeded = spawn(&program).and_then(|(mut child, stream)| {
            started.store(child.id(), Ordering::Relaxed);
            match hand_over(&stream, &estate) {
                Ok(version) => Ok(Successor { process: child.id(), version, stream }),
                Err(failure) => Err(ended(&mut child, failure)),
            }
        });
        drop(estate);
        done(succeeded);
    };
    std::thread::Builder::new().name("upgrade".to_owned()).spawn(work)?;
    Ok(())
}

fn spawn(program: &Program) -> Result<(Child, UnixStream), UpgradeFailure> {
    let (ours, theirs) = UnixStream::pair().map_err(UpgradeFailure::Wire)?;
    let mut command = Command::new(&program.path);
    command.args(std::env::args_os().skip(1)).stdin(Stdio::from(OwnedFd::from(theirs)));
    // What the service manager said to this process alone.
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(variable);
    }
    command.env(VARIABLE, "1");
    net::keep_descriptors(&mut command);
    // On this thread, which ends with the upgrade: programs that others start do not get this right.
    if let Err(error) = sandbox::pass_ports_on() {
        tracing::warn!(%error, "the new process cannot open ports below 1024 that this one does not have");
    }
    let child = command.spawn().map_err(|error| UpgradeFailure::Start(program.path.clone(), error))?;
    Ok((child, ours))
}

/// The version of the new program.
fn hand_over(stream: &UnixStream, estate: &Estate) -> Result<String, UpgradeFailure> {
    let within =
        |time| stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(ANSWERED_WITHIN)));
    within(VERIFIED_WITHIN).map_err(UpgradeFailure::Wire)?;
    let listeners = estate.listeners.iter().try_for_each(|listener| listener.send(stream));
    let begun = listeners.and_then(|()| wire::send(stream, Kind::Begin, b""));
    begun.map_err(UpgradeFailure::Wire)?;
    let version = expect(stream, Kind::Verified)?;
    within(ANSWERED_WITHIN).map_err(UpgradeFailure::Wire)?;
    let mut sent = Ok(());
    tls::export_sessions(&estate.sessions, |chunk| {
        sent = wire::send(stream, Kind::Sessions, chunk);
        sent.is_ok()
    });
    sent.and_then(|()| wire::send(stream, Kind::Begin, b"")).map_err(UpgradeFailure::Wire)?;
    expect(stream, Kind::Serving)?;
    Ok(version)
}

/// What comes along with a frame of this kind, which must be the next one.
fn expect(stream: &UnixStream, kind: Kind) -> Result<String, UpgradeFailure> {
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    match wire::receive(stream) {
        Ok(frame) if frame.kind == kind => Ok(text(&frame.payload)),
        Ok(Frame { kind: Kind::Failed, payload, .. }) => Err(UpgradeFailure::Refused(text(&payload))),
        Ok(_) => Err(UpgradeFailure::Wire(io::ErrorKind::InvalidData.into())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(UpgradeFailure::Late)
        }
        Err(error) => Err(UpgradeFailure::Wire(error)),
    }
}

/// Ends the process that will not serve, and says how it ended when that tells more.
fn ended(child: &mut Child, failure: UpgradeFailure) -> UpgradeFailure {
    let gone = matches!(&failure, UpgradeFailure::Wire(error)
        if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    if !gone {
        // Its end is waited for below, whether this was in time or not.
        let _ = child.kill();
    }
    match child.wait() {
        Ok(status) if gone => UpgradeFailure::Ended(status.code()),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::tls::{Binding, CacheLimits, Clock, Moment, SessionCache};

    const NOW: Moment = Moment { monotonic: 1_000_000, unix: 1_700_000_000_000 };
    const SESSIONS: u32 = 20_000;

    fn sessions() -> (Arc<SessionCache>, Sessions) {
        // Twice the room: chance fills no shard, and all of them are counted.
        let limits = CacheLimits::new(2 * SESSIONS as usize, Duration::from_secs(300));
        let cache = Arc::new(SessionCache::new(limits));
        let clock: Arc<dyn Clock> = Arc::new(|| NOW);
        (cache.clone(), Sessions::Cache { cache, clock })
    }

    /// As many as are kept by default, each somewhat larger than they are.
    #[test]
    fn twenty_thousand_sessions_go_along_within_seconds() {
        let binding = Binding::from_bytes([7; 16]);
        let (old, estate) = sessions();
        let id = |number: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_le_bytes());
            id[28..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
            id
        };
        for number in 0..SESSIONS {
            assert!(old.put(&id(number), binding, NOW.monotonic, vec![number as u8; 300], NOW.monotonic));
        }
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let (new, taken) = sessions();
        let began = Instant::now();
        let successor = std::thread::spawn(move || {
            let predecessor = Predecessor::over(theirs);
            let taken = predecessor.verified(&taken).expect("the old process says all");
            predecessor.serving();
            taken
        });
        let estate = Estate { listeners: Vec::new(), sessions: estate };
        let version = hand_over(&ours, &estate).expect("the new process serves");
        let took = began.elapsed();
        drop(ours);
        assert_eq!(successor.join().expect("no panic"), SESSIONS as usize);
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        let sizes = (old.statistics().size, new.statistics().size);
        assert_eq!(sizes, (SESSIONS as usize, SESSIONS as usize));
        assert_eq!(new.get(&id(SESSIONS - 1), binding, NOW.monotonic), Some(vec![(SESSIONS - 1) as u8; 300]));
        // Some tens of milliseconds, in a build without optimization.
        assert!(took < Duration::from_secs(20), "{took:?}");
        println!("{SESSIONS} sessions went along in {took:?}");
    }
}
