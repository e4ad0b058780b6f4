//! HTTP/1.1 with a client: requests one after another, answered in order.

use std::io;
use std::time::Duration;

use super::Visitor;
use super::answer::Answer;
use super::location::Locations;
use super::plan::{Forward, Plan, plan};
use super::record::{Came, Decided, Record};
use super::request_body::Http1Body;
use super::responder::Http1Responder;
use super::service::Service;
use crate::http::{BodyEnd, Reuse};
use crate::http1::HeadScan;
use crate::net::{Buffer, LARGE, Stream};
use crate::proxy::{Cut, Ended, Exchange};

/// After our last byte: how long and how much we still read, so that closing does not reset the
/// connection before the client has read the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 512 * 1024;

/// What follows a request.
enum Next {
    /// The connection takes another request.
    Request,
    /// No request is under way, and none will come.
    Goodbye,
    /// We have said all; the client may still be sending.
    Linger,
    /// It is over: the client has gone or was answered in full.
    Close,
}

/// How long the first request may take to come on a connection that was accepted just before a drain.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// Serves requests until the connection ends. Between requests a connection holds no buffer and no more
/// state than is here.
pub(super) async fn serve(service: &Service, stream: &Stream, visitor: Visitor) {
    let futures = &service.local.futures;
    let mut input = Buffer::default();
    loop {
        // While the worker drains, this is a connection from its last moments: the request is on its way.
        let patience = match service.is_draining() {
            true => service.timeouts().keep_alive.min(DRAIN_PATIENCE),
            false => service.timeouts().keep_alive,
        };
        let waited = stream.idle(service.local.clock.after(patience)).await;
        let next = match waited {
            Ok(()) => futures.place(|| busy(service, stream, &visitor, &mut input)).await,
            Err(error) => {
                service.idle_ended(&error);
                Next::Goodbye
            }
        };
        match next {
            Next::Request => input = Buffer::default(),
            Next::Goodbye => return futures.place(|| goodbye(service, stream)).await,
            Next::Linger => return futures.place(|| linger(service, stream, input)).await,
            Next::Close => return,
        }
    }
}

/// Serves the requests that have come, until none is in hand.
async fn busy(service: &Service, stream: &Stream, visitor: &Visitor, input: &mut Buffer) -> Next {
    let mut scan = HeadScan::new();
    *input = service.local.buffers.small();
    loop {
        let next = match next_plan(service, stream, visitor, &mut scan, input).await {
            Ok(Plan::Forward(forward)) => self::forward(service, stream, visitor, forward, input).await,
            Ok(Plan::Answer(answer)) => self::answer(service, stream, answer, input).await,
            Ok(Plan::NeedMore) => Next::Close,
            Err(next) => next,
        };
        match next {
            Next::Request if !input.is_empty() => {}
            next => return next,
        }
    }
}

/// Reads until a request is whole and decided on.
///
/// # Errors
/// What becomes of the connection when no request came.
async fn next_plan(
    service: &Service,
    stream: &Stream,
    visitor: &Visitor,
    scan: &mut HeadScan,
    input: &mut Buffer,
) -> Result<Plan, Next> {
    let until = service.local.clock.after(service.timeouts().request_head);
    let now_us = || service.local.clock.now_us();
    let mut came = Came { first_byte_us: 0, head_us: 0 };
    let unreadable = |came| {
        let serving = service.serving();
        Record::begin(service, &serving, visitor, came, None, Decided::UNREADABLE)
    };
    loop {
        if !input.is_empty() {
            came.head_us = now_us();
            if came.first_byte_us == 0 {
                came.first_byte_us = came.head_us;
            }
            match plan(service, visitor, scan, input, came) {
                Plan::NeedMore => {}
                decided => return Ok(decided),
            }
        }
        make_room(service, input);
        match stream.fill(input, until).await {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !input.is_empty() => {
                service.counters.requests_timed_out.add(1);
                came.head_us = now_us();
                let answer = Answer::malformed(service, unreadable(came), 408, "request_head_timed_out");
                return Ok(Plan::Answer(answer));
            }
            Ok(0) | Err(_) if input.is_empty() => return Err(Next::Goodbye),
            Ok(0) | Err(_) => {
                unreadable(came).end(service, Some("client_gone"));
                return Err(Next::Close);
            }
        }
    }
}

/// Ends a connection that waits for a request.
async fn goodbye(service: &Service, stream: &Stream) {
    stream.say_goodbye(service.local.clock.after(LINGER)).await;
}

/// A head larger than a small buffer gets a large one; the limit on heads is checked by their reader.
fn make_room(service: &Service, input: &mut Buffer) {
    if input.spare() > 0 {
        return;
    }
    input.compact();
    if input.spare() == 0 {
        let mut larger = service.local.buffers.at_least((input.len() * 2).max(LARGE));
        larger.append(input.filled());
        *input = larger;
    }
}

