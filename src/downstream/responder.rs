//! The response of a site server, written for an HTTP/1.1 client.

use std::io;
use std::time::Duration;

use super::location::Locations;
use super::reply::with_reply;
use super::service::Service;
use crate::config::ServedSite;
use crate::http::{BodyEnd, Reuse, Scheme, Version};
use crate::http1::{ResponseHead, write_response};
use crate::limits::Pace;
use crate::net::{Buffer, Stream};
use crate::proxy::{Responder, frame_chunk};

pub(super) struct Http1Responder<'a> {
    pub(super) stream: &'a Stream,
    pub(super) service: &'a Service,
    pub(super) site: &'a ServedSite,
    pub(super) locations: Locations<'a>,
    pub(super) scheme: Scheme,
    pub(super) version: Version,
    /// Whether the client's connection lives on after this response; settled when the head is written.
    pub(super) reuse: Reuse,
    /// How the body ends for the client; settled with the head.
    pub(super) body: BodyEnd,
    pub(super) idle: Duration,
    pub(super) pace: Pace,
}

impl Responder for Http1Responder<'_> {
    fn write_interim(&mut self, head: &ResponseHead<'_, '_>, out: &mut Vec<u8>) {
        // HTTP/1.0 has none (RFC 9110 §15.2).
        if self.version != Version::Http10 {
            self.write(head, BodyEnd::None, out);
        }
    }

    fn write_head(&mut self, head: &ResponseHead<'_, '_>, out: &mut Vec<u8>) {
        self.body = head.body.relayed_to(self.version);
        if self.body == BodyEnd::Close {
            self.reuse = Reuse::Close;
        }
        self.write(head, self.body, out);
    }

    fn frame(&mut self, body: &mut Buffer, end: Option<&[u8]>) {
        if self.body == BodyEnd::Chunked {
            frame_chunk(body, end);
        }
    }

    async fn send(&mut self, bytes: &mut Buffer, last: bool) -> io::Result<()> {
        let (clock, octets) = (&self.service.local.clock, bytes.len());
        let (since_ms, late) = (clock.now_ms(), clock.after(self.pace.allows(octets)));
        let until = || clock.after(self.idle).min(late);
        let sent = if last && self.reuse == Reuse::Close {
            self.stream.send_last(bytes, until).await
        } else {
            self.stream.send(bytes, until).await
        };
        self.pace.moved(clock.now_ms() - since_ms, octets);
        // A request beside its response may be silent for as long as the response is not.
        self.stream.socket().extend_read(clock.after(self.idle));
        sent
    }

    async fn gone(&self) {
        self.stream.gone(&self.service.local).await;
    }
}

impl Http1Responder<'_> {
    fn write(&self, head: &ResponseHead<'_, '_>, body: BodyEnd, out: &mut Vec<u8>) {
        let told = (self.version, self.reuse, body);
        with_reply(self.service, Some(self.site), Some(&self.locations), self.scheme, told, |reply| {
            write_response(out, head, reply)
        });
    }
}
