//! What becomes of session cookies, both ways.

use super::keys::Keys;
use super::value::{Binding, COOKIE_BYTES_MAX, NONCE_BYTES, sealed_length};
use crate::http::Scheme;
use crate::http::cookies::Verdict;
use crate::http::field::trim;

/// The session cookies of one site, in messages of one scheme.
#[derive(Clone, Copy)]
pub struct SiteCookies<'a> {
    pub names: &'a [String],
    /// What each is sealed for, in the same order.
    pub bindings: &'a [Binding],
    pub keys: &'a Keys,
    /// Nothing is sealed or opened but on HTTPS.
    pub scheme: Scheme,
}

impl SiteCookies<'_> {
    /// Judges a cookie of a request; a value that was opened is appended.
    pub fn incoming(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Verdict {
        match self.binding(name) {
            Some(binding) if self.scheme == Scheme::Https && self.keys.open(binding, value, out) => {
                Verdict::Replaced
            }
            Some(_) => Verdict::Drop,
            None if self.is_hidden_in(name, value) => Verdict::Drop,
            None => Verdict::Keep,
        }
    }

    /// Judges a session cookie of a response; its sealed value is appended. `nonce`: random, never used before; none
    /// when there is no randomness, and then nothing leaves.
    pub fn outgoing(
        &self,
        name: &[u8],
        value: &[u8],
        nonce: Option<[u8; NONCE_BYTES]>,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let fits = name.len() + sealed_length(value.len()) <= COOKIE_BYTES_MAX;
        match (self.scheme, self.binding(name), nonce) {
            (Scheme::Https, Some(binding), Some(nonce)) if fits => {
                if self.keys.seal(binding, nonce, value, out) { Verdict::Replaced } else { Verdict::Drop }
            }
            _ => Verdict::Drop,
        }
    }

    fn binding(&self, name: &[u8]) -> Option<&Binding> {
        let position = self.names.iter().position(|known| known.as_bytes() == name)?;
        self.bindings.get(position)
    }

    /// Whether a server could read one of the names where we read none: without `=`, or behind a comma, which was a
    /// separator once (RFC 2965 §3.3.4) and is one to some servers still.
    fn is_hidden_in(&self, name: &[u8], value: &[u8]) -> bool {
        let is_ours = |text: &[u8]| self.names.iter().any(|known| known.as_bytes() == trim(text));
        if name.is_empty() && is_ours(value) {
            return true;
        }
        let behind_commas = |text: &[u8]| {
            text.split(|&byte| byte == b',').skip(1).any(|part| {
                let end = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
                is_ours(&part[..end])
            })
        };
        behind_commas(name) || behind_commas(value)
    }
}
