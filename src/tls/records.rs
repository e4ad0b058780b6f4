//! The record layer of an established TLS 1.3 connection (RFC 8446 §5), taken over from rustls.
//!
//! rustls runs every handshake, and all of TLS 1.2. What is left after a TLS 1.3 handshake is small: data
//! sealed and opened, close_notify, alerts, key updates. Done here, a body is sealed straight into what is sent
//! (rustls makes a vector for each record and copies it), and a connection that waits keeps two keys and no
//! buffer: 3 KiB less for each.
//!
//! ```text
//! 23 | 3 3 | length u16 || sealed: data … | content type | zeros … || tag 16
//! ```
//!
//! What must hold, and where it is held: a nonce is used once (`Half::nonce` counts, and a key that reaches its
//! limit is renewed before its next record); a record that does not open ends the connection; nothing follows
//! close_notify or a fatal alert; a client's key update is answered before the next data (§4.6.3); work that
//! brings no data is bounded. The tests drive this and rustls through the same conversations.

#[doc(hidden)]
pub mod peer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use aws_lc_rs::hkdf;
use rustls::ConnectionTrafficSecrets;
use rustls::server::ServerConnection;
use zeroize::Zeroizing;

use super::aead::{Algorithm, HEADER_BYTES, KEY_BYTES_MAX, Key, NONCE_BYTES, TAG_BYTES, Unopened};
use super::traffic_secrets::{TrafficSecret, TrafficSecrets};

/// Data in a full record (RFC 8446 §5.1).
pub const FRAGMENT_BYTES_MAX: usize = 16 * 1024;
/// What sealing adds to the data of a record: header, content type, tag.
pub const RECORD_OVERHEAD: usize = HEADER_BYTES + 1 + TAG_BYTES;
/// Of a received record with its header: data, content type, padding and tag are at most 256 bytes more than
/// the data (RFC 8446 §5.2).
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + FRAGMENT_BYTES_MAX + 256;
const KEY_UPDATE_BYTES: usize = 5;
/// What goes before data at most: a key update the client asked for, and one because a key reached its limit.
const AHEAD_BYTES_MAX: usize = 2 * (RECORD_OVERHEAD + KEY_UPDATE_BYTES);

/// Records without data that a client may send in a row: of no data, of alerts to be ignored, of key updates.
const FRUITLESS_MAX: u8 = 32;

/// Key updates before a connection is taken over; one with more is lost.
const GENERATIONS_MAX: usize = 1000;

/// Content types (RFC 8446 §B.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const KEY_UPDATE: u8 = 24;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

pub struct Records {
    algorithm: Algorithm,
    sealing: Half,
    opening: Half,
    // A key update of ours goes before the next data.
    owes_key_update: bool,
    // We have said that nothing more comes from us.
    closed: bool,
    // The client has said so.
    ended: bool,
    fruitless: u8,
    // The beginning of a handshake message that goes on in the next record.
    message: [u8; KEY_UPDATE_BYTES],
    message_bytes: usize,
}

/// One direction.
struct Half {
    key: Key,
    iv: [u8; NONCE_BYTES],
    // Of the next record.
    sequence: u64,
    // The keys of the next generation come from it.
    secret: TrafficSecret,
}

/// What a received record was.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is not whole yet: it has `bytes` bytes in all, or more than a header is needed to know.
    NeedMore { bytes: usize },
    /// The record took `bytes`; its data, opened in place, are at `data`, none when it was about something else.
    Record { bytes: usize, data: Range<usize> },
    /// The client sends nothing more (RFC 8446 §6.1).
    End,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// Not opened by the key: changed on the way, or not sealed by the client.
    Unopened,
    TooLong,
    /// Of a type that has no place here.
    Unexpected,
    Malformed,
    /// A key update of an unknown kind (RFC 8446 §4.6.3).
    UnknownUpdate,
    /// Much that brings nothing.
    Fruitless,
    /// The client gave up; with its alert (RFC 8446 §6.2).
    Alert(u8),
}

