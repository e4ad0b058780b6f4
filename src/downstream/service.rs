//! A worker's service: what all its connections share, and the life of one connection.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use monoio::net::TcpStream;

use super::challenges::WorkerChallenges;
use super::request_id::RequestIds;
use super::serving::{Serving, pool_limits, proxy_limits};
use super::session_cookies::WorkerKeys;
use super::{LiveSettings, Visitor};
use super::{handshake, http1, http2, proxy_header};
use crate::config::{Generation, Timeouts};
use crate::http::Scheme;
use crate::limits::{Counted, Pace};
use crate::metrics::Counters;
use crate::net::{Local, Mail, Socket, Stream};
use crate::proxy::Proxy;
use crate::spool::{Inlet, Lines};
use crate::tls::{Answer, Sessions};
use crate::upstream::Pool;

pub struct Service {
    pub counters: Arc<Counters>,
    // Never borrowed across an await.
    serving: RefCell<Rc<Serving>>,
    pub(super) proxy: Proxy,
    pub(super) local: Local,
    pub(super) lines: Lines,
    pub(super) ids: RequestIds,
    // Heads and answers are written here first; never held across an await.
    pub(super) scratch: RefCell<Vec<u8>>,
    // Targets are normalized here; likewise.
    pub(super) target_scratch: RefCell<Vec<u8>>,
    // Where a site is for visitors, over HTTP and over HTTPS; likewise.
    pub(super) authorities: RefCell<(Vec<u8>, Vec<u8>)>,
    pub(super) keys: WorkerKeys,
    // What sources of certificates say of names.
    pub(super) answers: Mail<Answer>,
    handshakes: Rc<Cell<usize>>,
    pub(super) challenges: WorkerChallenges,
    worker: usize,
    open: Rc<Cell<usize>>,
    workers: usize,
    draining: Cell<bool>,
    // When a pause in accepting is told of again.
    pause_told_ms: Cell<u64>,
}

/// Expired sessions removed in one tick at most: a cache full of them is empty in seconds, and no tick
/// holds a shard for long.
const SESSIONS_SWEPT: usize = 256;

impl Service {
    /// `workers`: how many there are; this one is number `worker`.
    pub fn new(
        (worker, workers): (usize, usize),
        generation: Arc<Generation>,
        counters: Arc<Counters>,
        lines: Inlet,
        local: Local,
    ) -> Service {
        let pool = Pool::new(pool_limits(&generation), local.clone());
        let limits = proxy_limits(&generation);
        counters.generation.set(generation.number);
        let keys = WorkerKeys::default();
        keys.refresh(&generation.sealing);
        Service {
            serving: RefCell::new(Rc::new(Serving::new(generation, &pool, &counters.tables))),
            proxy: Proxy::new(pool, limits, local.clone(), counters.clone()),
            local,
            lines: Lines::new(lines),
            ids: RequestIds::new(worker),
            scratch: RefCell::default(),
            target_scratch: RefCell::default(),
            authorities: RefCell::default(),
            keys,
            answers: Mail::new(),
            handshakes: Rc::default(),
            challenges: WorkerChallenges::default(),
            worker,
            open: Rc::default(),
            workers,
            draining: Cell::new(false),
            pause_told_ms: Cell::new(0),
            counters,
        }
    }

    /// Serves with another generation from here on: new connections, and open ones from their next request
    /// on. What runs ends as it began; connections to site servers that stay are kept.
    pub fn install(&self, generation: Arc<Generation>) {
        self.proxy.set_limits(proxy_limits(&generation));
        self.counters.generation.set(generation.number);
        self.keys.refresh(&generation.sealing);
        let serving = Rc::new(Serving::new(generation, self.proxy.pool(), &self.counters.tables));
        self.serving.replace(serving);
    }

    pub(super) fn serving(&self) -> Rc<Serving> {
        self.serving.borrow().clone()
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.serving.borrow().generation.config.timeouts
    }

    /// The patience with a client that there is at the beginning of a body.
    pub(super) fn pace(&self) -> Pace {
        let config = &self.serving.borrow().generation.config;
        Pace::new(config.limits.body_rate_min, config.timeouts.body_idle)
    }

    /// Whether accepting must wait until a connection ends.
    pub fn is_full(&self) -> bool {
        let all = self.serving.borrow().generation.config.limits.connections_max;
        self.open.get() >= all.div_ceil(self.workers)
    }

    pub fn connections_open(&self) -> usize {
        self.open.get()
    }

    /// Counts a connection for as long as the guard lives.
    pub fn open_connection(&self) -> OpenConnection {
        self.open.set(self.open.get() + 1);
        self.counters.connections_accepted.add(1);
        self.counters.connections_open.add(1);
        OpenConnection { open: self.open.clone(), counters: self.counters.clone() }
    }

    /// Counts a handshake for as long as the guard lives; `None`: `most` run already.
    pub(super) fn begin_handshake(&self, most: usize) -> Option<RunningHandshake> {
        let running = self.handshakes.get();
        if running >= most {
            return None;
        }
        self.handshakes.set(running + 1);
        Some(RunningHandshake(self.handshakes.clone()))
    }

