//! Where lines are kept: a file, standard output, or a syslog socket.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::access_log::{Destination, Sink};

/// Opens a destination.
///
/// # Errors
/// When a file cannot be opened for appending. A syslog socket that is not there yet is looked for again.
pub fn open(destination: &Destination) -> io::Result<Box<dyn Sink>> {
    Ok(match destination {
        Destination::Stdout => Box::new(Stdout),
        Destination::File(path) => {
            let file = open_file(path)?;
            let state = FileState { file: Some(file), torn: false, failed: None };
            Box::new(LogFile { path: path.clone(), state: Mutex::new(state) })
        }
        Destination::Syslog(path) => Box::new(Syslog { path: path.clone(), state: Mutex::default() }),
    })
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

struct Stdout;

impl Sink for Stdout {
    fn write(&self, lines: &[u8]) -> u64 {
        let mut out = io::stdout().lock();
        match out.write_all(lines).and_then(|()| out.flush()) {
            Ok(()) => 0,
            Err(_) => count(lines),
        }
    }

    fn reopen(&self) {}
}

struct LogFile {
    path: PathBuf,
    state: Mutex<FileState>,
}

struct FileState {
    // None: it could not be opened anew, which is tried again with each block.
    file: Option<File>,
    // A write ended inside a line.
    torn: bool,
    // When the last failure was told.
    failed: Option<Instant>,
}

/// Appends: what others write to it stays, and a copy truncated by logrotate begins at its start.
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why lines are lost, at most once a minute.
fn tell(failed: &mut Option<Instant>, path: &Path, error: &io::Error) {
    if failed.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
        tracing::error!("the access log {} cannot be written: {error}", path.display());
        *failed = Some(Instant::now());
    }
}

impl Sink for LogFile {
    fn write(&self, lines: &[u8]) -> u64 {
        let mut state = lock(&self.state);
        let FileState { file, torn, failed } = &mut *state;
        if file.is_none() {
            match open_file(&self.path) {
                Ok(opened) => *file = Some(opened),
                Err(error) => {
                    tell(failed, &self.path, &error);
                    return count(lines);
                }
            }
        }
        let Some(file) = file else { return count(lines) };
        let mut rest = lines;
        let result = (|| {
            if *torn {
                file.write_all(b"\n")?;
                *torn = false;
            }
            while !rest.is_empty() {
                match file.write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })();
        let Err(error) = result else {
            return 0;
        };
        tell(failed, &self.path, &error);
        let written = lines.len() - rest.len();
        *torn |= written > 0 && lines[written - 1] != b'\n';
        count(rest)
    }

    fn reopen(&self) {
        let mut state = lock(&self.state);
        match open_file(&self.path) {
            Ok(opened) => {
                state.file = Some(opened);
                state.torn = false;
                tracing::info!("opened the access log {} anew", self.path.display());
            }
            // Lines go on to the file that was moved away.
            Err(error) => tell(&mut state.failed, &self.path, &error),
        }
    }
}

/// A datagram for each line, as syslog(3) sends them: what rsyslog, syslog-ng and journald take on `/dev/log`.
struct Syslog {
    path: PathBuf,
    state: Mutex<SyslogState>,
}

#[derive(Default)]
struct SyslogState {
    socket: Option<UnixDatagram>,
    // When connecting failed last.
    tried: Option<Instant>,
    failed: Option<Instant>,
    message: Vec<u8>,
}

/// How long a daemon that is away is left alone.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long one that does not read is waited for.
const SEND_WAIT: Duration = Duration::from_secs(5);

impl Sink for Syslog {
    fn write(&self, lines: &[u8]) -> u64 {
        let mut state = lock(&self.state);
        let mut lost = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if !state.send(&self.path, line) {
                lost += 1;
            }
        }
        lost
    }

    fn reopen(&self) {
        lock(&self.state).socket = None;
    }
}

