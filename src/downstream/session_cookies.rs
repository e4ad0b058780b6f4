//! Session cookies of sites that seal them: sealed on their way out, opened on their way in, on HTTPS alone.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;

use aws_lc_rs::rand;

use super::service::Service;
use crate::config::ServedSite;
use crate::http::Scheme;
use crate::http::cookies::Verdict;
use crate::sealing::{Binding, Keys, NONCE_BYTES, SharedKeys, SiteCookies};

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
    site: &'a ServedSite,
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
        Some(SessionCookies { service, site, bindings, scheme, keys: service.keys.keys.borrow() })
    }

    fn cookies(&self) -> SiteCookies<'_> {
        let names = &self.site.session_cookies;
        SiteCookies { names, bindings: self.bindings, keys: &self.keys, scheme: self.scheme }
    }

    /// Judges a cookie of a request.
    pub(super) fn incoming(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Verdict {
        let verdict = self.cookies().incoming(name, value, out);
        match verdict {
            Verdict::Keep => {}
            Verdict::Replaced => self.service.counters.session_cookies_opened.add(1),
            Verdict::Drop => self.service.counters.session_cookies_dropped.add(1),
        }
        verdict
    }

    /// Judges a session cookie of a response.
    pub(super) fn outgoing(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Verdict {
        let mut nonce = [0; NONCE_BYTES];
        let nonce = rand::fill(&mut nonce).ok().map(|()| nonce);
        let verdict = self.cookies().outgoing(name, value, nonce, out);
        if verdict == Verdict::Replaced {
            self.service.counters.session_cookies_sealed.add(1);
            self.service.keys.sealed.set(self.service.keys.sealed.get() + 1);
        } else {
            tracing::debug!(length = value.len(), "a session cookie does not leave: on HTTP, or too long");
            self.service.counters.session_cookies_withheld.add(1);
        }
        verdict
    }
}