impl BadRecord {
    /// The alert to answer with (RFC 8446 §6.2); `None`: the client ended it.
    pub fn alert(self) -> Option<u8> {
        match self {
            BadRecord::Unopened => Some(20),
            BadRecord::TooLong => Some(22),
            BadRecord::Unexpected | BadRecord::Fruitless => Some(10),
            BadRecord::UnknownUpdate => Some(47),
            BadRecord::Malformed => Some(50),
            BadRecord::Alert(_) => None,
        }
    }
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::Unopened => f.write_str("a record could not be decrypted"),
            BadRecord::TooLong => f.write_str("a record is too long"),
            BadRecord::Unexpected => f.write_str("a record has no place here"),
            BadRecord::Malformed => f.write_str("a record is malformed"),
            BadRecord::UnknownUpdate => f.write_str("a key update of an unknown kind"),
            BadRecord::Fruitless => f.write_str("too many records without data"),
            BadRecord::Alert(alert) => write!(f, "the client sent alert {alert}"),
        }
    }
}

impl std::error::Error for BadRecord {}

/// Nothing may be sent any more: close_notify or an alert was the last.
#[derive(Debug)]
pub struct Closed;

impl Records {
    /// Takes over from rustls. The handshake is over, it was one of TLS 1.3, everything rustls had to send has
    /// been sent, and all it received ended with a whole record and was read. `None`: rustls would not.
    pub fn take_over(session: ServerConnection, secrets: TrafficSecrets) -> Option<Records> {
        let extracted = session.dangerous_extract_secrets().ok()?;
        let (algorithm, sealing) = Half::extracted(extracted.tx, secrets.server)?;
        let (_, opening) = Half::extracted(extracted.rx, secrets.client)?;
        Some(Records::new(algorithm, sealing, opening))
    }

    fn new(algorithm: Algorithm, sealing: Half, opening: Half) -> Records {
        Records {
            algorithm,
            sealing,
            opening,
            owes_key_update: false,
            closed: false,
            ended: false,
            fruitless: 0,
            message: [0; KEY_UPDATE_BYTES],
            message_bytes: 0,
        }
    }

    /// Room that [`seal`](Self::seal) needs for so much data.
    pub fn sealed_bytes_max(data: usize) -> usize {
        data + data.div_ceil(FRAGMENT_BYTES_MAX) * RECORD_OVERHEAD + AHEAD_BYTES_MAX
    }

    /// The most data whose records fit into `room`.
    pub fn data_bytes_max(room: usize) -> usize {
        let room = room.saturating_sub(AHEAD_BYTES_MAX);
        room - room.div_ceil(FRAGMENT_BYTES_MAX + RECORD_OVERHEAD) * RECORD_OVERHEAD
    }

    /// Seals data into as few records as there can be; returns the length written to `out`, which has
    /// [`sealed_bytes_max`](Self::sealed_bytes_max) bytes.
    ///
    /// # Errors
    /// `Closed`: nothing may be sent any more.
    pub fn seal(&mut self, data: &[u8], out: &mut [u8]) -> Result<usize, Closed> {
        if self.closed {
            return Err(Closed);
        }
        let mut written = 0;
        for fragment in data.chunks(FRAGMENT_BYTES_MAX) {
            written += self.seal_ahead(&mut out[written..]);
            written += self.sealing.seal(APPLICATION_DATA, fragment, &mut out[written..]);
        }
        Ok(written)
    }

    /// Writes close_notify, the last record; nothing when it was written before. `out` has
    /// [`sealed_bytes_max`](Self::sealed_bytes_max)`(0)` bytes more than were written to it.
    pub fn seal_close(&mut self, out: &mut [u8]) -> usize {
        self.seal_last([1, CLOSE_NOTIFY], out)
    }

    /// Writes a fatal alert, the last record; nothing when there was a last one before.
    pub fn seal_alert(&mut self, alert: u8, out: &mut [u8]) -> usize {
        self.seal_last([2, alert], out)
    }

