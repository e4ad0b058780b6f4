//! One value: sealed for a site and a name, and opened again.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::digest;
use zeroize::Zeroize as _;

use super::base64url;
use super::keys::{ID_BYTES, Keys};

/// A browser drops a cookie whose name and value are longer together (RFC 6265bis §5.6).
pub const COOKIE_BYTES_MAX: usize = 4096;

/// Random octets that sealing a value takes.
pub const NONCE_BYTES: usize = NONCE_LEN;

const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = ID_BYTES + NONCE_BYTES;
/// A sealed value that comes back is no longer than a browser keeps.
const SEALED_BYTES_MAX: usize = COOKIE_BYTES_MAX;

/// What a value is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; 32]);

impl Binding {
    pub fn of(site: &str, cookie: &str) -> Binding {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(b"portcullis session cookie 1");
        all.update(&(site.len() as u64).to_be_bytes());
        all.update(site.as_bytes());
        all.update(cookie.as_bytes());
        let mut binding = [0; 32];
        binding.copy_from_slice(all.finish().as_ref());
        Binding(binding)
    }
}

/// Octets of a value of so many octets once it is sealed.
pub const fn sealed_length(octets: usize) -> usize {
    base64url::encoded_length(HEAD_BYTES + octets + TAG_BYTES)
}

impl Keys {
    /// Appends the sealed value. `nonce`: random, never used before. `false`, and nothing appended, when there is no
    /// key or the provider fails.
    pub fn seal(&self, binding: &Binding, nonce: [u8; NONCE_BYTES], value: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(key) = self.sealing() else { return false };
        let start = out.len();
        out.reserve(sealed_length(value.len()));
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(value);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(&binding.0));
        let tag = out
            .get_mut(start + HEAD_BYTES..)
            .and_then(|value| key.aead.seal_in_place_separate_tag(nonce, aad, value).ok());
        let Some(tag) = tag else {
            out[start..].zeroize();
            out.truncate(start);
            return false;
        };
        out.extend_from_slice(tag.as_ref());
        base64url::encode(out, start);
        true
    }

    /// Appends what was sealed. `false`, and nothing appended, when it was not sealed for this, or under no key that
    /// is there.
    pub fn open(&self, binding: &Binding, sealed: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let opened = self.open_in_place(binding, sealed, out);
        out.truncate(start + opened.unwrap_or(0));
        opened.is_some()
    }

    /// Leaves the value at the end of `out`, something behind it, and says how long it is.
    fn open_in_place(&self, binding: &Binding, sealed: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if sealed.len() > SEALED_BYTES_MAX || sealed.len() < sealed_length(0) {
            return None;
        }
        let start = out.len();
        out.extend_from_slice(sealed);
        base64url::decode(out, start)?;
        let (head, value) = out.get_mut(start..)?.split_at_mut_checked(HEAD_BYTES)?;
        let (id, nonce) = head.split_first_chunk::<ID_BYTES>()?;
        let key = self.with_id(*id)?;
        let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
        let length = key.aead.open_in_place(nonce, Aad::from(&binding.0), value).ok()?.len();
        out.copy_within(start + HEAD_BYTES..start + HEAD_BYTES + length, start);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::KEY_RANDOM_BYTES;

    fn keys(seed: u8) -> Keys {
        Keys::new(1_000, &[seed; KEY_RANDOM_BYTES])
    }

    fn seal(keys: &Keys, binding: &Binding, value: &[u8]) -> Vec<u8> {
        let mut out = b"z_sid=".to_vec();
        assert!(keys.seal(binding, [7; NONCE_BYTES], value, &mut out));
        out.split_off(6)
    }

    fn open(keys: &Keys, binding: &Binding, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"z_sid=".to_vec();
        let opened = keys.open(binding, sealed, &mut out);
        assert!(opened || out == b"z_sid=", "nothing is left behind");
        opened.then(|| out.split_off(6))
    }

    #[test]
    fn opens_what_it_sealed() {
        let (keys, binding) = (keys(1), Binding::of("example", "z_sid"));
        for value in [&b""[..], b"a", b"abc", b"\"a b\"", &[b'x'; 3000], b"\x80\xff"] {
            let sealed = seal(&keys, &binding, value);
            assert_eq!(sealed.len(), sealed_length(value.len()));
            let in_a_cookie = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            assert!(sealed.iter().all(in_a_cookie));
            assert_eq!(open(&keys, &binding, &sealed).as_deref(), Some(value));
        }
    }

    #[test]
    fn a_value_is_bound_to_its_site_and_name() {
        let keys = keys(1);
        let sealed = seal(&keys, &Binding::of("example", "z_sid"), b"value");
        for (site, cookie) in
            [("example", "z_logon"), ("other", "z_sid"), ("examplez", "_sid"), ("", "examplez_sid")]
        {
            assert_eq!(open(&keys, &Binding::of(site, cookie), &sealed), None, "{site} {cookie}");
        }
    }

    #[test]
    fn nothing_else_opens() {
        let (keys, binding) = (keys(1), Binding::of("example", "z_sid"));
        let sealed = seal(&keys, &binding, b"value");
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(open(&keys, &binding, &other), None, "{at}");
            assert_eq!(open(&keys, &binding, &sealed[..at]), None, "{at}");
        }
        assert_eq!(open(&super::tests::keys(2), &binding, &sealed), None);
        assert_eq!(open(&Keys::default(), &binding, &sealed), None);
        assert_eq!(open(&keys, &binding, b"plain"), None);
        assert_eq!(open(&keys, &binding, &[b'A'; 100_000]), None);
        assert_eq!(open(&keys, &binding, &[&sealed[..], b"="].concat()), None);
        assert!(!Keys::default().seal(&binding, [0; NONCE_BYTES], b"value", &mut Vec::new()));
    }
}
