//! The worker's connections to site servers, those in use and those that wait.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::balance::Balancer;
use super::channel::Channel;
use super::connect::{ConnectFailure, connect};
use super::http2::{Http2Connection, Http2Connections, MakingGuard, Turn};
use super::passive::{Change, HealthRules, Passive};
use crate::config::{Balance, Endpoint, EndpointKey, Health, UpstreamId, UpstreamProtocol};
use crate::net::{Buffer, Local, UpstreamStream};

#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Idle connections kept for one upstream by one worker; more are closed.
    pub idle_max: usize,
    /// An idle connection is closed after this long; shorter than servers usually wait.
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
    /// Of a response by HTTP/2.
    pub response_head_bytes_max: usize,
    pub health: HealthRules,
}

/// What kind of connection an exchange asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One that waits, or a new one.
    Any,
    /// A new one: one that waited has just failed.
    New,
}

pub struct Pool {
    local: Local,
    limits: Cell<PoolLimits>,
    // Those of the generation that serves.
    upstreams: RefCell<HashMap<EndpointKey, Rc<Upstream>, FixedState>>,
}

/// One site server as this worker knows it. What waits in it ends with it: a generation that no longer names
/// the site server lets go of it, and an exchange under way holds it until it is over.
pub struct Upstream {
    // Of the generation that serves; never borrowed across an await.
    endpoint: RefCell<Arc<Endpoint>>,
    // What it is called in logs.
    label: Rc<str>,
    // The one used last is at the end and used first: the others grow old and go.
    idle: RefCell<Vec<Idle>>,
    // Of HTTP/2: those in use, too.
    http2: Http2Connections,
    under_way: Cell<u32>,
    passive: Passive,
    // What the checks said when the worker last looked.
    was_down: Cell<bool>,
    addresses: RefCell<Addresses>,
    checks: Checks,
}

/// Health checks, on the worker that makes them.
#[derive(Default)]
struct Checks {
    next_ms: Cell<u64>,
    running: Cell<bool>,
    // In a row with the same result, which is the flag.
    streak: Cell<(bool, u32)>,
}

/// This worker's copy of the addresses, taken anew when they have changed.
struct Addresses {
    version: u64,
    list: Arc<[SocketAddr]>,
    // Of the one that answered last.
    preferred: usize,
}

/// The site servers of one generation, by their numbers in it.
#[derive(Default)]
pub struct Upstreams(Vec<Rc<Upstream>>);

impl Upstreams {
    /// What chooses among some of them, each with its weight.
    pub fn balancer(&self, balance: Balance, servers: &[(UpstreamId, u32)]) -> Balancer {
        Balancer::new(balance, servers.iter().map(|(id, weight)| (self.0[id.0 as usize].clone(), *weight)))
    }

    pub fn each(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.0.iter()
    }
}

struct Idle {
    stream: UpstreamStream,
    since_ms: u64,
    // Of the addresses it was made with.
    version: u64,
}

