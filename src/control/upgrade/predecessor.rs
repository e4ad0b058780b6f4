//! An upgrade as the new process sees it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt;

use super::wire::{self, Frame, Inherited, Kind};
use super::{ANSWERED_WITHIN, VARIABLE};
use crate::tls::{self, Sessions};

/// The process that serves until this one does.
pub struct Predecessor {
    stream: UnixStream,
    listeners: Vec<Inherited>,
}

impl Predecessor {
    /// `None`: nobody serves yet, and this is a start like any other. Takes the place of standard input, which is
    /// empty from then on.
    ///
    /// # Errors
    /// When there should be one and what it says is not understood.
    pub fn meet() -> io::Result<Option<Predecessor>> {
        let stdin = io::stdin();
        if std::env::var_os(VARIABLE).is_none() || sockopt::socket_type(stdin.as_fd()).is_err() {
            return Ok(None);
        }
        let stream = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        stream.set_write_timeout(Some(ANSWERED_WITHIN))?;
        let mut listeners = Vec::new();
        loop {
            let frame = wire::receive(&stream)?;
            match frame.kind {
                Kind::Listener => listeners.push(Inherited::read(frame).ok_or(io::ErrorKind::InvalidData)?),
                Kind::Begin => return Ok(Some(Predecessor { stream, listeners })),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Without listeners.
    #[cfg(test)]
    pub(super) fn over(stream: UnixStream) -> Predecessor {
        assert_eq!(wire::receive(&stream).expect("a frame").kind, Kind::Begin);
        Predecessor { stream, listeners: Vec::new() }
    }

    pub(in crate::control) fn take_listeners(&mut self) -> Vec<Inherited> {
        std::mem::take(&mut self.listeners)
    }

    /// Says that there is a generation that can serve, and takes up the sessions of the old process into its own; how many.
    ///
    /// # Errors
    /// When the old process has gone: it ends without this one taking over.
    pub(in crate::control) fn verified(&self, sessions: &Sessions) -> io::Result<usize> {
        wire::send(&self.stream, Kind::Verified, env!("CARGO_PKG_VERSION").as_bytes())?;
        let mut taken = 0;
        loop {
            let Frame { kind, payload, .. } = wire::receive(&self.stream)?;
            match kind {
                Kind::Sessions => taken += tls::import_sessions(sessions, &payload),
                Kind::Begin => return Ok(taken),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Says that all workers run, and waits until the old process has stopped accepting.
    pub(in crate::control) fn serving(self) {
        // Both may be in vain: the old process has ended meanwhile, and this one goes on.
        let _ = wire::send(&self.stream, Kind::Serving, b"").and_then(|()| wire::receive(&self.stream));
    }

    /// Says why this process will not take over.
    pub fn failed(&self, why: &str) {
        // Its end says the same.
        let _ = wire::send(&self.stream, Kind::Failed, why.as_bytes());
    }
}
