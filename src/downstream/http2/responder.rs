//! A response on its way into a stream: its fields as HTTP/2 has them, its body in the blocks it came in.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Response, StatusCode};

use super::body::within;
use super::priority::{Going, Turn, Urgency};
use crate::config::ServedSite;
use crate::downstream::location::Locations;
use crate::downstream::reply::with_reply;
use crate::downstream::service::Service;
use crate::http::{BodyEnd, Reuse, Scheme, Version};
use crate::http1::{MapSink, ResponseHead, declared_length, each_response_field, map_of_trailers};
use crate::limits::Pace;
use crate::net::{Buffer, LARGE};
use crate::proxy::Responder;

/// How long a stream that waits for its client's window holds back less urgent ones.
const HELD_BACK_MAX: Duration = Duration::from_millis(100);

/// The side of a stream that we send on. Shared by the one who sends and the one who looks for a reset.
pub(super) enum Sending {
    Head(SendResponse<Buffer>),
    Body(SendStream<Buffer>),
}

impl Sending {
    /// Ready when the client has taken the stream back, or the connection is gone.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Sending::Head(head) => head.poll_reset(context).map(drop),
            Sending::Body(body) => body.poll_reset(context).map(drop),
        }
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        match self {
            Sending::Head(head) => head.send_reset(reason),
            Sending::Body(body) => body.send_reset(reason),
        }
    }
}

pub(super) struct Http2Responder<'a> {
    pub(super) sending: &'a RefCell<Sending>,
    pub(super) turn: Turn<'a>,
    pub(super) service: &'a Service,
    /// `None`: an answer of our own.
    pub(super) site: Option<&'a ServedSite>,
    pub(super) locations: Option<Locations<'a>>,
    pub(super) scheme: Scheme,
    pub(super) idle: Duration,
    pub(super) pace: Pace,
    // A head that leaves with the first of the body.
    pub(super) head: Option<Response<()>>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Responder for Http2Responder<'_> {
    fn write_interim(&mut self, head: &ResponseHead<'_, '_>, _: &mut Vec<u8>) {
        if let (Some(response), Sending::Head(sending)) =
            (self.response(head, BodyEnd::None), &mut *self.sending.borrow_mut())
        {
            // A stream that is gone says so when the final head is sent.
            let _ = sending.send_informational(response);
        }
    }

    fn write_head(&mut self, head: &ResponseHead<'_, '_>, _: &mut Vec<u8>) {
        let body = head.body.relayed_to(Version::Http2);
        let said = head.headers().iter().filter(|field| field.name.eq_ignore_ascii_case("priority"));
        if let Some(urgency) = said.filter_map(|field| Urgency::read(field.value)).next_back() {
            self.turn.urgency.set(urgency);
        }
        self.head = self.response(head, body);
        if let (Some(response), Some(length)) = (&mut self.head, declared_length(head, body)) {
            response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        }
        if let (Some(response), true) = (&mut self.head, head.status == 101) {
            // A switch of protocols is a success here (RFC 8441 §5).
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove("sec-websocket-accept");
        }
    }

    fn frame(&mut self, _: &mut Buffer, end: Option<&[u8]>) {
        if let Some(lines) = end.filter(|lines| !lines.is_empty()) {
            self.trailers = Some(map_of_trailers(lines));
        }
    }

    async fn send(&mut self, bytes: &mut Buffer, last: bool) -> io::Result<()> {
        let trailers = if last { self.trailers.take() } else { None };
        let ends = last && trailers.is_none();
        if let Some(head) = self.head.take() {
            self.begin(head, ends && bytes.is_empty())?;
            if ends && bytes.is_empty() {
                return Ok(());
            }
        }
        if !bytes.is_empty() {
            let going = self.turn.go(&self.service.local).await;
            // What the client's window has no place for is waited for here, the end of a response, too: so one block
            // is held at most, and a window that stays closed has a deadline.
            let length = bytes.len();
            let fits = self.with_body(|body| {
                body.reserve_capacity(length);
                Ok(body.capacity() >= length)
            })?;
            self.with_body(|body| body.send_data(std::mem::take(bytes), ends && fits))?;
            if last && fits {
                going.end(false, &self.service.local);
            } else {
                let more = !last && length >= LARGE / 2;
                self.room(going, length, more).await?;
                if ends {
                    self.with_body(|body| body.send_data(Buffer::default(), true))?;
                }
            }
        } else if ends {
            self.with_body(|body| body.send_data(Buffer::default(), true))?;
        }
        if let Some(trailers) = trailers {
            self.with_body(|body| body.send_trailers(trailers))?;
        }
        Ok(())
    }
}

impl Http2Responder<'_> {
    /// `None`: the site server's status is none (RFC 9110 §15), which its reader refuses.
    fn response(&self, head: &ResponseHead<'_, '_>, body: BodyEnd) -> Option<Response<()>> {
        let mut fields = MapSink(HeaderMap::with_capacity(head.headers().len() + 2));
        let told = (Version::Http2, Reuse::Keep, body);
        with_reply(self.service, self.site, self.locations.as_ref(), self.scheme, told, |reply| {
            each_response_field(&mut fields, head, reply);
        });
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).ok()?;
        *response.headers_mut() = fields.0;
        Some(response)
    }

    fn begin(&self, head: Response<()>, ends: bool) -> io::Result<()> {
        let mut sending = self.sending.borrow_mut();
        if let Sending::Head(response) = &mut *sending {
            let body = response.send_response(head, ends).map_err(io::Error::other)?;
            *sending = Sending::Body(body);
        }
        Ok(())
    }

    /// Waits until the client's window has a place for more than what was given before: so many octets at last. Less urgent
    /// streams wait, too, unless it takes long: then it is this stream alone that the client does not read.
    async fn room(&mut self, going: Going<'_>, length: usize, more: bool) -> io::Result<()> {
        let local = &self.service.local;
        let (patience, since_ms) = (self.pace.allows(length).min(self.idle), local.clock.now_ms());
        let held = patience.min(HELD_BACK_MAX);
        let mut room = within(local, held, |context| self.poll_room(context)).await;
        going.end(more && room.is_some(), local);
        if room.is_none() {
            room = within(local, patience - held, |context| self.poll_room(context)).await;
        }
        self.pace.moved(local.clock.now_ms() - since_ms, length);
        match room {
            Some(true) => Ok(()),
            Some(false) => Err(io::ErrorKind::BrokenPipe.into()),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn poll_room(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut sending = self.sending.borrow_mut();
        let Sending::Body(body) = &mut *sending else {
            return Poll::Ready(false);
        };
        body.reserve_capacity(1);
        loop {
            if body.capacity() > 0 {
                return Poll::Ready(true);
            }
            match body.poll_capacity(context) {
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(_))) => return Poll::Ready(true),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn with_body<T>(
        &self,
        work: impl FnOnce(&mut SendStream<Buffer>) -> Result<T, h2::Error>,
    ) -> io::Result<T> {
        match &mut *self.sending.borrow_mut() {
            Sending::Body(body) => work(body).map_err(io::Error::other),
            Sending::Head(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}