impl SyslogState {
    fn send(&mut self, path: &Path, line: &[u8]) -> bool {
        let SyslogState { message, .. } = self;
        message.clear();
        // Facility local7, severity info, as nginx has it.
        message.extend_from_slice(b"<190>");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        write_date(now, message);
        message.extend_from_slice(b" portcullis[");
        message.extend_from_slice(itoa::Buffer::new().format(std::process::id()).as_bytes());
        message.extend_from_slice(b"]: ");
        message.extend_from_slice(line);
        // A daemon that was started anew has another socket: one more try.
        for _ in 0..2 {
            if self.socket.is_none() && !self.connect(path) {
                return false;
            }
            let Some(socket) = &self.socket else { return false };
            match socket.send(&self.message) {
                Ok(_) => return true,
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                    tell(&mut self.failed, path, &error);
                    return false;
                }
                Err(error) => {
                    tell(&mut self.failed, path, &error);
                    self.socket = None;
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                        self.tried = Some(Instant::now());
                        return false;
                    }
                }
            }
        }
        false
    }

    fn connect(&mut self, path: &Path) -> bool {
        if self.tried.is_some_and(|at| at.elapsed() < TRY_EVERY) {
            return false;
        }
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(path)?;
            socket.set_write_timeout(Some(SEND_WAIT))?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => {
                self.socket = Some(socket);
                self.tried = None;
                true
            }
            Err(error) => {
                tell(&mut self.failed, path, &error);
                self.tried = Some(Instant::now());
                false
            }
        }
    }
}

/// `Nov 28 07:24:08`, in UTC: daemons put in the time they receive it at.
fn write_date(unix_seconds: u64, out: &mut Vec<u8>) {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds));
    // Sun, 06 Nov 1994 08:49:37 GMT
    let part = |from: usize, to: usize| date.get(from..to).unwrap_or("").as_bytes();
    out.extend_from_slice(part(8, 11));
    out.push(b' ');
    // RFC 3164: a day below ten is led by a space.
    match part(5, 7) {
        [b'0', day] => out.extend_from_slice(&[b' ', *day]),
        day => out.extend_from_slice(day),
    }
    out.push(b' ');
    out.extend_from_slice(part(17, 25));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_syslog_have_no_zero_in_front() {
        for (seconds, expected) in [(784_111_777, "Nov  6 08:49:37"), (1_795_850_648, "Nov 28 07:24:08")] {
            let mut out = Vec::new();
            write_date(seconds, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn a_file_is_appended_to_and_opened_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        std::fs::write(&path, "before\n").expect("writable");
        let sink = open(&Destination::File(path.clone())).expect("it opens");
        assert_eq!(sink.write(b"one\n"), 0);
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).expect("movable");
        assert_eq!(sink.write(b"two\n"), 0);
        sink.reopen();
        assert_eq!(sink.write(b"three\n"), 0);
        assert_eq!(std::fs::read_to_string(moved).expect("there"), "before\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).expect("there"), "three\n");
        assert!(open(&Destination::File(directory.path().to_owned())).is_err());
    }

    #[test]
    fn what_a_full_disk_takes_no_more_is_counted() {
        let sink = open(&Destination::File(PathBuf::from("/dev/full"))).expect("Linux has it");
        assert_eq!(sink.write(b"one\ntwo\n"), 2);
    }

    #[test]
    fn syslog_gets_a_datagram_a_line_and_is_found_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let sink = Syslog { path: path.clone(), state: Mutex::default() };
        assert_eq!(sink.write(b"lost\n"), 1);
        lock(&sink.state).tried = None;
        let mut bytes = [0; 256];
        for _ in 0..2 {
            let daemon = UnixDatagram::bind(&path).expect("a path of our own");
            assert_eq!(sink.write(b"one\ntwo\n"), 0);
            for expected in ["one", "two"] {
                let length = daemon.recv(&mut bytes).expect("a datagram");
                let text = String::from_utf8_lossy(&bytes[..length]);
                let rest = text.strip_prefix("<190>").expect("a priority");
                assert_eq!(&rest[15..27], " portcullis[", "{text}");
                assert!(rest.ends_with(&format!("]: {expected}")), "{text}");
            }
            drop(daemon);
            std::fs::remove_file(&path).expect("it was there");
        }
    }
}
