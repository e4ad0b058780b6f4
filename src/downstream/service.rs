//! A worker's service: what all its connections share, and the life of one connection.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use monoio::net::TcpStream;

use super::Visitor;
use super::request_id::RequestIds;
use super::{handshake, http1};
use crate::config::Generation;
use crate::http::{Limits, Scheme};
use crate::metrics::Counters;
use crate::net::{Local, Socket, Stream};
use crate::proxy::{Proxy, ProxyLimits};
use crate::tls::Sessions;
use crate::upstream::{Pool, PoolLimits};

pub struct Service {
    pub counters: Arc<Counters>,
    pub(super) generation: Arc<Generation>,
    pub(super) proxy: Proxy,
    pub(super) local: Local,
    pub(super) limits: Limits,
    pub(super) ids: RequestIds,
    // Heads and answers are written here first; never held across an await.
    pub(super) scratch: RefCell<Vec<u8>>,
    worker: usize,
    open: Rc<Cell<usize>>,
    connections_max: usize,
    draining: Cell<bool>,
}

/// Expired sessions removed in one tick at most: a cache full of them is empty in seconds, and no tick
/// holds a shard for long.
const SESSIONS_SWEPT: usize = 256;

impl Service {
    pub fn new(
        worker: usize,
        generation: Arc<Generation>,
        counters: Arc<Counters>,
        connections_max: usize,
        local: Local,
    ) -> Service {
        let config = &generation.config;
        let limits = Limits {
            head_bytes_max: config.limits.request_head_bytes_max,
            headers_max: config.limits.headers_max,
            target_bytes_max: config.limits.request_head_bytes_max / 2,
        };
        let pool_limits = PoolLimits {
            idle_max: config.upstream_pool.idle_per_worker,
            idle_timeout: config.upstream_pool.idle_timeout,
            connect_timeout: config.timeouts.upstream_connect,
        };
        let proxy_limits = ProxyLimits {
            response: Limits::default(),
            response_head: config.timeouts.response_head,
            body_idle: config.timeouts.body_idle,
            tunnel_idle: config.timeouts.tunnel_idle,
        };
        let pool = Pool::new(&generation.endpoints, pool_limits, local.clone());
        Service {
            proxy: Proxy::new(pool, proxy_limits, local.clone(), counters.clone()),
            generation,
            local,
            limits,
            ids: RequestIds::new(worker),
            scratch: RefCell::default(),
            worker,
            open: Rc::default(),
            connections_max,
            draining: Cell::new(false),
            counters,
        }
    }

    /// Whether accepting must wait until a connection ends.
    pub fn is_full(&self) -> bool {
        self.open.get() >= self.connections_max
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

    /// Connections that wait for a request end; the others end after the request they are at.
    pub fn drain(&self) {
        self.draining.set(true);
        self.local.expire_idle();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Publishes what was counted, closes pooled connections that waited too long, and forgets expired
    /// sessions and ticket keys; called once a tick.
    pub fn sweep(&self) {
        self.proxy.pool().sweep();
        self.counters.sends.set(self.local.sends());
        // One worker is enough for what all share.
        if self.worker == 0 {
            match &self.generation.sessions {
                Sessions::Cache { cache, clock } => {
                    cache.sweep(clock.now().monotonic, SESSIONS_SWEPT);
                }
                Sessions::Tickets { keys, clock } => keys.rotate(clock.now()),
                Sessions::Off => {}
            }
        }
    }

    /// Runs one client's connection to its end.
    pub async fn serve(&self, stream: TcpStream, peer: SocketAddr, scheme: Scheme) {
        // IPv4 clients of a socket for both are IPv4 clients to everybody behind us.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let socket = Socket::accepted(stream, &self.local);
        match scheme {
            Scheme::Http => {
                let visitor = Visitor { peer, scheme, handshake_site: None };
                http1::serve(self, &Stream::Plain(socket), visitor).await;
            }
            Scheme::Https => {
                // What a handshake needs is given back when it is over.
                let shaken = self.local.futures.place(|| handshake::run(self, socket, peer)).await;
                if let Some((tls, site)) = shaken {
                    let visitor = Visitor { peer, scheme, handshake_site: Some(site) };
                    http1::serve(self, &Stream::Tls(tls), visitor).await;
                }
            }
        }
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
