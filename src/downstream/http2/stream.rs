//! One stream: its request decided and answered like one of HTTP/1.1.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Method, Request, Response};
use httparse::{EMPTY_HEADER, Header};

use super::body::Http2Body;
use super::priority::{Turn, Urgency};
use super::responder::{Http2Responder, Sending};
use super::{Shared, tunnel};
use crate::downstream::Visitor;
use crate::downstream::answer::Answer;
use crate::downstream::location::Locations;
use crate::downstream::plan::{Forward, Plan, decide};
use crate::downstream::record::{Came, Decided, Record};
use crate::downstream::service::Service;
use crate::http::{BodyEnd, HEADERS_CEILING, Limits, Reuse, Scheme};
use crate::http1::{BadRequest, Flaw, RequestKind, header_slots, parse_response, request_from_http2};
use crate::limits::Pace;
use crate::net::Buffer;
use crate::proxy::{Cut, Ended, Exchange, Failure, First, Responder as _, first};
use crate::upstream::Connection;

/// Octets of a `Sec-WebSocket-Key` before they are encoded (RFC 6455 §4.1).
const KEY_BYTES: usize = 16;
/// Fields that most requests have no more of: all there may be would be 8 KiB to write for each.
const FEW_FIELDS: usize = 32;
const KEY_FIELD: &str = "sec-websocket-key";

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
    let said = head.headers.get_all("priority").iter();
    let urgency =
        Cell::new(said.filter_map(|value| Urgency::read(value.as_bytes())).next_back().unwrap_or_default());
    let turn = Turn { turns: &shared.turns, urgency: &urgency };
    drop(head);
    let sending = RefCell::new(Sending::Head(respond));
    match plan {
        Plan::Forward(forward) => self::forward(service, visitor, (&sending, turn), forward, body).await,
        Plan::Answer(answer) => {
            if answer.reuse == Reuse::Close {
                shared.close();
            }
            self::answer(service, (&sending, turn), visitor.scheme, answer).await;
        }
        Plan::NeedMore => {}
    }
}

/// The request in the words of the decision, and what it gets.
fn plan(service: &Service, visitor: &Visitor, parts: &Parts, ends: bool) -> Plan {
    let now_us = service.local.clock.now_us();
    let came = Came { first_byte_us: now_us, head_us: now_us };
    let serving = service.serving();
    let refuse = |refused: BadRequest| {
        service.counters.requests_refused.add(1);
        let record = Record::begin(service, &serving, visitor, came, None, Decided::UNREADABLE);
        let told = (record, refused.reason());
        let head_only = parts.method == Method::HEAD;
        Plan::Answer(Answer::failed(service, told, refused.status(), head_only, Reuse::Keep, true, None))
    };
    // A CONNECT of RFC 8441 is an upgrade in HTTP/1.1; one to WebSocket has a key there, which is ours to make up.
    let protocol = parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str());
    let method = if protocol.is_some() { "GET" } else { parts.method.as_str() };
    let websocket = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    let key = websocket.then(|| STANDARD.encode(&service.ids.next()[..KEY_BYTES]));
    let extra = key.as_ref().map(|key| Header { name: KEY_FIELD, value: key.as_bytes() });
    let fields = parts.headers.iter().filter(|(name, _)| !(websocket && *name == KEY_FIELD));
    let fields = fields.map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() });
    let (mut few, mut many);
    let slots: &mut [Header<'_>] = match parts.headers.len() < FEW_FIELDS {
        true => {
            few = [EMPTY_HEADER; FEW_FIELDS];
            &mut few
        }
        false => {
            many = [EMPTY_HEADER; HEADERS_CEILING];
            &mut many
        }
    };
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
        &serving.limits,
    );
    match read {
        Ok(mut head) => {
            head.upgrade = protocol.map(str::as_bytes);
            decide(service, &serving, visitor, came, &head)
        }
        Err(refused) => refuse(refused),
    }
}

/// How an exchange ended for a stream.
enum Outcome<'a> {
    /// The response is complete, or the stream was reset. With a reason when it did not end as it should have.
    Over(Option<&'static str>),
    /// Nothing was sent.
    Unanswered(Failure),
    /// The site server switched protocols.
    Tunnel(Box<Switched<'a>>),
}

struct Switched<'a> {
    upstream: Connection,
    /// Says so, and is still to be sent; then `first`.
    head: Option<Response<()>>,
    first: Buffer,
    body: Http2Body<'a>,
}

