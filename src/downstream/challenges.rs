//! Answers for certificate authorities that validate our names, before anything else is decided.

use std::cell::RefCell;

use super::answer::Answer;
use super::service::Service;
use crate::http1::RequestHead;
use crate::tls::challenges::HTTP_PATH;
use crate::tls::{SeenChallenges, SharedServerConfig};

/// What a worker has seen of the challenges pending. Who asks for none costs a comparison.
#[derive(Default)]
pub(super) struct WorkerChallenges(RefCell<SeenChallenges>);

impl WorkerChallenges {
    /// What the validation of `name` is answered with.
    pub(super) fn alpn(&self, service: &Service, name: &[u8]) -> Option<SharedServerConfig> {
        let serving = service.serving();
        self.0.borrow_mut().look(&serving.generation.challenges).alpn(name).cloned()
    }

    /// The answer to a request for a challenge that is pending (RFC 8555 §8.3); `None`: it is a request like others.
    pub(super) fn http(&self, service: &Service, head: &RequestHead<'_, '_>) -> Option<Answer> {
        let target = head.path_and_query();
        if !target.starts_with(HTTP_PATH) || !matches!(head.method, "GET" | "HEAD") {
            return None;
        }
        let serving = service.serving();
        let text = self.0.borrow_mut().look(&serving.generation.challenges).http(target).cloned()?;
        service.counters.acme_validations.add(1);
        Some(Answer::octets(service, head, &text))
    }
}
