//! How values lie in the store: closed for all who do not have the fleet's secret, and bound to their place.
//!
//! ```text
//! 1  version    12  nonce, random    …  AES-256-GCM of the content, its tag at the end
//! ```
//!
//! The place (the key and field it lies at) is authenticated with it: whoever can write to the store can neither read a
//! key, nor have a value of one place taken for another's, nor have us answer a challenge of theirs. What they can do is
//! remove values or put old ones back: a certificate is looked at as every other before it is served, and the newer wins.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

const VERSION: u8 = 1;

/// Seals what is put into the store.
pub(super) struct Key(LessSafeKey);

impl Key {
    /// `secret`: all bytes of the fleet's secret file. Session tickets come from it too, under a label of their own.
    pub(super) fn from_secret(secret: &[u8]) -> Result<Key, Unspecified> {
        let mut bytes = Zeroizing::new([0; 32]);
        let salt = Salt::new(HKDF_SHA256, b"portcullis fleet store 1");
        salt.extract(secret).expand(&[b"seal"], &AES_256_GCM)?.fill(&mut *bytes)?;
        Ok(Key(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes)?)))
    }

    /// Nonces are random: with one for each certificate and challenge of a fleet, two that are the same are as likely
    /// as a guess of the key for some billion values.
    pub(super) fn seal(&self, place: &str, content: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut content = Zeroizing::new(content.to_vec());
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut content,
        )?;
        Ok([&[VERSION][..], &nonce, &content, tag.as_ref()].concat())
    }

    /// `None`: it was sealed with another secret, for another place, or by nobody.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let mut content = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(place.as_bytes()), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_at_the_same_place_alone() {
        let secret = [7; 48];
        let key = Key::from_secret(&secret).expect("a key");
        let same = Key::from_secret(&secret).expect("a key");
        let other = Key::from_secret(&[8; 48]).expect("a key");
        for content in [&b""[..], b"a", &[0; 10_000]] {
            let sealed = key.seal("a place", content).expect("sealed");
            assert!(content.len() < 2 || !sealed.windows(content.len()).any(|part| part == content));
            assert_eq!(same.open("a place", &sealed).as_deref().map(Vec::as_slice), Some(content));
            assert!(other.open("a place", &sealed).is_none());
            assert!(key.open("another place", &sealed).is_none());
            assert_ne!(sealed, key.seal("a place", content).expect("sealed"));
        }
        let sealed = key.seal("p", b"content").expect("sealed");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("p", &changed).is_none(), "{at}");
            assert!(key.open("p", &sealed[..at]).is_none(), "{at}");
        }
    }
}