    /// Every connection ends after the request it is at, or the next one.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Ends the connections that wait for a request.
    pub fn expire_idle(&self) {
        self.local.expire_idle();
    }

    /// The wait for a request has ended without one.
    pub(super) fn idle_ended(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut && !self.is_draining() {
            self.counters.connections_idle_closed.add(1);
            tracing::debug!(reason = "keep_alive", "a connection without a request is closed");
        }
    }

    /// Accepting waits. An operator is told of the first time in a minute.
    pub fn accept_paused(&self, reason: &'static str) {
        self.counters.accepts_paused.add(1);
        let now = self.local.clock.now_ms();
        if now >= self.pause_told_ms.get() {
            self.pause_told_ms.set(now + 60_000);
            let open = self.open.get();
            tracing::warn!(reason, worker = self.worker, open, "accepting pauses until connections end");
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Publishes what was counted, closes pooled connections that waited too long, and forgets expired
    /// sessions and ticket keys; called once a tick.
    pub fn sweep(&self) {
        self.proxy.pool().sweep();
        self.lines.flush();
        self.counters.access_log_lines_dropped.set(self.lines.dropped());
        self.counters.sends.set(self.local.sends());
        self.keys.refresh(&self.serving.borrow().generation.sealing);
        // One worker is enough for what all share.
        if self.worker == 0 {
            match &self.serving.borrow().generation.sessions {
                Sessions::Cache { cache, clock } => {
                    cache.sweep(clock.now().monotonic, SESSIONS_SWEPT);
                }
                Sessions::Tickets { keys, clock } => keys.rotate(clock.now()),
                Sessions::Off => {}
            }
        }
    }

    /// Begins the health checks that are due; called once a tick. `spawn` runs each beside the others.
    pub fn begin_checks(self: &Rc<Self>, spawn: impl Fn(Pin<Box<dyn Future<Output = ()>>>)) {
        // One worker checks for all.
        if self.worker != 0 || self.is_draining() {
            return;
        }
        for upstream in self.proxy.due_checks(&self.serving().upstreams) {
            let (service, upstream) = (self.clone(), upstream.clone());
            spawn(Box::pin(async move { service.proxy.check(upstream).await }));
        }
    }

    /// Runs one client's connection to its end.
    pub async fn serve(
        self: &Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        scheme: Scheme,
        listener: LiveSettings,
    ) {
        // IPv4 clients of a socket for both are IPv4 clients to everybody behind us.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let socket = Socket::tcp(stream, &self.local);
        let mut visitor = Visitor { peer, destination: None, listener, scheme, handshake: None };
        if visitor.listener.expects_proxy_header(peer.ip()) {
            match self.local.futures.place(|| proxy_header::receive(self, &socket)).await {
                Err(()) => return,
                Ok(None) => {}
                Ok(Some(ends)) => {
                    visitor.peer = SocketAddr::new(ends.source.ip().to_canonical(), ends.source.port());
                    visitor.destination = Some(ends.destination);
                }
            }
        }
        if visitor.destination.is_none() && self.serving().generation.tells_connections() {
            visitor.destination = socket.local_address().ok();
        }
        // Held to the end of the connection.
        let Ok(_counted) = self.count_address(&visitor) else { return };
        match scheme {
            Scheme::Http => http1::serve(self, &Stream::Plain(socket), visitor).await,
            Scheme::Https => {
                // What a handshake needs is given back when it is over.
                let shaken = self.local.futures.place(|| handshake::run(self, socket, visitor.peer)).await;
                if let Some((tls, site)) = shaken {
                    visitor.handshake = Some(site);
                    let http2 = tls.is_http2();
                    let stream = Stream::Tls(tls);
                    match http2 {
                        true => http2::serve(self, &stream, visitor).await,
                        false => http1::serve(self, &stream, visitor).await,
                    }
                }
            }
        }
    }

    /// Counts the connection for its client's address; the operator's own proxies bring those of many.
    ///
    /// # Errors
    /// It is one too many.
    fn count_address(&self, visitor: &Visitor) -> Result<Option<Counted>, ()> {
        let serving = self.serving.borrow();
        let generation = &serving.generation;
        let Some(most) = generation.config.limits.connections_per_address else { return Ok(None) };
        if visitor.listener.trusts(visitor.peer.ip()) {
            return Ok(None);
        }
        let counted = generation.address_limits.connect(visitor.peer.ip(), most);
        if counted.is_none() {
            self.counters.connections_limited.add(1);
            let client = visitor.peer.ip();
            tracing::debug!(%client, reason = "connections_per_address", "a connection is closed");
        }
        counted.map(Some).ok_or(())
    }
}

/// Counts down when the handshake is over, however it ended.
pub(super) struct RunningHandshake(Rc<Cell<usize>>);

impl Drop for RunningHandshake {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Counts down when the connection is over, however it ended.
pub struct OpenConnection {
    open: Rc<Cell<usize>>,
    counters: Arc<Counters>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        self.counters.connections_open.subtract(1);
    }
}