/// Counts an exchange under way for as long as it lives.
pub struct Busy(Rc<Upstream>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// A connection in use by one exchange, or its part of one. Dropped, it is closed.
pub struct Connection {
    pub stream: Channel,
    busy: Busy,
    version: u64,
    /// It has carried an exchange before: its peer may have closed it meanwhile.
    pub reused: bool,
}

impl Upstream {
    pub fn new(endpoint: Arc<Endpoint>) -> Upstream {
        let (version, list) = endpoint.state.addresses();
        Upstream {
            label: endpoint.to_string().into(),
            endpoint: RefCell::new(endpoint),
            idle: RefCell::default(),
            http2: Http2Connections::default(),
            under_way: Cell::new(0),
            passive: Passive::default(),
            was_down: Cell::new(false),
            addresses: RefCell::new(Addresses { version, list, preferred: 0 }),
            checks: Checks::default(),
        }
    }

    /// Whether a check is due and may begin now.
    pub fn begins_check(&self, now: u64) -> bool {
        let shared = self.shared();
        let Some(check) = &shared.key.health_check else { return false };
        if now < self.checks.next_ms.get() || self.checks.running.replace(true) {
            return false;
        }
        self.checks.next_ms.set(now + check.interval.as_millis() as u64);
        true
    }

    /// A check has ended; how many in a row ended so.
    pub fn ends_check(&self, good: bool) -> u32 {
        self.checks.running.set(false);
        let (was_good, before) = self.checks.streak.get();
        let streak = if was_good == good { before.saturating_add(1) } else { 1 };
        self.checks.streak.set((good, streak));
        streak
    }

    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.borrow().clone()
    }

    fn shared(&self) -> Ref<'_, Arc<Endpoint>> {
        self.endpoint.borrow()
    }

    /// What it is called in logs.
    pub fn label(&self) -> &Rc<str> {
        &self.label
    }

    /// Exchanges of this worker under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.get()
    }

    /// Counts one more.
    pub fn busy(upstream: &Rc<Upstream>) -> Busy {
        upstream.under_way.set(upstream.under_way.get() + 1);
        Busy(upstream.clone())
    }

    /// Whether it may be asked.
    pub fn is_usable(&self, now: u64) -> bool {
        !self.passive.is_out(now) && self.shared().state.health() != Health::Down
    }

    pub(super) fn tried(&self, rules: &HealthRules, now: u64) {
        self.passive.tried(rules, now);
    }

    /// It could not be reached, or did not answer as it should.
    pub fn failed(&self, rules: &HealthRules, now: u64) -> Change {
        self.passive.failed(rules, now)
    }

    /// It has answered.
    pub fn answered(&self, now: u64) -> Change {
        self.passive.answered(now)
    }

    pub(super) fn warmth(&self, rules: &HealthRules, now: u64) -> u64 {
        self.passive.warmth(rules, now)
    }

    /// One client's connection must not carry another's requests: it says at its beginning whose it is.
    fn is_for_one(&self) -> bool {
        self.shared().key.proxy_protocol.is_some()
    }

    pub(super) fn is_http2(&self) -> bool {
        self.shared().key.protocol == UpstreamProtocol::Http2
    }

    pub(super) fn addresses(&self) -> Arc<[SocketAddr]> {
        self.look_at_addresses();
        self.addresses.borrow().list.clone()
    }

    /// Takes over addresses that have changed; connections made with others go as they come back.
    fn look_at_addresses(&self) {
        let shared = self.shared();
        if shared.state.version() != self.addresses.borrow().version {
            let (version, list) = shared.state.addresses();
            self.addresses.replace(Addresses { version, list, preferred: 0 });
        }
    }

    pub(super) fn preferred(&self, count: usize) -> usize {
        self.addresses.borrow().preferred.min(count.saturating_sub(1))
    }

    pub(super) fn prefer(&self, index: usize) {
        self.addresses.borrow_mut().preferred = index;
    }
}

impl Connection {
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.busy.0
    }
}

impl Pool {
    pub fn new(limits: PoolLimits, local: Local) -> Pool {
        Pool { local, limits: Cell::new(limits), upstreams: RefCell::default() }
    }

    /// Takes over the site servers of a generation: those it shares with the one before keep their
    /// connections and what is known of them, the others lose those that wait.
    pub fn install(&self, endpoints: &[Arc<Endpoint>], limits: PoolLimits) -> Upstreams {
        self.limits.set(limits);
        let mut upstreams = self.upstreams.borrow_mut();
        let before = std::mem::take(&mut *upstreams);
        let kept = endpoints.iter().map(|endpoint| {
            let upstream = match before.get(&endpoint.key) {
                Some(known) => {
                    known.endpoint.replace(endpoint.clone());
                    known.clone()
                }
                None => Rc::new(Upstream::new(endpoint.clone())),
            };
            upstreams.insert(endpoint.key.clone(), upstream.clone());
            upstream
        });
        Upstreams(kept.collect())
    }

    pub fn health_rules(&self) -> HealthRules {
        self.limits.get().health
    }

    /// A connection to use for one exchange. `preface`: what a new one begins with, where the site server wants that.
    ///
    /// # Errors
    /// `ConnectFailure`: nothing was sent, so another upstream may be asked.
    pub async fn checkout(
        &self,
        upstream: &Rc<Upstream>,
        wanted: Wanted,
        preface: impl FnOnce() -> Option<Buffer>,
    ) -> Result<Connection, ConnectFailure> {
        let busy = Upstream::busy(upstream);
        if upstream.is_http2() && !upstream.is_for_one() {
            // One that has failed is known to have: any other will do.
            return self.checkout_http2(busy).await;
        }
        if wanted == Wanted::Any {
            while let Some(Idle { stream, version, .. }) = take_last(&upstream.idle) {
                // Bytes nobody asked for would be read as the next response: such a connection goes.
                if stream.is_quiet() {
                    let stream = Channel::Own(stream);
                    return Ok(Connection { stream, busy, version, reused: true });
                }
            }
        }
        self.connect_busy(busy, self.limits.get().connect_timeout, preface).await
    }

