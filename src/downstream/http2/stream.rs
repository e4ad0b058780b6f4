//! One stream: its request decided and answered like one of HTTP/1.1.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use http::request::Parts;
use httparse::{EMPTY_HEADER, Header};

use super::body::Http2Body;
use super::responder::{Http2Responder, Sending};
use super::{Shared, tunnel};
use crate::downstream::Visitor;
use crate::downstream::answer::Answer;
use crate::downstream::plan::{Forward, Plan, decide};
use crate::downstream::service::Service;
use crate::http::{BodyEnd, HEADERS_CEILING, Limits, Reuse, Scheme};
use crate::http1::{BadRequest, Flaw, RequestKind, header_slots, parse_response, request_from_http2};
use crate::net::Buffer;
use crate::proxy::{Cut, Ended, Exchange, First, Responder as _, first};

/// Octets of a `Sec-WebSocket-Key` before they are encoded (RFC 6455 §4.1).
const KEY_BYTES: usize = 16;

/// Serves one request to its end, or until the client takes it back.
pub(super) async fn serve(
    service: &Service,
    visitor: &Visitor,
    shared: &Shared,
    request: Request<RecvStream>,
    respond: SendResponse<Buffer>,
) {
    let (head, body) = request.into_parts();
    let plan = plan(service, visitor, &head, body.is_end_stream());
    drop(head);
    let sending = RefCell::new(Sending::Head(respond));
    let reset = || poll_fn(|context| sending.borrow_mut().poll_reset(context));
    match plan {
        Plan::Forward(forward) => {
            let mut work = pin!(self::forward(service, &sending, forward, body));
            // An exchange that is dropped takes its connection to the site server along: nothing on it is
            // trusted any more, and what was in flight is of no use to anybody.
            if let First::Right(()) = first(work.as_mut(), pin!(reset()).as_mut()).await {
                service.counters.http2_streams_reset.add(1);
            }
        }
        Plan::Answer(answer) => {
            if answer.reuse == Reuse::Close {
                shared.close();
            }
            let mut responder = own_answer(service, &sending, visitor.scheme);
            let mut work = pin!(self::answer(&mut responder, answer));
            let _ = first(work.as_mut(), pin!(reset()).as_mut()).await;
        }
        Plan::NeedMore => {}
    }
}

/// The request in the words of the decision, and what it gets.
fn plan(service: &Service, visitor: &Visitor, parts: &Parts, ends: bool) -> Plan {
    let serving = service.serving();
    let limits = &serving.limits;
    let mut slots = [EMPTY_HEADER; HEADERS_CEILING];
    let refuse = |refused: BadRequest| {
        Plan::Answer(Answer::malformed(service, refused.status(), refused.reason()))
    };
    // A CONNECT of RFC 8441 is a WebSocket handshake in HTTP/1.1.
    let protocol = parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str());
    let method = if protocol.is_some() { "GET" } else { parts.method.as_str() };
    let key = STANDARD.encode(&service.ids.next()[..KEY_BYTES]);
    let extra = protocol.map(|_| Header { name: "sec-websocket-key", value: key.as_bytes() });
    let fields = parts.headers.iter().map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() });
    let mut count = 0;
    for field in fields.chain(extra) {
        match slots.get_mut(count) {
            Some(slot) => *slot = field,
            None => return refuse(Flaw::TooManyFields.into()),
        }
        count += 1;
    }
    let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let read = request_from_http2(
        method,
        authority.as_bytes(),
        path.as_bytes(),
        &slots[..count],
        ends || protocol.is_some(),
        limits,
    );
    match read {
        Ok(mut head) => {
            head.upgrade = protocol.map(str::as_bytes);
            decide(service, &serving, visitor, &head)
        }
        Err(refused) => refuse(refused),
    }
}

async fn forward(service: &Service, sending: &RefCell<Sending>, forward: Forward, stream: RecvStream) {
    let serving = forward.serving;
    let site = serving.generation.site(forward.site);
    let idle = service.timeouts().body_idle;
    let mut responder = Http2Responder {
        sending,
        local: &service.local,
        site: Some(site),
        scheme: forward.scheme,
        idle,
        head: None,
        trailers: None,
    };
    let exchange = Exchange {
        all: &serving.upstreams,
        upstreams: &site.upstreams,
        kind: forward.kind,
        repeatable: forward.repeatable,
        body: forward.body,
    };
    let length = match forward.body {
        BodyEnd::Length(length) => Some(length),
        _ => None,
    };
    let mut body = Http2Body::new(
        stream,
        (&service.local, &service.counters),
        idle,
        length,
        site.request_body_bytes_max,
    );
    let has_body = !forward.body.is_empty();
    let rest = has_body.then_some(&mut body);
    let ended = service.proxy.exchange(&exchange, forward.request, rest, &mut responder).await;
    match ended {
        Ended::Answered { .. } => service.counters.requests_forwarded.add(1),
        Ended::Unanswered(failure) => {
            tracing::debug!(
                reason = failure.reason(),
                status = failure.status(),
                "no answer from a site server"
            );
            let page = Answer::failed(service, failure.status(), forward.kind.head, Reuse::Keep, true);
            answer(&mut own_answer(service, sending, forward.scheme), page).await;
        }
        // Half a response must not look whole (RFC 9113 §8.1).
        Ended::Cut(Cut::Upstream) => sending.borrow_mut().reset(Reason::INTERNAL_ERROR),
        Ended::Cut(Cut::Downstream) => sending.borrow_mut().reset(Reason::CANCEL),
        Ended::Tunnel { upstream, first } => {
            body.allowed = u64::MAX;
            responder.idle = service.timeouts().tunnel_idle;
            responder.site = None;
            let tunnel = tunnel::run(&mut responder, &mut body, upstream, first, &service.local);
            if tunnel.await.is_err() {
                sending.borrow_mut().reset(Reason::CANCEL);
            }
        }
    }
}

fn own_answer<'a>(service: &'a Service, sending: &'a RefCell<Sending>, scheme: Scheme) -> Http2Responder<'a> {
    Http2Responder {
        sending,
        local: &service.local,
        site: None,
        scheme,
        idle: service.timeouts().body_idle,
        head: None,
        trailers: None,
    }
}

/// Our answers are written once, in the form of HTTP/1.1, and take the way of those of site servers.
async fn answer(responder: &mut Http2Responder<'_>, mut answer: Answer) {
    let mut slots = header_slots();
    let kind = RequestKind { head: answer.head_only, upgrade: false };
    let head = match parse_response(answer.bytes.filled(), &mut slots, kind, &Limits::default()) {
        Ok(Some(head)) => head,
        // What we write we can read; were it not so, the stream would be the least to lose.
        Ok(None) | Err(_) => return responder.sending.borrow_mut().reset(Reason::INTERNAL_ERROR),
    };
    let head_bytes = head.head_bytes;
    responder.write_head(&head, &mut Vec::new());
    answer.bytes.consume(head_bytes);
    // A client that has gone needs no answer.
    let _ = responder.send(&mut answer.bytes, true).await;
}
