//! The other end of the admin socket: what the commands speak.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::Limits;
use crate::http1::{RequestKind, header_slots, parse_response};

/// An answer larger than this is not one of ours: ten thousand sites fit.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Asks over a unix socket, one connection for each question.
pub struct Client {
    path: PathBuf,
    wait: Duration,
}

/// What was answered.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct ClientFailure {
    path: PathBuf,
    error: io::Error,
}

impl ClientFailure {
    /// Nobody listens there.
    pub fn is_absent(&self) -> bool {
        matches!(self.error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }
}

impl fmt::Display for ClientFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.error.kind() {
            io::ErrorKind::NotFound => write!(
                f,
                "there is no admin socket {path}\n  do: start Portcullis, or name the socket it has: --socket PATH, or -c \
                 FILE of its configuration"
            ),
            io::ErrorKind::ConnectionRefused => {
                write!(f, "nobody answers on the admin socket {path}\n  do: start Portcullis; it ended there")
            }
            io::ErrorKind::PermissionDenied => write!(
                f,
                "the admin socket {path} is not open to this user\n  do: ask as the user Portcullis runs as, or set \
                 [admin] socket_access = \"group\""
            ),
            _ => write!(f, "no answer on the admin socket {path}: {}", self.error),
        }
    }
}

impl Client {
    /// `wait`: for each byte of the answer.
    pub fn new(path: &Path, wait: Duration) -> Client {
        Client { path: path.to_owned(), wait }
    }

    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn get(&self, target: &str) -> Result<Reply, ClientFailure> {
        self.ask("GET", target)
    }

    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn post(&self, target: &str) -> Result<Reply, ClientFailure> {
        self.ask("POST", target)
    }

    fn ask(&self, method: &str, target: &str) -> Result<Reply, ClientFailure> {
        self.try_ask(method, target).map_err(|error| ClientFailure { path: self.path.clone(), error })
    }

    fn try_ask(&self, method: &str, target: &str) -> io::Result<Reply> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(self.wait))?;
        stream.set_write_timeout(Some(self.wait))?;
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
        let mut slots = header_slots();
        let kind = RequestKind { head: false, upgrade: false };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "what answers there is not Portcullis");
        let head = parse_response(&bytes, &mut slots, kind, &Limits::default()).map_err(|_| broken())?;
        let head = head.ok_or_else(broken)?;
        let (status, from) = (head.status, head.head_bytes);
        Ok(Reply { status, body: bytes.split_off(from) })
    }
}
