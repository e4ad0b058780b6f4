//! One exchange from the choice of a server to the end of the response, with the repetitions that are safe.
//!
//! A request goes to another server when nothing of it was sent to the first: that one could not be reached. And when its
//! method is idempotent, all of it is in hand and nothing was answered: then it may have been worked off twice, so a
//! budget bounds how often that happens ([`Budget`]), and a server that let the time for its answer pass is not followed
//! by another: what took it so long would take the next one as long.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::race::{First, first};
use super::relay::{RelayState, Stopped};
use super::upload::{Kept, Uploaded, upload};
use super::{BodyFailure, Cut, Ended, Failure, RequestBody, Responder};
use crate::http::{BodyEnd, Limits, Reuse};
use crate::http1::RequestKind;
use crate::metrics::Counters;
use crate::net::{Buffer, Local};
use crate::proxy_protocol::{self, Facts};
use crate::upstream::{Balancer, Broken, Change, ConnectFailure, Connection, Pool, Tried, Wanted};

/// What an exchange is about, besides its bytes.
pub struct Exchange<'a> {
    /// What chooses among the site's servers.
    pub servers: &'a Balancer,
    /// Who asks.
    pub visitor: IpAddr,
    /// What is told of the visitor's connection to site servers that want to know it before all else.
    pub facts: &'a dyn Fn() -> Facts<'a>,
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
    /// Requests sent again, for each hundred that come.
    pub retry_percent: u32,
}

/// The worker's way to the site servers.
pub struct Proxy {
    pub(super) local: Local,
    limits: Cell<ProxyLimits>,
    pub(super) counters: Arc<Counters>,
    pool: Pool,
    // Heads are written here and copied in front of bodies at once; never held across an await.
    pub(super) scratch: RefCell<Vec<u8>>,
    budget: Budget,
}