    fn seal_last(&mut self, alert: [u8; 2], out: &mut [u8]) -> usize {
        if std::mem::replace(&mut self.closed, true) {
            return 0;
        }
        self.sealing.seal(ALERT, &alert, out)
    }

    /// Writes what must go before the next data: the answer to a key update, or one of ours.
    fn seal_ahead(&mut self, out: &mut [u8]) -> usize {
        if !self.owes_key_update && self.sealing.sequence < records_max(self.algorithm) {
            return 0;
        }
        self.owes_key_update = false;
        // update_not_requested: the client renews its own key as it sees fit.
        let written = self.sealing.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out);
        self.sealing.renew(self.algorithm);
        written
    }

    /// Opens the record at the front of what was received, in place.
    ///
    /// # Errors
    /// Why the connection ends; [`BadRecord::alert`] says what to tell the client.
    pub fn open(&mut self, received: &mut [u8]) -> Result<Opened, BadRecord> {
        if self.ended {
            return Ok(Opened::End);
        }
        let Some((&mut header, rest)) = received.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Ok(Opened::NeedMore { bytes: HEADER_BYTES });
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != APPLICATION_DATA {
            // An alert in the clear, a change_cipher_spec after the handshake (§5), or no TLS at all.
            return Err(BadRecord::Unexpected);
        }
        if length > RECORD_BYTES_MAX - HEADER_BYTES {
            return Err(BadRecord::TooLong);
        }
        let bytes = HEADER_BYTES + length;
        let Some(sealed) = rest.get_mut(..length) else {
            return Ok(Opened::NeedMore { bytes });
        };
        let inner = self.opening.open(header, sealed)?;
        // The type is the last byte that is not padding (§5.4).
        let last = inner.iter().rposition(|byte| *byte != 0).ok_or(BadRecord::Unexpected)?;
        if inner.len() > FRAGMENT_BYTES_MAX + 1 {
            return Err(BadRecord::TooLong);
        }
        let (content, kind) = (&inner[..last], inner[last]);
        if self.message_bytes > 0 && kind != HANDSHAKE {
            return Err(BadRecord::Unexpected);
        }
        match kind {
            APPLICATION_DATA if content.is_empty() => self.count_fruitless()?,
            APPLICATION_DATA => {
                self.fruitless = 0;
                return Ok(Opened::Record { bytes, data: HEADER_BYTES..HEADER_BYTES + last });
            }
            ALERT => {
                let &[_, alert] = content else { return Err(BadRecord::Malformed) };
                match alert {
                    CLOSE_NOTIFY => {
                        self.ended = true;
                        return Ok(Opened::End);
                    }
                    USER_CANCELED => self.count_fruitless()?,
                    alert => return Err(BadRecord::Alert(alert)),
                }
            }
            HANDSHAKE => {
                // Copied out: the message is a handful of bytes, and what it does needs all of `self`.
                let mut bytes = [0; KEY_UPDATE_BYTES + 1];
                let length = content.len().min(bytes.len());
                bytes[..length].copy_from_slice(&content[..length]);
                self.take_handshake(&bytes[..length])?;
            }
            _ => return Err(BadRecord::Unexpected),
        }
        Ok(Opened::Record { bytes, data: 0..0 })
    }

    /// Key updates are all that a client may say after the handshake (§4.6: tickets come from us, and we ask
    /// for no certificate). One ends its record, since the next is sealed with another key (§5.1).
    fn take_handshake(&mut self, part: &[u8]) -> Result<(), BadRecord> {
        self.count_fruitless()?;
        let whole = self.message_bytes + part.len();
        if part.is_empty() || whole > KEY_UPDATE_BYTES {
            return Err(BadRecord::Unexpected);
        }
        self.message[self.message_bytes..whole].copy_from_slice(part);
        self.message_bytes = whole;
        if self.message[0] != KEY_UPDATE {
            return Err(BadRecord::Unexpected);
        }
        if whole < KEY_UPDATE_BYTES {
            return Ok(());
        }
        self.message_bytes = 0;
        match self.message {
            [_, 0, 0, 1, requested @ 0..=1] => {
                self.owes_key_update |= requested == 1;
                self.opening.renew(self.algorithm);
                Ok(())
            }
            [_, 0, 0, 1, _] => Err(BadRecord::UnknownUpdate),
            _ => Err(BadRecord::Malformed),
        }
    }

    fn count_fruitless(&mut self) -> Result<(), BadRecord> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_MAX { Err(BadRecord::Fruitless) } else { Ok(()) }
    }
}

