//! When the full handshake of a session was: carried in the session, over every resumption.
//!
//! rustls stamps each session value with the time it was made. A resumed TLS 1.3 handshake makes
//! new values, so a client that resumes again and again would never come back to a full
//! handshake. [`mark`] writes the time of the full handshake into the application data of the
//! session; a resumed connection hands on the data it came with.
//!
//! Session value of rustls, the end of it (persist.rs, `ServerSessionValue::encode`):
//!
//! ```text
//! … | length u16 = 24 | monotonic u64 | unix u64 | "pc-orig1" | creation_time u64 | age_offset u32
//! ```
//!
//! A value without mark ends its data with the length 0,0, which is not the end of `MARK`: a
//! client's certificate chain, which comes earlier, cannot imitate one. Should a newer rustls
//! change the layout, no value has a mark and the tests of resumption fail.

use rustls::server::ServerConnection;
use rustls::{HandshakeKind, ProtocolVersion};

use super::Moment;

const MARK: [u8; 8] = *b"pc-orig1";
const DATA_BYTES: usize = 24;
/// creation_time and age_offset behind the application data.
const TRAILER_BYTES: usize = 12;

/// Notes in the connection when its full handshake was: `now`, or the time that the session it
/// resumes came with.
///
/// Call it after `into_connection` and after every `process_new_packets` while
/// `is_handshaking()`, with the time of the clock that the site's [`Sessions`](super::Sessions)
/// have. A session is stored when the client's Finished is processed, and that cannot arrive
/// before the ClientHello that decides about resumption was answered: one call lies between.
pub fn mark(connection: &mut ServerConnection, now: Moment) {
    if let Some(data) = connection.received_resumption_data() {
        let Ok(data) = <[u8; DATA_BYTES]>::try_from(data) else {
            return;
        };
        connection.set_resumption_data(&data);
        return;
    }
    let full = matches!(
        connection.handshake_kind(),
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
    );
    // After a HelloRetryRequest the second ClientHello may still resume: only once the key
    // exchange is done is it certain that it did not. TLS 1.2 has no retry.
    let decided = connection.protocol_version() == Some(ProtocolVersion::TLSv1_2)
        || connection.negotiated_key_exchange_group().is_some();
    if full && decided {
        connection.set_resumption_data(&encode(now));
    }
}

fn encode(moment: Moment) -> [u8; DATA_BYTES] {
    let mut data = [0; DATA_BYTES];
    data[..8].copy_from_slice(&moment.monotonic.to_be_bytes());
    data[8..16].copy_from_slice(&moment.unix.to_be_bytes());
    data[16..].copy_from_slice(&MARK);
    data
}

/// The time of the full handshake in a session value of rustls; `None` when it was never marked.
pub(super) fn read(value: &[u8]) -> Option<Moment> {
    let (rest, _trailer) = value.split_last_chunk::<TRAILER_BYTES>()?;
    let (rest, mark) = rest.split_last_chunk::<8>()?;
    let (rest, unix) = rest.split_last_chunk::<8>()?;
    let (rest, monotonic) = rest.split_last_chunk::<8>()?;
    let (_, length) = rest.split_last_chunk::<2>()?;
    let marked = *mark == MARK && usize::from(u16::from_be_bytes(*length)) == DATA_BYTES;
    marked.then(|| Moment { monotonic: u64::from_be_bytes(*monotonic), unix: u64::from_be_bytes(*unix) })
}

/// A session value as rustls would make it, as far as this module reads it: for tests and benches.
#[doc(hidden)]
pub fn example_value(origin: Moment, secret: &[u8]) -> Vec<u8> {
    let mut value = secret.to_vec();
    value.extend_from_slice(&[0, 24]);
    value.extend_from_slice(&encode(origin));
    value.extend_from_slice(&[0; TRAILER_BYTES]);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_marked() {
        let origin = Moment { monotonic: 7, unix: 1_700_000_000_000 };
        assert_eq!(read(&example_value(origin, &[9; 48])), Some(origin));
    }

    #[test]
    fn refuses_values_without_mark() {
        let marked = example_value(Moment::default(), b"secret");
        let mut no_data = b"secret\0\x18".to_vec();
        no_data.extend_from_slice(&encode(Moment::default()));
        no_data.extend_from_slice(&[0, 0]);
        no_data.extend_from_slice(&[0; TRAILER_BYTES]);
        let mut other_length = marked.clone();
        let at = other_length.len() - TRAILER_BYTES - DATA_BYTES - 1;
        other_length[at] = 25;
        for value in [&[][..], &[0; 12], &[0; 60], &no_data, &other_length] {
            assert_eq!(read(value), None, "{value:?}");
        }
        for cut in 0..38 {
            assert_eq!(read(&marked[marked.len() - cut.min(marked.len())..]), None, "{cut}");
        }
    }
}
