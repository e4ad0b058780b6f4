//! Answers of our own: redirects and errors, and what becomes of the connection after them.

use crate::dispatch::Redirect;
use crate::http::{BodyEnd, Reuse, Version};
use crate::http1::{self, RequestHead, write_error, write_octets, write_redirect};
use crate::net::Buffer;

use super::record::Record;
use super::service::Service;

/// A request body up to this is read and dropped, so that the connection stays usable; a longer one costs
/// more than a new connection.
const SKIPPED_BODY_MAX: u64 = 64 * 1024;

/// An answer ready to send.
pub(super) struct Answer {
    /// As HTTP/1.1 has it, whatever version the request came by.
    pub(super) bytes: Buffer,
    pub(super) reuse: Reuse,
    /// The head stands for one with a body: the request was HEAD.
    pub(super) head_only: bool,
    /// Octets of the request's body to drop before the next request.
    pub(super) skip: u64,
    /// Nothing of the request is left to come: the connection can be closed at once.
    pub(super) whole: bool,
    pub(super) record: Record,
    /// Why it is not what was asked for.
    pub(super) reason: Option<&'static str>,
}

impl Answer {
    /// To a request that was read and decided on. `reuse`: `Close` when no other request can fare better on
    /// this connection; otherwise what the head says. `hsts`: that of the host's site, on HTTPS.
    pub(super) fn error(
        service: &Service,
        record: Record,
        head: &RequestHead<'_, '_>,
        reuse: Reuse,
        (status, reason): (u16, &'static str),
        hsts: Option<&[u8]>,
    ) -> Answer {
        tracing::debug!(status, reason, "refused a request");
        service.counters.requests_refused.add(1);
        Answer::write(service, (record, Some(reason)), head, reuse, status, hsts, write_error)
    }

    pub(super) fn redirect(
        service: &Service,
        record: Record,
        head: &RequestHead<'_, '_>,
        redirect: &Redirect<'_>,
        hsts: Option<&[u8]>,
    ) -> Answer {
        service.counters.requests_redirected.add(1);
        let told = (record, None);
        Answer::write(service, told, head, head.reuse, redirect.status, hsts, |out, answer| {
            write_redirect(out, answer, |out| redirect.write_location(out));
        })
    }

    /// What a certificate authority asked for.
    pub(super) fn octets(
        service: &Service,
        record: Record,
        head: &RequestHead<'_, '_>,
        octets: &[u8],
    ) -> Answer {
        service.counters.acme_validations.add(1);
        let told = (record, None);
        Answer::write(service, told, head, head.reuse, 200, None, |out, answer| {
            write_octets(out, answer, octets)
        })
    }

    /// To something that is not a request we can read: where the next one would begin is unknown.
    pub(super) fn malformed(service: &Service, record: Record, status: u16, reason: &'static str) -> Answer {
        tracing::debug!(status, reason, "refused a request");
        service.counters.requests_refused.add(1);
        Answer::failed(service, (record, reason), status, false, Reuse::Close, false, None)
    }

    /// To a request whose exchange failed; the request's body is done with or the connection ends.
    /// `head_only`: the request was HEAD.
    pub(super) fn failed(
        service: &Service,
        (record, reason): (Record, &'static str),
        status: u16,
        head_only: bool,
        reuse: Reuse,
        whole: bool,
        hsts: Option<&[u8]>,
    ) -> Answer {
        let date = service.local.clock.date();
        let answer = http1::Answer {
            status,
            client: Version::Http11,
            reuse,
            date: &date,
            head_only,
            request_id: &record.id,
            hsts,
            retry_after_secs: None,
        };
        let bytes = into_buffer(service, |out| write_error(out, &answer));
        record.answered(status, bytes.filled());
        Answer { bytes, reuse, head_only, skip: 0, whole, record, reason: Some(reason) }
    }

    fn write(
        service: &Service,
        (record, reason): (Record, Option<&'static str>),
        head: &RequestHead<'_, '_>,
        reuse: Reuse,
        status: u16,
        hsts: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>, &http1::Answer<'_>),
    ) -> Answer {
        let (reuse, skip) = match head.body {
            // Its streams end on their own.
            _ if head.version == Version::Http2 => (reuse, 0),
            _ if service.is_draining() => (Reuse::Close, 0),
            BodyEnd::None => (reuse, 0),
            // A client that waits for 100 will not send the body now, or will: who knows.
            BodyEnd::Length(length) if length <= SKIPPED_BODY_MAX && !head.expects_continue => {
                (reuse, length)
            }
            _ => (Reuse::Close, 0),
        };
        let date = service.local.clock.date();
        let answer = http1::Answer {
            status,
            client: head.version,
            reuse,
            date: &date,
            head_only: head.method == "HEAD",
            request_id: &record.id,
            hsts,
            retry_after_secs: None,
        };
        let whole = head.body.is_empty();
        let bytes = into_buffer(service, |out| write(out, &answer));
        record.answered(status, bytes.filled());
        Answer { bytes, reuse, head_only: answer.head_only, skip, whole, record, reason }
    }
}

/// Writes by way of the worker's scratch into a buffer of the right size.
fn into_buffer(service: &Service, write: impl FnOnce(&mut Vec<u8>)) -> Buffer {
    let mut written = service.scratch.borrow_mut();
    written.clear();
    write(&mut written);
    let mut bytes = service.local.buffers.at_least(written.len());
    bytes.append(&written);
    bytes
}