    /// A new connection, made within `wait`.
    ///
    /// # Errors
    /// `ConnectFailure`.
    pub async fn connect(
        &self,
        upstream: &Rc<Upstream>,
        wait: Duration,
        preface: impl FnOnce() -> Option<Buffer>,
    ) -> Result<Connection, ConnectFailure> {
        self.connect_busy(Upstream::busy(upstream), wait, preface).await
    }

    async fn connect_busy(
        &self,
        busy: Busy,
        wait: Duration,
        preface: impl FnOnce() -> Option<Buffer>,
    ) -> Result<Connection, ConnectFailure> {
        let upstream = &busy.0;
        let preface = if upstream.is_for_one() { preface() } else { None };
        let stream = connect(upstream, preface, wait, &self.local).await?;
        let version = upstream.addresses.borrow().version;
        let stream = match upstream.is_http2() {
            false => Channel::Own(stream),
            true => Channel::Shared(Box::new(self.http2(stream, None).await?.open(&self.local).0)),
        };
        Ok(Connection { stream, busy, version, reused: false })
    }

    /// A stream of a connection that has room, which is made when there is none.
    async fn checkout_http2(&self, busy: Busy) -> Result<Connection, ConnectFailure> {
        let upstream = busy.0.clone();
        loop {
            upstream.look_at_addresses();
            let version = upstream.addresses.borrow().version;
            if let Some((stream, reused)) = upstream.http2.open(&self.local, version) {
                return Ok(Connection { stream: Channel::Shared(Box::new(stream)), busy, version, reused });
            }
            let wait = self.limits.get().connect_timeout;
            let Turn::Ours(making) = upstream.http2.turn(wait, &self.local).await? else { continue };
            match connect(&upstream, None, wait, &self.local).await {
                Ok(stream) => upstream.http2.add(self.http2(stream, Some(making)).await?, version),
                Err(failure) => {
                    making.failed(&failure);
                    return Err(failure);
                }
            }
        }
    }

    async fn http2(
        &self,
        stream: UpstreamStream,
        making: Option<MakingGuard>,
    ) -> Result<Http2Connection, ConnectFailure> {
        let head_bytes_max = self.limits.get().response_head_bytes_max;
        let made = Http2Connection::new(stream, making, head_bytes_max, &self.local);
        made.await.map_err(ConnectFailure::Failed)
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub fn give_back(&self, connection: Connection) {
        // A stream of one that is shared has nothing to give back.
        let Connection { stream: Channel::Own(stream), busy, version, .. } = connection else { return };
        let upstream = &busy.0;
        let mut idle = upstream.idle.borrow_mut();
        let outdated = version != upstream.addresses.borrow().version;
        if idle.len() < self.limits.get().idle_max && !outdated && !upstream.is_for_one() {
            idle.push(Idle { stream, since_ms: self.local.clock.now_ms(), version });
        }
    }

    /// Closes connections that waited too long or lead to where a site server is no more, and looks what the checks
    /// say; called once a tick.
    pub fn sweep(&self) {
        let limits = self.limits.get();
        let now = self.local.clock.now_ms();
        let oldest = now.checked_sub(limits.idle_timeout.as_millis() as u64);
        for upstream in self.upstreams.borrow().values() {
            upstream.look_at_addresses();
            let is_down = upstream.shared().state.health() == Health::Down;
            if upstream.was_down.replace(is_down) && !is_down {
                upstream.passive.came_back(now);
            }
            let version = upstream.addresses.borrow().version;
            upstream.http2.sweep(version, oldest, limits.idle_max);
            let mut idle = upstream.idle.borrow_mut();
            if idle.iter().any(|idle| idle.version != version) {
                idle.retain(|idle| idle.version == version);
            }
            if let Some(oldest) = oldest {
                // Sorted by age: the first are the oldest.
                let expired = idle.partition_point(|idle| idle.since_ms < oldest);
                idle.drain(..expired);
            }
        }
    }
}

fn take_last(idle: &RefCell<Vec<Idle>>) -> Option<Idle> {
    idle.borrow_mut().pop()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{EndpointState, Upstream as Address, UpstreamHost, UpstreamProtocol};
    use std::net::Ipv4Addr;

    /// A site server that nobody connects to.
    pub fn server(port: u16) -> Rc<Upstream> {
        let host = UpstreamHost::Address(Ipv4Addr::LOCALHOST.into());
        let key = EndpointKey {
            upstream: Address::Tcp { host, port },
            protocol: UpstreamProtocol::Http1,
            ca: None,
            server_name: None,
            proxy_protocol: None,
            health_check: None,
        };
        let state = EndpointState::new(vec![(Ipv4Addr::LOCALHOST, port).into()]);
        Rc::new(Upstream::new(Arc::new(Endpoint { key, tls: None, state: Arc::new(state) })))
    }
}
