//! One exchange from checkout to the end of the response, with the one repetition that is safe.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::race::{First, first};
use super::relay::Stopped;
use super::upload::{Uploaded, upload};
use super::{BodyFailure, Cut, Ended, Failure, RequestBody, Responder};
use crate::config::UpstreamId;
use crate::http::{BodyEnd, Limits, Reuse};
use crate::http1::RequestKind;
use crate::metrics::Counters;
use crate::net::{Buffer, Local};
use crate::upstream::{ConnectFailure, Connection, Pool, Upstreams, Wanted};

/// What an exchange is about, besides its bytes.
pub struct Exchange<'a> {
    /// The site servers of the generation that decided.
    pub all: &'a Upstreams,
    /// Those of the site; never empty.
    pub upstreams: &'a [UpstreamId],
    /// What the response's framing depends on.
    pub kind: RequestKind,
    /// The method is idempotent (RFC 9110 §9.2.2).
    pub repeatable: bool,
    /// How the body that follows the bytes in hand goes on.
    pub body: BodyEnd,
    /// What is told of it.
    pub account: &'a Account,
}

#[derive(Clone, Copy, Debug)]
pub struct ProxyLimits {
    /// Of response heads.
    pub response: Limits,
    pub response_head: Duration,
    pub body_idle: Duration,
    pub tunnel_idle: Duration,
}

/// The worker's way to the site servers.
pub struct Proxy {
    pub(super) local: Local,
    limits: Cell<ProxyLimits>,
    pub(super) counters: Arc<Counters>,
    pool: Pool,
    // Heads are written here and copied in front of bodies at once; never held across an await.
    pub(super) scratch: RefCell<Vec<u8>>,
    // Which of several upstreams is asked first.
    turn: Cell<usize>,
}

impl Proxy {
    pub fn new(pool: Pool, limits: ProxyLimits, local: Local, counters: Arc<Counters>) -> Proxy {
        Proxy {
            local,
            limits: Cell::new(limits),
            counters,
            pool,
            scratch: RefCell::default(),
            turn: Cell::new(0),
        }
    }

    /// Those of the generation that serves.
    pub fn limits(&self) -> ProxyLimits {
        self.limits.get()
    }

