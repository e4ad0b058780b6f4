//! The keys that seal and open records: AEADs of RFC 8446 §5.2, by the implementation that is fastest on this CPU.
//!
//! aws-lc-rs has vectors of AES (VAES) only where the CPU has AVX-512. Many CPUs have them with AVX2 alone, and there
//! `ring` seals a full record in half the time, and a small one in two thirds. Everything else, handshakes included,
//! is aws-lc-rs, and so are the records of other CPUs.

use aws_lc_rs::aead as aws_lc;
#[cfg(target_arch = "x86_64")]
use ring::aead as ring_aead;

pub(super) const NONCE_BYTES: usize = aws_lc::NONCE_LEN;
pub(super) const TAG_BYTES: usize = 16;
/// A record's header is the additional data.
pub(super) const HEADER_BYTES: usize = 5;
pub(super) const KEY_BYTES_MAX: usize = 32;

/// Data that is copied at a time: in the first cache, and too little for `rep movsb`, which takes twenty times as long
/// when both addresses lie alike in their pages.
#[cfg(target_arch = "x86_64")]
const COPIED: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Algorithm {
    pub(super) fn key_bytes(self) -> usize {
        self.aws_lc().key_len()
    }

    fn aws_lc(self) -> &'static aws_lc::Algorithm {
        match self {
            Algorithm::Aes128Gcm => &aws_lc::AES_128_GCM,
            Algorithm::Aes256Gcm => &aws_lc::AES_256_GCM,
            Algorithm::Chacha20Poly1305 => &aws_lc::CHACHA20_POLY1305,
        }
    }

    /// `None`: aws-lc-rs is as fast.
    #[cfg(target_arch = "x86_64")]
    fn ring(self) -> Option<&'static ring_aead::Algorithm> {
        match self {
            Algorithm::Aes128Gcm => Some(&ring_aead::AES_128_GCM),
            Algorithm::Aes256Gcm => Some(&ring_aead::AES_256_GCM),
            Algorithm::Chacha20Poly1305 => None,
        }
    }
}

/// A record that does not open: changed on the way, or sealed with another key.
#[derive(Debug)]
pub(super) struct Unopened;

/// The caller never gives a nonce twice.
#[cfg_attr(
    target_arch = "x86_64",
    expect(
        clippy::large_enum_variant,
        reason = "a box would be one more line of memory to miss for each record"
    )
)]
pub(super) enum Key {
    AwsLc(aws_lc::LessSafeKey),
    #[cfg(target_arch = "x86_64")]
    Ring(ring_aead::LessSafeKey),
}

impl Key {
    /// `bytes`: [`Algorithm::key_bytes`] of them.
    pub(super) fn new(algorithm: Algorithm, bytes: &[u8]) -> Key {
        #[cfg(target_arch = "x86_64")]
        if let Some(ring) = algorithm.ring().filter(|_| has_vectors_of_aes_in_avx2_alone()) {
            return Key::ring(ring, bytes);
        }
        Key::aws_lc(algorithm, bytes)
    }

    fn aws_lc(algorithm: Algorithm, bytes: &[u8]) -> Key {
        let key =
            aws_lc::UnboundKey::new(algorithm.aws_lc(), bytes).expect("a key of the algorithm's length");
        Key::AwsLc(aws_lc::LessSafeKey::new(key))
    }

    #[cfg(target_arch = "x86_64")]
    fn ring(algorithm: &'static ring_aead::Algorithm, bytes: &[u8]) -> Key {
        let key = ring_aead::UnboundKey::new(algorithm, bytes).expect("a key of the algorithm's length");
        Key::Ring(ring_aead::LessSafeKey::new(key))
    }

