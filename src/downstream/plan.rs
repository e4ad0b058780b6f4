//! What to do about a request whose head is in the buffer: parsed, decided and rebuilt in one go.
//!
//! Nothing borrowed from the head outlives this: an exchange gets the bytes it sends and a few words.

use std::rc::Rc;
use std::time::Instant;

use crate::access_log::Decision;
use crate::config::{Generation, PathReading, ServedSite};
use crate::dispatch::{Action, Handshake, Question, SiteId, write_normalized};
use crate::http::cookies::Judge;
use crate::http::told;
use crate::http::{BodyEnd, Forwarded, Hop, Reuse, Scheme, Told, Version};
use crate::http1::{
    BodyReader, HeadScan, Outbound, RequestHead, RequestKind, header_slots, parse_scanned_request,
    write_request,
};
use crate::net::Buffer;
use crate::proxy::append_chunk;

use super::answer::Answer;
use super::identity::IdentityFields;
use super::location::RequestHost;
use super::record::{Came, Decided, Record};
use super::service::Service;
use super::serving::Serving;
use super::session_cookies::SessionCookies;
use super::{Shaken, Visitor};

/// How often a request may have been here before: front ends of one house may well stand behind each other.
const OWN_HOPS_MAX: u8 = 4;

/// What comes next for a connection.
pub(super) enum Plan {
    /// The head is not whole yet.
    NeedMore,
    /// We answer ourselves.
    Answer(Answer),
    /// A site server answers.
    Forward(Forward),
}

/// A request on its way to a site server, and what its answer needs to know.
pub(super) struct Forward {
    /// What it was decided by; `site` is one of its sites.
    pub(super) serving: Rc<Serving>,
    pub(super) site: SiteId,
    /// The one it was decided for.
    pub(super) scheme: Scheme,
    pub(super) host: RequestHost,
    /// The rebuilt head, and those octets of the body that were in hand.
    pub(super) request: Buffer,
    /// Reads the rest of the body; `None` when all of it is in `request`.
    pub(super) rest: Option<BodyReader>,
    /// How the body goes on to the site server.
    pub(super) body: BodyEnd,
    /// Octets of the body that are still to come, when known.
    pub(super) remaining: Option<u64>,
    pub(super) kind: RequestKind,
    pub(super) repeatable: bool,
    pub(super) version: Version,
    pub(super) reuse: Reuse,
    pub(super) record: Record,
}

/// Looks for a whole head at the front of `input` and decides what it gets; consumes it when it is whole. `came`: when
/// its first byte did, and the last there is.
pub(super) fn plan(
    service: &Service,
    visitor: &Visitor,
    scan: &mut HeadScan,
    input: &mut Buffer,
    came: Came,
) -> Plan {
    let serving = service.serving();
    let unreadable = |status, reason| {
        let record = Record::begin(service, &serving, visitor, came, None, Decided::UNREADABLE);
        Plan::Answer(Answer::malformed(service, record, status, reason))
    };
    let span = match scan.request(input.filled(), &serving.limits) {
        Ok(Some(span)) => span,
        Ok(None) => return Plan::NeedMore,
        Err(refused) => return unreadable(refused.status(), refused.reason()),
    };
    scan.reset();
    let mut slots = header_slots();
    let (plan, head_bytes, body) =
        match parse_scanned_request(input.filled(), span, &mut slots, &serving.limits) {
            Err(refused) => return unreadable(refused.status(), refused.reason()),
            Ok(head) => (decide(service, &serving, visitor, came, &head), head.head_bytes, head.body),
        };
    input.consume(head_bytes);
    match plan {
        Plan::Forward(mut forward) => match take_body_in_hand(&mut forward, body, input) {
            Ok(()) => Plan::Forward(forward),
            Err((status, reason)) => Plan::Answer(Answer::malformed(service, forward.record, status, reason)),
        },
        other => other,
    }
}

