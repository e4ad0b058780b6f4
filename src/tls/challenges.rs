//! Answers to the challenges of certificate authorities, as long as they are pending.
//!
//! Written by whoever orders certificates, read by workers: they keep the [`Challenges`] they have seen and look at a
//! counter, and only for a request below [`HTTP_PATH`] or a ClientHello with [`ALPN`]. Nothing else comes here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::ClientHello;

use super::{SharedServerConfig, sni};

/// Where an http-01 challenge is asked for (RFC 8555 §8.3); the token follows.
pub const HTTP_PATH: &[u8] = b"/.well-known/acme-challenge/";
/// The protocol of a tls-alpn-01 challenge (RFC 8737 §4).
pub const ALPN: &[u8] = b"acme-tls/1";

/// The pending challenges of one moment.
#[derive(Clone, Default)]
pub struct Challenges {
    http: HashMap<Box<[u8]>, Arc<[u8]>>,
    // By the name asked for: lowercase, addresses as RFC 8738 §6 has them.
    alpn: HashMap<Box<[u8]>, SharedServerConfig>,
}

impl Challenges {
    /// The key authorization for the target of a request; `None`: it asks for no challenge that is pending.
    #[must_use]
    pub fn http(&self, target: &[u8]) -> Option<&Arc<[u8]>> {
        self.http.get(target.strip_prefix(HTTP_PATH)?)
    }

    /// What the validation of `name` is answered with.
    #[must_use]
    pub fn alpn(&self, name: &[u8]) -> Option<&SharedServerConfig> {
        self.alpn.get(name)
    }
}

/// One for the process; it outlives generations.
#[derive(Default)]
pub struct PendingChallenges {
    current: Mutex<Arc<Challenges>>,
    // Counts changes.
    version: AtomicU64,
}

/// What a reader has seen of them.
#[derive(Clone, Default)]
pub struct SeenChallenges {
    challenges: Arc<Challenges>,
    version: u64,
}

impl SeenChallenges {
    /// Those that are pending now. Locks only when something has changed since the last look.
    pub fn look(&mut self, pending: &PendingChallenges) -> &Challenges {
        let version = pending.version.load(Ordering::Acquire);
        if version != self.version {
            self.challenges = pending.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.version = version;
        }
        &self.challenges
    }
}

impl PendingChallenges {
    /// `token` and `authorization`: of an http-01 challenge.
    pub fn add_http(&self, token: &str, authorization: &str) {
        let (token, authorization) = (token.as_bytes().into(), authorization.as_bytes().into());
        self.change(|challenges| drop(challenges.http.insert(token, authorization)));
    }

    pub fn remove_http(&self, token: &str) {
        self.change(|challenges| drop(challenges.http.remove(token.as_bytes())));
    }

    /// `name` as the authority will ask for it; `config` speaks [`ALPN`] alone.
    pub fn add_alpn(&self, name: &str, config: SharedServerConfig) {
        self.change(|challenges| drop(challenges.alpn.insert(name.as_bytes().into(), config)));
    }

    pub fn remove_alpn(&self, name: &str) {
        self.change(|challenges| drop(challenges.alpn.remove(name.as_bytes())));
    }

    /// How many are pending.
    pub fn count(&self) -> usize {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.http.len() + current.alpn.len()
    }

    fn change(&self, change: impl FnOnce(&mut Challenges)) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut challenges = Challenges::clone(&current);
        change(&mut challenges);
        *current = Arc::new(challenges);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// The name whose validation this ClientHello is: it offers [`ALPN`] and nothing else (RFC 8737 §3).
pub fn validated_name<'a>(hello: &'a ClientHello<'_>) -> Option<&'a [u8]> {
    let mut offered = hello.alpn()?;
    let is_validation = offered.next() == Some(ALPN) && offered.next().is_none();
    if is_validation { sni::server_name(hello) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_is_pending_and_only_that() {
        let pending = PendingChallenges::default();
        let mut seen = SeenChallenges::default();
        let target = b"/.well-known/acme-challenge/token-1";
        assert!(seen.look(&pending).http(target).is_none());
        pending.add_http("token-1", "token-1.print");
        assert_eq!(seen.look(&pending).http(target).map(|text| &**text), Some(&b"token-1.print"[..]));
        for other in [
            &b"/.well-known/acme-challenge/token-1/"[..],
            b"/.well-known/acme-challenge/token-1?x",
            b"/.well-known/acme-challenge/",
            b"/x/.well-known/acme-challenge/token-1",
            b"/",
        ] {
            assert!(seen.look(&pending).http(other).is_none());
        }
        assert_eq!(pending.count(), 1);
        pending.remove_http("token-1");
        assert!(seen.look(&pending).http(target).is_none());
        assert_eq!(pending.count(), 0);
    }
}