async fn forward(
    service: &Service,
    visitor: &Visitor,
    (sending, turn): (&RefCell<Sending>, Turn<'_>),
    mut forward: Forward,
    stream: RecvStream,
) {
    let scheme = forward.scheme;
    let head_only = forward.kind.head;
    let hsts = forward.serving.generation.site(forward.site).hsts_on(scheme).map(<[u8]>::to_vec);
    let request = std::mem::take(&mut forward.request);
    let outcome = {
        let mut work = pin!(exchange(service, visitor, (sending, turn), &forward, request, stream));
        let mut reset = pin!(poll_fn(|context| sending.borrow_mut().poll_reset(context)));
        match first(work.as_mut(), reset.as_mut()).await {
            First::Left(outcome) => outcome,
            // An exchange that is dropped takes its connection to the site server along: what was in flight on
            // it is of no use to anybody.
            First::Right(()) => {
                service.counters.http2_streams_reset.add(1);
                Outcome::Over(Some("client_reset"))
            }
        }
    };
    let Forward { mut record, serving, .. } = forward;
    match outcome {
        Outcome::Over(reason) => record.end(service, reason),
        Outcome::Unanswered(failure) => {
            tracing::debug!(
                reason = failure.reason(),
                status = failure.status(),
                "no answer from a site server"
            );
            let told = (record, failure.reason());
            let hsts = hsts.as_deref();
            let page = Answer::failed(service, told, failure.status(), head_only, Reuse::Keep, true, hsts);
            answer(service, (sending, turn), scheme, page).await;
        }
        Outcome::Tunnel(switched) => {
            let Switched { upstream, head, first, mut body } = *switched;
            // A tunnel may last for days; the generation must not.
            drop(serving);
            let idle = service.timeouts().tunnel_idle;
            let mut responder = Http2Responder {
                turn,
                sending,
                service,
                site: None,
                locations: None,
                scheme,
                idle,
                pace: Pace::new(0, idle),
                head,
                trailers: None,
            };
            body.allowed = u64::MAX;
            record.switched(service);
            let account = &record.account;
            let ended =
                tunnel::run(&mut responder, &mut body, upstream, first, account, &service.local).await;
            if ended.is_err() {
                sending.borrow_mut().reset(Reason::CANCEL);
            }
            let reason = ended.err().map(|error| match error.kind() {
                io::ErrorKind::TimedOut => "tunnel_idle",
                io::ErrorKind::BrokenPipe => "client_gone",
                _ => "upstream_cut",
            });
            record.end(service, reason);
        }
    }
}

async fn exchange<'a>(
    service: &'a Service,
    visitor: &Visitor,
    (sending, turn): (&RefCell<Sending>, Turn<'_>),
    forward: &Forward,
    request: Buffer,
    stream: RecvStream,
) -> Outcome<'a> {
    let site = forward.serving.generation.site(forward.site);
    let idle = service.timeouts().body_idle;
    let mut responder = Http2Responder {
        turn,
        sending,
        service,
        site: Some(site),
        locations: Some(Locations::of(
            service,
            &forward.serving,
            forward.site,
            forward.scheme,
            &forward.host,
        )),
        scheme: forward.scheme,
        idle,
        pace: service.pace(),
        head: None,
        trailers: None,
    };
    let exchange = Exchange {
        servers: forward.serving.servers(forward.site),
        visitor: visitor.peer.ip(),
        facts: &|| visitor.facts(),
        kind: forward.kind,
        repeatable: forward.repeatable,
        body: forward.body,
        account: &forward.record.account,
    };
    let length = match forward.body {
        BodyEnd::Length(length) => Some(length),
        _ => None,
    };
    let ours = (&service.local, &*service.counters);
    let mut body = Http2Body::new(stream, ours, (idle, service.pace()), length, site.request_body_bytes_max);
    let rest = (!forward.body.is_empty()).then_some(&mut body);
    match service.proxy.exchange(&exchange, request, rest, &mut responder).await {
        Ended::Answered { .. } => {
            service.counters.requests_forwarded.add(1);
            Outcome::Over(None)
        }
        Ended::Unanswered(failure) => Outcome::Unanswered(failure),
        Ended::Cut(cut) => {
            let reason = reset_reason(cut, forward.record.account.reset.get());
            sending.borrow_mut().reset(reason);
            Outcome::Over(Some(cut.reason()))
        }
        Ended::Tunnel { upstream, first } => {
            Outcome::Tunnel(Box::new(Switched { upstream, head: responder.head.take(), first, body }))
        }
    }
}

/// Half a response must not look whole (RFC 9113 §8.1). A site server's own words are passed on where they say something
/// about the answer: clients of gRPC make a status of them. `said`: its code.
fn reset_reason(cut: Cut, said: Option<u32>) -> Reason {
    match (cut, said.map(Reason::from)) {
        (Cut::Downstream | Cut::TooSlow, _) => Reason::CANCEL,
        (Cut::Upstream, Some(said @ (Reason::CANCEL | Reason::ENHANCE_YOUR_CALM))) => said,
        (Cut::Upstream | Cut::Stalled, _) => Reason::INTERNAL_ERROR,
    }
}

/// Our answers are written once, in the form of HTTP/1.1, and take the way of those of site servers.
async fn answer(
    service: &Service,
    (sending, turn): (&RefCell<Sending>, Turn<'_>),
    scheme: Scheme,
    mut answer: Answer,
) {
    let idle = service.timeouts().body_idle;
    let mut responder = Http2Responder {
        turn,
        sending,
        service,
        site: None,
        locations: None,
        scheme,
        idle,
        pace: service.pace(),
        head: None,
        trailers: None,
    };
    let kind = RequestKind { head: answer.head_only, upgrade: false };
    let mut slots = header_slots();
    let head_bytes = match parse_response(answer.bytes.filled(), &mut slots, kind, &Limits::default()) {
        Ok(Some(head)) => {
            responder.write_head(&head, &mut Vec::new());
            head.head_bytes
        }
        // What we write we can read; were it not so, the stream would be the least to lose.
        Ok(None) | Err(_) => return sending.borrow_mut().reset(Reason::INTERNAL_ERROR),
    };
    answer.bytes.consume(head_bytes);
    let sent = responder.send(&mut answer.bytes, true).await;
    answer.record.end(service, answer.reason.or(sent.is_err().then_some("client_gone")));
}
