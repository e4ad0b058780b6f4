//! Answers for certificate authorities that validate our names, before anything else is decided.

use std::cell::RefCell;
use std::sync::Arc;

use super::serving::Serving;
use crate::http1::RequestHead;
use crate::tls::challenges::HTTP_PATH;
use crate::tls::{SeenChallenges, SharedServerConfig};

/// What a worker has seen of the challenges pending. Who asks for none costs a comparison.
#[derive(Default)]
pub(super) struct WorkerChallenges(RefCell<SeenChallenges>);

impl WorkerChallenges {
    /// What the validation of `name` is answered with.
    pub(super) fn alpn(&self, serving: &Serving, name: &[u8]) -> Option<SharedServerConfig> {
        self.0.borrow_mut().look(&serving.generation.challenges).alpn(name).cloned()
    }

    /// What a request for a challenge that is pending is answered with (RFC 8555 §8.3); `None`: it is a request
    /// like others.
    pub(super) fn http(&self, serving: &Serving, head: &RequestHead<'_, '_>) -> Option<Arc<[u8]>> {
        let target = head.path_and_query();
        if !target.starts_with(HTTP_PATH) || !matches!(head.method, "GET" | "HEAD") {
            return None;
        }
        self.0.borrow_mut().look(&serving.generation.challenges).http(target).cloned()
    }
}
