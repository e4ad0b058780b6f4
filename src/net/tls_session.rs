//! Who seals and opens on a TLS connection: rustls, and our own record layer once a TLS 1.3 handshake is over.

use std::io::{self, Read, Write};

use rustls::server::{Accepted, AcceptedAlert, ServerConnection};

use super::buffer::Buffer;
use crate::tls::{Records, SharedServerConfig, TrafficSecrets, captured};

/// Each in a box: a connection that ends with its first response is moved about until then, and has no records.
pub(super) enum Session {
    /// The handshake and what goes with it; all of TLS 1.2.
    Rustls(Box<RustlsSession>),
    Records(Box<Records>),
    /// It could not be taken over. Nothing can be sent or received.
    Lost,
}

pub(super) struct RustlsSession {
    pub(super) connection: ServerConnection,
    /// There when the handshake was one of TLS 1.3.
    pub(super) secrets: Option<TrafficSecrets>,
    pub(super) fed: RecordBoundary,
}

impl Session {
    /// Goes on without rustls, when the handshake was one of TLS 1.3 and nothing is left inside rustls. True: it
    /// has something to send first.
    pub(super) fn take_over(&mut self) -> bool {
        let Session::Rustls(rustls) = self else { return false };
        let connection = &mut rustls.connection;
        if rustls.secrets.is_none() || connection.is_handshaking() {
            return false;
        }
        // The answer to a key update waits inside for data: writing none brings it out.
        if connection.writer().write(&[]).is_err() || connection.wants_write() {
            return connection.wants_write();
        }
        // Neither data nor the client's close_notify was left unread.
        let unread = match connection.reader().into_first_chunk() {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        if unread || !rustls.fed.is_at_end() {
            return false;
        }
        let Session::Rustls(rustls) = std::mem::replace(self, Session::Lost) else { return false };
        let RustlsSession { connection, secrets, .. } = *rustls;
        if let Some(records) = secrets.and_then(|secrets| Records::take_over(connection, secrets)) {
            *self = Session::Records(Box::new(records));
        }
        false
    }
}

/// Plaintext that was read.
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) ended: bool,
}

impl RustlsSession {
    /// Answers a ClientHello with the configuration chosen. `fed` is where the records ended that it came in.
    ///
    /// # Errors
    /// The two have no parameters in common.
    // Not inlined: what is moved in here has no place in the future of the caller.
    #[inline(never)]
    pub(super) fn begin(
        accepted: Box<Accepted>,
        config: SharedServerConfig,
        fed: RecordBoundary,
    ) -> Result<Box<RustlsSession>, (rustls::Error, AcceptedAlert)> {
        let (session, secrets) = captured(|| {
            let mut connection = accepted.into_connection(config)?;
            // Writers seal at most a buffer's worth before they send: the bound is ours.
            connection.set_buffer_limit(None);
            Ok(Box::new(RustlsSession { connection, secrets: None, fed }))
        });
        let mut session = session?;
        session.secrets = secrets;
        Ok(session)
    }

    pub(super) fn take_plaintext(&mut self, into: &mut Buffer) -> io::Result<Taken> {
        let mut bytes = 0;
        while into.spare() > 0 {
            match self.connection.reader().read(into.spare_mut()) {
                Ok(0) => return Ok(Taken { bytes, ended: true }),
                Ok(read) => {
                    into.grow(read);
                    bytes += read;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(Taken { bytes, ended: true });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Taken { bytes, ended: false })
    }
}

/// Follows the records in a stream of bytes: rustls keeps the beginning of one that is not whole, and does not
/// say so.
#[derive(Default)]
pub(super) struct RecordBoundary {
    header: [u8; 5],
    header_bytes: usize,
    // Of the record's content, after its header.
    left: usize,
}

impl RecordBoundary {
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let Some((&first, rest)) = bytes.split_first() else { return };
            self.header[self.header_bytes] = first;
            self.header_bytes += 1;
            bytes = rest;
            if self.header_bytes == self.header.len() {
                self.header_bytes = 0;
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }

    /// Whether all records that began are whole.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0 && self.header_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_where_their_lengths_say_however_they_are_cut() {
        let stream =
            [&[22, 3, 1, 0, 4, 1, 2, 3, 4][..], &[23, 3, 3, 0, 0], &[23, 3, 3, 1, 0], &[7; 256]].concat();
        let ends = [0, 9, 14, 14 + 5 + 256];
        for piece in 1..stream.len() {
            let mut boundary = RecordBoundary::default();
            let mut passed = 0;
            for part in stream.chunks(piece) {
                boundary.pass(part);
                passed += part.len();
                assert_eq!(boundary.is_at_end(), ends.contains(&passed), "{passed} in pieces of {piece}");
            }
        }
    }
}