    /// Seals data and the type behind it into `out`, which has exactly their length and the tag's.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        header: [u8; HEADER_BYTES],
        data: &[u8],
        kind: u8,
        out: &mut [u8],
    ) {
        match self {
            Key::AwsLc(key) => {
                let (into, last) = out.split_at_mut(data.len());
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                key.seal_out_of_place_scatter(nonce, aws_lc::Aad::from(header), data, into, &[kind], last)
                    .expect("the lengths are right");
            }
            #[cfg(target_arch = "x86_64")]
            Key::Ring(key) => {
                let (content, tag) = out.split_at_mut(data.len() + 1);
                for (into, from) in content.chunks_mut(COPIED).zip(data.chunks(COPIED)) {
                    into[..from.len()].copy_from_slice(from);
                }
                content[data.len()] = kind;
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                let sealed = key
                    .seal_in_place_separate_tag(nonce, ring_aead::Aad::from(header), content)
                    .expect("a record is far below the limit of a message");
                tag.copy_from_slice(sealed.as_ref());
            }
        }
    }

    /// Opens in place; returns the content, which has its type and padding at the end.
    pub(super) fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        header: [u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Unopened> {
        match self {
            Key::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                Ok(key.open_in_place(nonce, aws_lc::Aad::from(header), sealed).map_err(|_| Unopened)?)
            }
            #[cfg(target_arch = "x86_64")]
            Key::Ring(key) => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                Ok(key.open_in_place(nonce, ring_aead::Aad::from(header), sealed).map_err(|_| Unopened)?)
            }
        }
    }
}

/// Where aws-lc-rs goes without vectors of AES, and `ring` with them.
#[cfg(target_arch = "x86_64")]
fn has_vectors_of_aes_in_avx2_alone() -> bool {
    let vectors = is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("avx2");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    vectors && !avx512
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [3; NONCE_BYTES];
    const HEADER: [u8; HEADER_BYTES] = [23, 3, 3, 1, 0];

    fn keys(algorithm: Algorithm) -> Vec<Key> {
        let bytes = &[9; KEY_BYTES_MAX][..algorithm.key_bytes()];
        let mut keys = vec![Key::new(algorithm, bytes), Key::aws_lc(algorithm, bytes)];
        #[cfg(target_arch = "x86_64")]
        keys.extend(algorithm.ring().map(|ring| Key::ring(ring, bytes)));
        keys
    }

    fn sealed(key: &Key, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; data.len() + 1 + TAG_BYTES];
        key.seal(NONCE, HEADER, data, 22, &mut out);
        out
    }

    #[test]
    fn each_implementation_opens_what_any_sealed_whatever_its_length() {
        for algorithm in [Algorithm::Aes128Gcm, Algorithm::Aes256Gcm, Algorithm::Chacha20Poly1305] {
            let keys = keys(algorithm);
            for length in [0, 1, 15, 16, 17, 100, 2047, 2048, 2049, 5000, 16_383, 16_384] {
                let data: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).expect("below 251")).collect();
                let expected = sealed(&keys[0], &data);
                for key in &keys {
                    assert_eq!(sealed(key, &data), expected, "{algorithm:?}, {length} bytes");
                    let mut received = expected.clone();
                    let content = key.open(NONCE, HEADER, &mut received).expect("sealed with this key");
                    assert_eq!(content.split_last(), Some((&22, &data[..])));
                }
            }
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_found_by_each_implementation() {
        for algorithm in [Algorithm::Aes128Gcm, Algorithm::Aes256Gcm, Algorithm::Chacha20Poly1305] {
            for key in keys(algorithm) {
                let whole = sealed(&key, b"data of a record");
                for at in 0..whole.len() {
                    let mut changed = whole.clone();
                    changed[at] ^= 1;
                    assert!(key.open(NONCE, HEADER, &mut changed).is_err(), "{algorithm:?}, byte {at}");
                }
                let mut other_header = HEADER;
                other_header[4] ^= 1;
                assert!(key.open(NONCE, other_header, &mut whole.clone()).is_err(), "{algorithm:?}");
            }
        }
    }
}