    /// For exchanges under way, too, from their next wait on.
    pub fn set_limits(&self, limits: ProxyLimits) {
        self.limits.set(limits);
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sends a request and relays its response.
    ///
    /// `request`: the head as it goes on, and the octets of the body in hand. `body`: where the rest comes
    /// from; `None` when it is all there.
    pub async fn exchange<B: RequestBody, R: Responder>(
        &self,
        exchange: &Exchange<'_>,
        mut request: Buffer,
        mut body: Option<&mut B>,
        responder: &mut R,
    ) -> Ended {
        let whole = request.mark();
        let mut wanted = Wanted::Any;
        loop {
            let connection = match self.connect(exchange, wanted).await {
                Ok(connection) => connection,
                Err(failure) => return self.failed(failure),
            };
            let (result, request_whole) =
                self.attempt(exchange, &connection, &mut request, body.as_deref_mut(), responder).await;
            match result {
                Ok(relayed) => {
                    if request_whole && relayed.reuse == Reuse::Keep {
                        self.pool.give_back(connection);
                    }
                    return Ended::Answered { status: relayed.status, request_whole };
                }
                Err(Stopped::Silent) if connection.reused && exchange.repeatable && body.is_none() => {
                    // It had been closed while it waited: nothing was answered, so ask once more.
                    self.counters.upstream_retries.add(1);
                    exchange.account.retries.set(exchange.account.retries.get() + 1);
                    request.restore(whole);
                    wanted = Wanted::New;
                }
                Err(Stopped::Silent) => return self.failed(Failure::ClosedEarly),
                Err(Stopped::Unanswered(failure)) => return self.failed(failure),
                Err(Stopped::Cut(cut)) => {
                    if cut == Cut::Upstream {
                        self.counters.upstream_failures.add(1);
                    }
                    return Ended::Cut(cut);
                }
                Err(Stopped::Tunnel(first)) => return Ended::Tunnel { upstream: connection, first },
            }
        }
    }

    fn failed(&self, failure: Failure) -> Ended {
        if failure.is_upstream() {
            self.counters.upstream_failures.add(1);
        }
        Ended::Unanswered(failure)
    }

    /// Uses one connection. Also says whether the request went out whole.
    async fn attempt<B: RequestBody, R: Responder>(
        &self,
        exchange: &Exchange<'_>,
        connection: &Connection,
        request: &mut Buffer,
        body: Option<&mut B>,
        responder: &mut R,
    ) -> (Result<super::relay::Relayed, Stopped>, bool) {
        let upstream = &connection.socket;
        let idle = self.limits().body_idle;
        // A server that answers before it has read the request may close: what it said is there to read.
        let sent = upstream.send(request, || self.local.clock.after(idle)).await;
        let answered = Cell::new(false);
        let Some(body) = body else {
            return (self.relay(exchange, upstream, responder, &answered).await, sent.is_ok());
        };
        let mut relay = pin!(self.relay(exchange, upstream, responder, &answered));
        if sent.is_err() {
            return (relay.await, false);
        }
        let all_read = Cell::new(false);
        let mut upload = pin!(upload(body, exchange, upstream, &self.local, idle, &all_read));
        match first(upload.as_mut(), relay.as_mut()).await {
            // The answer to the last octet can be here before the ring has told that the octet was sent.
            First::Right(result) if all_read.get() => {
                let whole = matches!(upload.await, Uploaded::Whole);
                (result, whole)
            }
            First::Right(result) => (result, false),
            First::Left(Uploaded::Whole) => (relay.await, true),
            First::Left(Uploaded::Refused) => (relay.await, false),
            First::Left(Uploaded::Failed(failure)) => (Err(body_failed(failure, answered.get())), false),
        }
    }

    async fn connect(&self, exchange: &Exchange<'_>, wanted: Wanted) -> Result<Connection, Failure> {
        let (upstreams, account) = (exchange.upstreams, exchange.account);
        if account.asked_us.get() == 0 {
            account.asked_us.set(self.local.clock.now_us());
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut failure = Failure::NoUpstream;
        for step in 0..upstreams.len() {
            let id = upstreams[turn.wrapping_add(step) % upstreams.len()];
            account.upstream.replace(Some(exchange.all.label(id)));
            if step > 0 {
                account.retries.set(account.retries.get() + 1);
            }
            match self.pool.checkout(exchange.all, id, wanted).await {
                Ok(connection) => {
                    account.reused.set(connection.reused);
                    let connected = match connection.reused {
                        true => account.asked_us.get(),
                        false => self.local.clock.now_us(),
                    };
                    account.connected_us.set(connected);
                    let counter = match connection.reused {
                        true => &self.counters.upstream_reuses,
                        false => &self.counters.upstream_connects,
                    };
                    counter.add(1);
                    return Ok(connection);
                }
                Err(ConnectFailure::TimedOut) => failure = Failure::ConnectTimedOut,
                Err(ConnectFailure::Failed(error)) => {
                    tracing::debug!(%error, "a site server could not be reached");
                    failure = Failure::NoUpstream;
                }
            }
        }
        Err(failure)
    }
}

fn body_failed(failure: BodyFailure, answered: bool) -> Stopped {
    match failure {
        _ if answered => Stopped::Cut(Cut::Downstream),
        BodyFailure::Gone => Stopped::Cut(Cut::Downstream),
        BodyFailure::TimedOut => Stopped::Unanswered(Failure::BodyTimedOut),
        BodyFailure::TooLarge => Stopped::Unanswered(Failure::BodyTooLarge),
        BodyFailure::Malformed => Stopped::Unanswered(Failure::BodyMalformed),
    }
}
