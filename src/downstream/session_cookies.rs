//! Session cookies of sites that seal them: sealed on their way out, opened on their way in, on HTTPS alone.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;

use aws_lc_rs::rand;

use super::service::Service;
use crate::config::ServedSite;
use crate::http::Scheme;
use crate::http::cookies::Verdict;
use crate::http::field::trim;
use crate::sealing::{Binding, COOKIE_BYTES_MAX, Keys, NONCE_BYTES, SharedKeys, sealed_length};

/// The keys as a worker has them: taken over once a tick, so that requests share nothing.
#[derive(Default)]
pub(super) struct WorkerKeys {
    keys: RefCell<Arc<Keys>>,
    seen: Cell<u64>,
    sealed: Cell<u64>,
}

impl WorkerKeys {
    pub(super) fn refresh(&self, shared: &SharedKeys) {
        let mut seen = self.seen.get();
        if let Some(keys) = shared.newer(&mut seen) {
            self.keys.replace(keys);
            self.seen.set(seen);
        }
        if self.sealed.get() > 0 {
            shared.add_sealed(self.sealed.take());
        }
    }
}

/// What becomes of the session cookies of one message.
pub(super) struct SessionCookies<'a> {
    service: &'a Service,
    names: &'a [String],
    bindings: &'a [Binding],
    scheme: Scheme,
    keys: Ref<'a, Arc<Keys>>,
}

impl<'a> SessionCookies<'a> {
    /// `None`: the site does not seal. `scheme`: the one the request was decided for.
    pub(super) fn of(
        service: &'a Service,
        site: &'a ServedSite,
        scheme: Scheme,
    ) -> Option<SessionCookies<'a>> {
        let bindings = site.sealing.as_deref()?;
        let keys = service.keys.keys.borrow();
        Some(SessionCookies { service, names: &site.session_cookies, bindings, scheme, keys })
    }

    fn binding(&self, name: &[u8]) -> Option<&Binding> {
        let position = self.names.iter().position(|known| known.as_bytes() == name)?;
        self.bindings.get(position)
    }

    /// Judges a cookie of a request.
    pub(super) fn incoming(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Verdict {
        let counters = &self.service.counters;
        let binding = match self.binding(name) {
            Some(binding) => binding,
            None if self.is_hidden_in(name, value) => {
                counters.session_cookies_dropped.add(1);
                return Verdict::Drop;
            }
            None => return Verdict::Keep,
        };
        if self.scheme == Scheme::Https && self.keys.open(binding, value, out) {
            counters.session_cookies_opened.add(1);
            Verdict::Replaced
        } else {
            counters.session_cookies_dropped.add(1);
            Verdict::Drop
        }
    }

    /// Whether a server could read one of the names where we read none: without `=`, or behind a comma, which was a
    /// separator once (RFC 2965 §3.3.4) and is one to some servers still.
    fn is_hidden_in(&self, name: &[u8], value: &[u8]) -> bool {
        let is_ours = |text: &[u8]| self.names.iter().any(|known| known.as_bytes() == trim(text));
        if name.is_empty() && is_ours(value) {
            return true;
        }
        value.split(|&byte| byte == b',').skip(1).any(|part| {
            let end = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
            is_ours(&part[..end])
        })
    }

    /// Judges a session cookie of a response.
    pub(super) fn outgoing(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Verdict {
        let counters = &self.service.counters;
        let fits = name.len() + sealed_length(value.len()) <= COOKIE_BYTES_MAX;
        if self.scheme == Scheme::Https && fits && self.seal(name, value, out) {
            counters.session_cookies_sealed.add(1);
            self.service.keys.sealed.set(self.service.keys.sealed.get() + 1);
            return Verdict::Replaced;
        }
        if !fits {
            tracing::debug!(length = value.len(), "a session cookie is too long to be sealed: it is dropped");
        }
        counters.session_cookies_withheld.add(1);
        Verdict::Drop
    }

    fn seal(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
        let mut nonce = [0; NONCE_BYTES];
        let Some(binding) = self.binding(name) else { return false };
        // Without randomness nothing is sealed, and nothing leaves unsealed.
        rand::fill(&mut nonce).is_ok() && self.keys.seal(binding, nonce, value, out)
    }
}