impl Half {
    /// `secret`: of the first generation; keys may have been renewed since.
    fn extracted(
        from: (u64, ConnectionTrafficSecrets),
        mut secret: TrafficSecret,
    ) -> Option<(Algorithm, Half)> {
        let (sequence, keys) = from;
        let (algorithm, key, iv) = match &keys {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Algorithm::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Algorithm::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Algorithm::Chacha20Poly1305, key, iv),
            _ => return None,
        };
        for _ in 0..GENERATIONS_MAX {
            let mut derived = Zeroizing::new([0; KEY_BYTES_MAX]);
            let derived = &mut derived[..algorithm.key_bytes()];
            secret.expand(hash(algorithm), b"key", derived);
            if derived == key.as_ref() {
                let (key, iv) = (Key::new(algorithm, derived), iv.as_ref().try_into().ok()?);
                return Some((algorithm, Half { key, iv, sequence, secret }));
            }
            secret = secret.next(hash(algorithm));
        }
        None
    }

    /// Keys of the next generation (RFC 8446 §7.2), counted from nothing.
    fn renew(&mut self, algorithm: Algorithm) {
        *self = Half::from_secret(algorithm, self.secret.next(hash(algorithm)));
    }

    fn from_secret(algorithm: Algorithm, secret: TrafficSecret) -> Half {
        let mut key = Zeroizing::new([0; KEY_BYTES_MAX]);
        let key = &mut key[..algorithm.key_bytes()];
        secret.expand(hash(algorithm), b"key", key);
        let mut iv = [0; NONCE_BYTES];
        secret.expand(hash(algorithm), b"iv", &mut iv);
        Half { key: Key::new(algorithm, key), iv, sequence: 0, secret }
    }

    /// The nonce of the next record (RFC 8446 §5.3), never given twice.
    fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence = self.sequence.checked_add(1).expect("2^64 records take longer than there is time");
        nonce
    }

    /// Writes one record; returns its length.
    fn seal(&mut self, kind: u8, data: &[u8], out: &mut [u8]) -> usize {
        let length = data.len() + 1 + TAG_BYTES;
        let [high, low] = u16::try_from(length).expect("a fragment is at most 16 KiB").to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        let nonce = self.nonce();
        let (head, sealed) = out[..HEADER_BYTES + length].split_at_mut(HEADER_BYTES);
        head.copy_from_slice(&header);
        self.key.seal(nonce, header, data, kind, sealed);
        HEADER_BYTES + length
    }

    /// Opens one record in place; what is inside has its type and padding at the end.
    fn open<'a>(&mut self, header: [u8; HEADER_BYTES], sealed: &'a mut [u8]) -> Result<&'a [u8], BadRecord> {
        let nonce = self.nonce();
        self.key.open(nonce, header, sealed).map_err(|Unopened| BadRecord::Unopened)
    }
}

/// The hash of a algorithm, which its keys are derived with (RFC 8446 §B.4).
fn hash(algorithm: Algorithm) -> hkdf::Algorithm {
    match algorithm {
        Algorithm::Aes128Gcm | Algorithm::Chacha20Poly1305 => hkdf::HKDF_SHA256,
        Algorithm::Aes256Gcm => hkdf::HKDF_SHA384,
    }
}

/// Records after which a key is renewed (RFC 8446 §5.5: 2^24.5 full records for AES-GCM; ChaCha20's limit is past
/// the sequence numbers).
fn records_max(algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => 1 << 24,
        Algorithm::Chacha20Poly1305 => 1 << 62,
    }
}