async fn answer(service: &Service, stream: &Stream, mut answer: Answer, input: &mut Buffer) -> Next {
    let idle = service.timeouts().body_idle;
    let until = || service.local.clock.after(idle);
    let sent = match answer.reuse {
        Reuse::Close => stream.send_last(&mut answer.bytes, until).await,
        Reuse::Keep => stream.send(&mut answer.bytes, until).await,
    };
    let reason = answer.reason.or(sent.is_err().then_some("client_gone"));
    answer.record.end(service, reason);
    if answer.reuse == Reuse::Close {
        return match sent {
            Ok(()) if answer.whole && input.is_empty() => Next::Close,
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        };
    }
    if sent.is_err() {
        return Next::Close;
    }
    let mut pace = service.pace();
    while answer.skip > 0 {
        if input.is_empty() {
            if !input.has_block() {
                *input = service.local.buffers.small();
            }
            let clock = &service.local.clock;
            let (since_ms, late) = (clock.now_ms(), clock.after(pace.allows(0)));
            match stream.fill(input, until().min(late)).await {
                Ok(count @ 1..) => pace.moved(clock.now_ms() - since_ms, count),
                _ => return Next::Close,
            }
        }
        let skipped = input.len().min(usize::try_from(answer.skip).unwrap_or(usize::MAX));
        input.consume(skipped);
        answer.skip -= skipped as u64;
    }
    Next::Request
}

async fn forward(
    service: &Service,
    stream: &Stream,
    visitor: &Visitor,
    forward: Forward,
    input: &mut Buffer,
) -> Next {
    let Forward { serving, mut record, .. } = forward;
    let site = serving.generation.site(forward.site);
    let idle = service.timeouts().body_idle;
    let mut responder = Http1Responder {
        stream,
        service,
        site,
        locations: Locations::of(service, &serving, forward.site, forward.scheme, &forward.host),
        scheme: forward.scheme,
        version: forward.version,
        reuse: if service.is_draining() { Reuse::Close } else { forward.reuse },
        body: BodyEnd::None,
        idle,
        pace: service.pace(),
    };
    let exchange = Exchange {
        servers: serving.servers(forward.site),
        visitor: visitor.peer.ip(),
        facts: &|| visitor.facts(),
        kind: forward.kind,
        repeatable: forward.repeatable,
        body: forward.body,
        account: &record.account,
    };
    if input.is_empty() {
        // Nothing is held while the site server thinks.
        *input = Buffer::default();
    }
    let mut body = forward.rest.map(|reader| Http1Body {
        stream,
        local: &service.local,
        counters: &service.counters,
        input,
        reader,
        remaining: forward.remaining,
        idle,
        pace: service.pace(),
    });
    let ended = service.proxy.exchange(&exchange, forward.request, body.as_mut(), &mut responder).await;
    match ended {
        Ended::Answered { request_whole, .. } => {
            service.counters.requests_forwarded.add(1);
            record.end(service, None);
            drop(body);
            match (responder.reuse, request_whole) {
                (Reuse::Keep, true) => Next::Request,
                (Reuse::Close, true) if input.is_empty() => Next::Close,
                (Reuse::Close, _) => Next::Linger,
                (Reuse::Keep, false) => {
                    // The rest of the old body would be read as a request.
                    stream.say_goodbye(service.local.clock.after(LINGER)).await;
                    Next::Linger
                }
            }
        }
        Ended::Unanswered(failure) => {
            tracing::debug!(
                reason = failure.reason(),
                status = failure.status(),
                "no answer from a site server"
            );
            // A body that was not read to its end leaves no place for another request.
            let reuse = if body.is_none() { responder.reuse } else { Reuse::Close };
            let told = (record, failure.reason());
            let (whole, hsts) = (body.is_none(), site.hsts_on(forward.scheme));
            let page = Answer::failed(service, told, failure.status(), forward.kind.head, reuse, whole, hsts);
            drop(body);
            self::answer(service, stream, page, input).await
        }
        Ended::Cut(cut) => {
            record.end(service, Some(cut.reason()));
            if cut != Cut::Downstream {
                // Half a response must not look whole (RFC 9112 §8); and what a slow client has not taken is not kept for it
                // in the kernel.
                stream.socket().reset_on_close();
            }
            Next::Close
        }
        Ended::Tunnel { upstream, first } => {
            drop(body);
            // A tunnel may last for days; the generation must not.
            drop(serving);
            record.switched(service);
            let proxy = &service.proxy;
            let input = std::mem::take(input);
            let reason = proxy.tunnel(stream, first, upstream, input, &record.account).await;
            record.end(service, reason);
            Next::Close
        }
    }
}

/// Ends our side, then reads and drops what the client still sends, for a while.
pub(super) async fn linger(service: &Service, stream: &Stream, mut input: Buffer) {
    stream.socket().finish();
    let until = service.local.clock.after(LINGER);
    let mut left = LINGER_BYTES_MAX;
    while left > 0 {
        input.clear();
        if stream.socket().readable(until).await.is_err() {
            return;
        }
        if !input.has_block() {
            input = service.local.buffers.small();
        }
        // Below TLS: what it says does not matter any more.
        match stream.socket().receive(&mut input, until).await {
            Ok(received @ 1..) => left = left.saturating_sub(received),
            Ok(0) | Err(_) => return,
        }
    }
}