impl Proxy {
    pub fn new(pool: Pool, limits: ProxyLimits, local: Local, counters: Arc<Counters>) -> Proxy {
        Proxy {
            local,
            limits: Cell::new(limits),
            counters,
            pool,
            scratch: RefCell::default(),
            budget: Budget::default(),
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
        self.budget.deposit(self.limits().retry_percent);
        let mut tries = Tries::default();
        let mut kept = Kept::default();
        loop {
            let connection = match self.connect(exchange, &mut tries).await {
                Ok(connection) => connection,
                Err(failure) => return self.failed(failure),
            };
            let (result, request_whole) = self
                .attempt(exchange, &connection, &mut request, body.as_deref_mut(), &mut kept, responder)
                .await;
            let failure = match result {
                Ok(relayed) => {
                    self.answered(&connection);
                    if request_whole && relayed.reuse == Reuse::Keep {
                        self.pool.give_back(connection);
                    }
                    return Ended::Answered { status: relayed.status, request_whole };
                }
                Err(Stopped::Tunnel(first)) => {
                    self.answered(&connection);
                    return Ended::Tunnel { upstream: connection, first };
                }
                Err(Stopped::Cut(cut)) => {
                    if let Some(Broken::Reset(code)) = connection.stream.broken() {
                        exchange.account.reset.set(Some(code));
                    }
                    match cut.is_upstream() {
                        true => self.counters.upstream_failures.add(1),
                        false => self.counters.requests_abandoned.add(1),
                    }
                    return Ended::Cut(cut);
                }
                Err(Stopped::Refused) => {
                    self.counters.upstream_refusals.add(1);
                    // Safe for any method (RFC 9113 §8.7), if all that was read of the request is still there.
                    let whole_in_hand =
                        body.as_deref().is_none_or(|body| kept.is_all(body.may_be_given_up()));
                    if !whole_in_hand || !tries.refused(exchange, self.local.clock.now_ms()) {
                        return self.failed(Failure::Refused);
                    }
                    self.retry(exchange);
                    request.restore(whole);
                    continue;
                }
                Err(Stopped::Silent) if connection.reused && !std::mem::replace(&mut tries.renewed, true) => {
                    // It had been closed while it waited: that says nothing about the server.
                    if exchange.repeatable && body.is_none() {
                        tries.again = Some(tries.current);
                        self.retry(exchange);
                        request.restore(whole);
                        continue;
                    }
                    return self.failed(Failure::ClosedEarly);
                }
                Err(Stopped::Silent) => Failure::ClosedEarly,
                Err(Stopped::Unanswered(failure)) => failure,
            };
            if failure.is_upstream() && exchange.servers.len() > 1 {
                // A server alone is not given up for what it answers: there is nobody else to ask.
                self.server_failed(exchange, tries.current);
            }
            tries.tried.add(tries.current);
            let repeats = exchange.repeatable
                && body.is_none()
                && matches!(failure, Failure::ClosedEarly | Failure::BadResponse)
                && exchange.servers.has_usable(self.local.clock.now_ms(), &tries.tried);
            if !repeats {
                return self.failed(failure);
            }
            if !self.budget.withdraw() {
                self.counters.upstream_retries_denied.add(1);
                return self.failed(failure);
            }
            tries.last = Some(failure);
            self.retry(exchange);
            request.restore(whole);
        }
    }

    fn retry(&self, exchange: &Exchange<'_>) {
        self.counters.upstream_retries.add(1);
        exchange.account.retries.set(exchange.account.retries.get() + 1);
    }

    fn answered(&self, connection: &Connection) {
        let upstream = connection.upstream();
        if upstream.answered(self.local.clock.now_ms()) == Change::Back {
            self.counters.upstream_recoveries.add(1);
            tracing::info!(upstream = %upstream.label(), "a site server answers again");
        }
    }

    fn server_failed(&self, exchange: &Exchange<'_>, server: usize) {
        let upstream = exchange.servers.server(server);
        if let Change::Ejected(pause) = upstream.failed(&self.pool.health_rules(), self.local.clock.now_ms())
        {
            self.counters.upstream_ejections.add(1);
            tracing::warn!(upstream = %upstream.label(), ?pause, "a site server fails: it is not asked for a while");
        }
    }

    fn failed(&self, failure: Failure) -> Ended {
        match failure {
            Failure::BodyTimedOut | Failure::BodyTooSlow => self.counters.requests_timed_out.add(1),
            _ if failure.is_upstream() => self.counters.upstream_failures.add(1),
            _ => {}
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
        kept: &mut Kept,
        responder: &mut R,
    ) -> (Result<super::relay::Relayed, Stopped>, bool) {
        let upstream = &connection.stream;
        let idle = self.limits().body_idle;
        // A server that answers before it has read the request may close: what it said is there to read.
        let sent = upstream.send(request, || self.local.clock.after(idle)).await;
        let state = RelayState::default();
        let Some(body) = body else {
            state.all_read.set(true);
            return (self.relay(exchange, upstream, responder, &state).await, sent.is_ok());
        };
        let mut relay = pin!(self.relay(exchange, upstream, responder, &state));
        if sent.is_err() {
            return (relay.await, false);
        }
        let mut upload = pin!(upload(
            (body, kept),
            exchange,
            upstream,
            &self.local,
            idle,
            &state,
            self.limits().response_head
        ));
        match first(upload.as_mut(), relay.as_mut()).await {
            // The answer to the last octet can be here before the ring has told that the octet was sent.
            First::Right(result) if state.all_read.get() => {
                let whole = matches!(upload.await, Uploaded::Whole);
                (result, whole)
            }
            First::Right(result) => (result, false),
            First::Left(Uploaded::Whole) => (relay.await, true),
            First::Left(Uploaded::Refused) => (relay.await, false),
            First::Left(Uploaded::Failed(failure)) => {
                (Err(body_failed(failure, state.answered.get())), false)
            }
        }
    }

    /// A connection to one of the site's servers: to the one that is said to be asked again, or the next one that can be
    /// reached.
    async fn connect(&self, exchange: &Exchange<'_>, tries: &mut Tries) -> Result<Connection, Failure> {
        let account = exchange.account;
        if account.asked_us.get() == 0 {
            account.asked_us.set(self.local.clock.now_us());
        }
        let rules = self.pool.health_rules();
        loop {
            let (server, wanted) = match tries.again.take() {
                Some(server) => (server, Wanted::New),
                None => {
                    let now = self.local.clock.now_ms();
                    let Some(server) = exchange.servers.pick(&rules, now, exchange.visitor, &tries.tried)
                    else {
                        return Err(tries.last.unwrap_or(Failure::AllDown));
                    };
                    (server, Wanted::Any)
                }
            };
            tries.current = server;
            let upstream = exchange.servers.server(server);
            account.upstream.replace(Some(upstream.label().clone()));
            let preface = || {
                let version = upstream.endpoint().key.proxy_protocol?;
                let mut written = self.scratch.borrow_mut();
                written.clear();
                proxy_protocol::write(&mut written, version, &(exchange.facts)());
                let mut preface = self.local.buffers.at_least(written.len());
                preface.append(&written);
                Some(preface)
            };
            let failure = match self.pool.checkout(upstream, wanted, preface).await {
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
                Err(ConnectFailure::TimedOut) => {
                    tries.timeouts += 1;
                    Failure::ConnectTimedOut
                }
                Err(ConnectFailure::Failed(error)) => {
                    tracing::debug!(upstream = %upstream.label(), %error, "a site server could not be reached");
                    Failure::NoUpstream
                }
                Err(ConnectFailure::Tls(error)) => {
                    tracing::debug!(upstream = %upstream.label(), %error, "no TLS with a site server");
                    Failure::UpstreamTls
                }
            };
            self.counters.upstream_connects_failed.add(1);
            self.server_failed(exchange, server);
            tries.last = Some(failure);
            tries.tried.add(server);
            if tries.timeouts == TIMEOUTS_MAX {
                return Err(failure);
            }
            account.retries.set(account.retries.get() + 1);
        }
    }
}

/// Servers a request waits for in vain before it is answered 504.
const TIMEOUTS_MAX: u32 = 2;

/// Where a request has been.
#[derive(Default)]
struct Tries {
    tried: Tried,
    // The server asked last.
    current: usize,
    // It is to be asked once more, over a new connection.
    again: Option<usize>,
    last: Option<Failure>,
    timeouts: u32,
    // One that was kept had failed already.
    renewed: bool,
    refusals: u32,
}

impl Tries {
    /// The server asked last has refused. Whether there is somebody to ask: that one once more, then another.
    fn refused(&mut self, exchange: &Exchange<'_>, now: u64) -> bool {
        self.refusals += 1;
        if self.refusals == 1 {
            self.again = Some(self.current);
            return true;
        }
        self.tried.add(self.current);
        self.last = Some(Failure::Refused);
        self.refusals <= REFUSALS_MAX && exchange.servers.has_usable(now, &self.tried)
    }
}

/// Times a request is sent again because it was refused.
const REFUSALS_MAX: u32 = 3;

/// Requests that may be sent a second time: so many for each hundred that come, and a few in any case.
struct Budget(Cell<u32>);

/// What one repetition costs.
const RETRY: u32 = 100;
/// Saved at most, and there from the beginning: ten repetitions.
const SAVED_MAX: u32 = 10 * RETRY;

impl Default for Budget {
    fn default() -> Budget {
        Budget(Cell::new(SAVED_MAX))
    }
}

impl Budget {
    fn deposit(&self, percent: u32) {
        self.0.set((self.0.get() + percent).min(SAVED_MAX));
    }

    fn withdraw(&self) -> bool {
        let left = self.0.get().checked_sub(RETRY);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }
}

fn body_failed(failure: BodyFailure, answered: bool) -> Stopped {
    match failure {
        _ if answered => Stopped::Cut(Cut::Downstream),
        BodyFailure::Gone => Stopped::Cut(Cut::Downstream),
        BodyFailure::TimedOut => Stopped::Unanswered(Failure::BodyTimedOut),
        BodyFailure::TooSlow => Stopped::Unanswered(Failure::BodyTooSlow),
        BodyFailure::TooLarge => Stopped::Unanswered(Failure::BodyTooLarge),
        BodyFailure::Malformed => Stopped::Unanswered(Failure::BodyMalformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_a_share_of_what_comes_and_a_few_in_any_case() {
        let budget = Budget::default();
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
        for _ in 0..20 {
            budget.deposit(20);
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 4);
        for _ in 0..10_000 {
            budget.deposit(100);
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10, "no more is saved");
    }
}
