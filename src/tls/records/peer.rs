//! The client's side, which can also send what no client should: for tests, benches and fuzzing.

use rustls::client::ClientConnection;

use super::{
    APPLICATION_DATA, Algorithm, FRAGMENT_BYTES_MAX, HANDSHAKE, HEADER_BYTES, Half, KEY_UPDATE, Records,
};
use crate::tls::traffic_secrets::{TrafficSecret, TrafficSecrets};

pub struct Peer {
    algorithm: Algorithm,
    sealing: Half,
    opening: Half,
}

impl Peer {
    pub fn take_over(client: ClientConnection, secrets: TrafficSecrets) -> Option<Peer> {
        let extracted = client.dangerous_extract_secrets().ok()?;
        let (algorithm, sealing) = Half::extracted(extracted.tx, secrets.client)?;
        let (_, opening) = Half::extracted(extracted.rx, secrets.server)?;
        Some(Peer { algorithm, sealing, opening })
    }

    /// Both sides of a connection that never had a handshake.
    pub fn pair(suite: u8) -> (Records, Peer) {
        let (algorithm, length) = match suite % 3 {
            0 => (Algorithm::Aes128Gcm, 32),
            1 => (Algorithm::Aes256Gcm, 48),
            _ => (Algorithm::Chacha20Poly1305, 32),
        };
        let half = |byte| {
            let secret = TrafficSecret::new(&[byte; 48][..length]).expect("as long as a hash");
            Half::from_secret(algorithm, secret)
        };
        let records = Records::new(algorithm, half(1), half(2));
        (records, Peer { algorithm, sealing: half(2), opening: half(1) })
    }

    /// A record of any type. `padding`: zeros behind the type.
    pub fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        // The type and the padding are content to a record whose own type is the last zero.
        let mut inner = content.to_vec();
        let last = if padding > 0 {
            inner.push(kind);
            inner.resize(inner.len() + padding - 1, 0);
            0
        } else {
            kind
        };
        let mut record = vec![0; HEADER_BYTES + inner.len() + 17];
        let length = self.sealing.seal(last, &inner, &mut record);
        assert_eq!(length, record.len());
        record
    }

    pub fn data(&mut self, content: &[u8]) -> Vec<u8> {
        content.chunks(FRAGMENT_BYTES_MAX).flat_map(|part| self.seal(APPLICATION_DATA, part, 0)).collect()
    }

    /// A key update in so many records; what comes next is sealed with the next key.
    pub fn key_update(&mut self, requested: bool, pieces: usize) -> Vec<u8> {
        let message = [KEY_UPDATE, 0, 0, 1, u8::from(requested)];
        let sent =
            message.chunks(5_usize.div_ceil(pieces)).flat_map(|part| self.seal(HANDSHAKE, part, 0)).collect();
        self.sealing.renew(self.algorithm);
        sent
    }

    /// Opens what the server sent: each record's type and content. Follows its key updates.
    pub fn open(&mut self, mut received: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while let Some((&header, rest)) = received.split_first_chunk::<HEADER_BYTES>() {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (sealed, rest) = rest.split_at(length);
            received = rest;
            let mut sealed = sealed.to_vec();
            let inner = self.opening.open(header, &mut sealed).expect("the server's records open");
            let (&kind, content) = inner.split_last().expect("there is a type");
            assert!(content.len() <= FRAGMENT_BYTES_MAX, "a record is too long");
            if kind == HANDSHAKE && content.first() == Some(&KEY_UPDATE) {
                self.opening.renew(self.algorithm);
            }
            records.push((kind, content.to_vec()));
        }
        assert!(received.is_empty(), "the server sends whole records");
        records
    }

    /// As if so many records had been sent with this key, on both sides.
    #[cfg(test)]
    pub(super) fn skip(&mut self, records: &mut Records, sequence: u64) {
        records.sealing.sequence = sequence;
        self.opening.sequence = sequence;
    }
}