pub(super) fn decide(
    service: &Service,
    serving: &Rc<Serving>,
    visitor: &Visitor,
    came: Came,
    head: &RequestHead<'_, '_>,
) -> Plan {
    service.counters.requests.add(1);
    let generation = &serving.generation;
    let handshake = visitor
        .handshake
        .as_ref()
        .map(|shaken| Handshake { site: shaken.site_in(generation), certificate: &*shaken.tls });
    let trusted = visitor.listener.trusts(visitor.peer.ip());
    let told = match trusted.then(|| Told::read(head.headers())) {
        None => Told::default(),
        Some(Ok(told)) => told,
        Some(Err(bad)) => {
            let told = (visitor.scheme, head.authority(), head);
            let record = Record::begin(service, serving, visitor, came, Some(told), Decided::UNREADABLE);
            return Plan::Answer(Answer::error(service, record, head, head.reuse, (400, bad.reason()), None));
        }
    };
    if let Some(refused) = over_limits(service, generation, visitor, trusted, head) {
        let told = (visitor.scheme, head.authority(), head);
        let record = Record::begin(service, serving, visitor, came, Some(told), Decided::UNREADABLE);
        return Plan::Answer(Answer::error(service, record, head, head.reuse, refused, None));
    }
    let scheme = told.scheme.unwrap_or(visitor.scheme);
    let authority = told.host.unwrap_or(head.authority());
    let question = Question {
        scheme,
        handshake,
        authority,
        method: head.method.as_bytes(),
        target: head.path_and_query(),
    };
    let decision = generation.sites.decide(&question);
    let mut decided = Decided::of(&decision, &generation.sites);
    let challenge = service.challenges.http(serving, head);
    if challenge.is_some() {
        decided.decision = Decision::Challenge;
    }
    let record = Record::begin(service, serving, visitor, came, Some((scheme, authority, head)), decided);
    if let Some(text) = challenge {
        return Plan::Answer(Answer::octets(service, record, head, &text));
    }
    // Answers of ours carry it, too: the redirect of an alias may be all a browser ever gets there.
    let hsts = decision.site.and_then(|site| generation.site(site).hsts_on(scheme));
    match decision.action {
        Action::Forward => {}
        Action::Redirect(redirect) => {
            return Plan::Answer(Answer::redirect(service, record, head, &redirect, hsts));
        }
        Action::NotFound => {
            return Plan::Answer(Answer::error(service, record, head, head.reuse, (404, "no_rule"), hsts));
        }
        Action::Refuse(refusal) => {
            // A handshake that counts no more is one for every request: the client must begin with a new one.
            let outdated = handshake.is_some_and(|handshake| handshake.site.is_none());
            // Nor does one go on whose client names hosts or targets that can be read in several ways.
            let reuse = if outdated || refusal.status() == 400 { Reuse::Close } else { head.reuse };
            let why = (refusal.status(), refusal.reason());
            // Refused by what the handshake was: it is not this site's to say.
            let hsts = hsts.filter(|_| refusal.status() == 400);
            return Plan::Answer(Answer::error(service, record, head, reuse, why, hsts));
        }
    }
    let site = decision.site.expect("a request that is forwarded has a site");
    let is_for = |shaken: &Shaken| shaken.is_for(generation, site, authority);
    if !visitor.handshake.as_ref().is_none_or(is_for) {
        let why = (421, "other-tls-policy");
        return Plan::Answer(Answer::error(service, record, head, head.reuse, why, None));
    }
    let served = generation.site(site);
    // A request of HTTP/1.0 that names no host was decided for this one, if it has a name.
    let authority = match authority {
        b"" => generation.sites.site(site).canonical_host().unwrap_or_default(),
        named => named,
    };
    if matches!(head.body, BodyEnd::Length(length) if length > served.request_body_bytes_max) {
        return Plan::Answer(Answer::error(service, record, head, head.reuse, (413, "body_too_large"), hsts));
    }
    let forwarded = Forwarded {
        client: visitor.peer,
        scheme,
        host: authority,
        port: generation.outside_port(scheme),
        request_id: &record.id,
        trusted: trusted.then(|| Hop { scheme: visitor.scheme, host: head.authority() }),
    };
    let mut normalized = service.target_scratch.borrow_mut();
    let target = forwarded_target(served, head.path_and_query(), &mut normalized);
    let sealing = SessionCookies::of(service, served, scheme);
    let judge = sealing
        .as_ref()
        .map(|sealing| |name: &[u8], value: &[u8], out: &mut Vec<u8>| sealing.incoming(name, value, out));
    let identity = IdentityFields::of(generation, visitor, site);
    let outbound = Outbound {
        target,
        forwarded: &forwarded,
        body: head.body,
        tunnel: head.upgrade.is_some(),
        expect_continue: head.expects_continue,
        host: authority,
        set: identity.as_slice(),
        cookies: judge.as_ref().map(|judge| judge as &Judge<'_>),
    };
    let mut written = service.scratch.borrow_mut();
    written.clear();
    write_request(&mut written, head, &outbound);
    let mut request = service.local.buffers.at_least(written.len());
    request.append(&written);
    Plan::Forward(Forward {
        serving: serving.clone(),
        site,
        scheme,
        host: RequestHost::of(authority),
        request,
        rest: None,
        body: head.body,
        remaining: None,
        kind: RequestKind { head: head.method == "HEAD", upgrade: head.upgrade.is_some() },
        repeatable: is_idempotent(head.method),
        version: head.version,
        reuse: head.reuse,
        record,
    })
}

/// Status and reason for a request that is one too many, whatever it asks for.
fn over_limits(
    service: &Service,
    generation: &Generation,
    visitor: &Visitor,
    trusted: bool,
    head: &RequestHead<'_, '_>,
) -> Option<(u16, &'static str)> {
    if head.own_hops > OWN_HOPS_MAX {
        service.counters.requests_looping.add(1);
        return Some((508, "loop_detected"));
    }
    let rate = generation.config.limits.requests_per_address?;
    // A proxy of the operator's brings requests of many: it says whose. When it does not, nobody is counted.
    let client = if trusted { told::client(head.headers())? } else { visitor.peer.ip() };
    if generation.address_limits.request(client, rate, Instant::now()).is_ok() {
        return None;
    }
    service.counters.requests_limited.add(1);
    Some((429, "requests_per_address"))
}

/// The target as the site server gets it. `*` has no path to normalize.
fn forwarded_target<'a>(site: &ServedSite, target: &'a [u8], normalized: &'a mut Vec<u8>) -> &'a [u8] {
    normalized.clear();
    match site.path_reading {
        PathReading::Normalized if write_normalized(target, normalized) => normalized,
        PathReading::Raw | PathReading::Normalized => target,
    }
}

/// Moves what was read of the body behind the head it goes with, so that both leave in one send.
///
/// # Errors
/// The status and the reason to refuse the request with; nothing was sent by then.
fn take_body_in_hand(
    forward: &mut Forward,
    body: BodyEnd,
    input: &mut Buffer,
) -> Result<(), (u16, &'static str)> {
    match body {
        BodyEnd::None | BodyEnd::Close => {}
        BodyEnd::Length(length) => {
            let taken = usize::try_from(length).unwrap_or(usize::MAX).min(input.len());
            forward.request.append(&input.filled()[..taken]);
            input.consume(taken);
            forward.record.add_body(taken);
            let left = length - taken as u64;
            if left > 0 {
                forward.rest = Some(BodyReader::new(BodyEnd::Length(left)));
                forward.remaining = Some(left);
            }
        }
        BodyEnd::Chunked => {
            let mut reader = BodyReader::new(BodyEnd::Chunked);
            reader.limit(forward.serving.generation.site(forward.site).request_body_bytes_max);
            let read = reader.read(input.filled_mut());
            let progress = read.map_err(|broken| (broken.status(), broken.reason()))?;
            let end = progress.end.then(|| reader.trailers());
            append_chunk(&mut forward.request, &input.filled()[..progress.data], end);
            input.consume(progress.consumed);
            forward.record.add_body(progress.data);
            if !progress.end {
                forward.rest = Some(reader);
            }
        }
    }
    Ok(())
}

/// Idempotent methods (RFC 9110 §9.2.2): repeating them does nothing new.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}
