//! The worker's connections to site servers, those in use and those that wait.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::connect::{ConnectFailure, connect};
use crate::config::{Endpoint, UpstreamId};
use crate::net::{Local, Socket};

#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Idle connections kept for one upstream by one worker; more are closed.
    pub idle_max: usize,
    /// An idle connection is closed after this long; shorter than servers usually wait.
    pub idle_timeout: Duration,
    pub connect_timeout: Duration,
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
    upstreams: RefCell<HashMap<Endpoint, Rc<Upstream>, FixedState>>,
}

/// One site server as this worker knows it. What waits in it ends with it: a generation that no longer names
/// the site server lets go of it, and an exchange under way holds it until it is over.
pub struct Upstream {
    endpoint: Endpoint,
    // What it is called in logs.
    label: Rc<str>,
    // The one used last is at the end and used first: the others grow old and go.
    idle: RefCell<Vec<Idle>>,
}

/// The site servers of one generation, by their numbers in it.
#[derive(Default)]
pub struct Upstreams(Vec<Rc<Upstream>>);

impl Upstreams {
    /// What a site server is called in logs.
    pub fn label(&self, id: UpstreamId) -> Rc<str> {
        self.get(id).label.clone()
    }

    fn get(&self, id: UpstreamId) -> &Rc<Upstream> {
        &self.0[id.0 as usize]
    }
}

struct Idle {
    socket: Socket,
    since_ms: u64,
}

/// A connection in use by one exchange. Dropped, it is closed.
pub struct Connection {
    pub socket: Socket,
    upstream: Rc<Upstream>,
    /// It has carried an exchange before: its peer may have closed it meanwhile.
    pub reused: bool,
}

impl Pool {
    pub fn new(limits: PoolLimits, local: Local) -> Pool {
        Pool { local, limits: Cell::new(limits), upstreams: RefCell::default() }
    }

    /// Takes over the site servers of a generation: those it shares with the one before keep their
    /// connections, the others lose those that wait.
    pub fn install(&self, endpoints: &[Endpoint], limits: PoolLimits) -> Upstreams {
        self.limits.set(limits);
        let mut upstreams = self.upstreams.borrow_mut();
        let before = std::mem::take(&mut *upstreams);
        let kept = endpoints.iter().map(|endpoint| {
            let known = before.get(endpoint).cloned();
            let upstream = known.unwrap_or_else(|| {
                Rc::new(Upstream {
                    endpoint: endpoint.clone(),
                    label: endpoint.to_string().into(),
                    idle: RefCell::default(),
                })
            });
            upstreams.insert(endpoint.clone(), upstream.clone());
            upstream
        });
        Upstreams(kept.collect())
    }

    /// A connection to use for one exchange.
    ///
    /// # Errors
    /// `ConnectFailure`: nothing was sent, so another upstream may be asked.
    pub async fn checkout(
        &self,
        upstreams: &Upstreams,
        id: UpstreamId,
        wanted: Wanted,
    ) -> Result<Connection, ConnectFailure> {
        let upstream = upstreams.get(id);
        if wanted == Wanted::Any {
            while let Some(idle) = take_last(&upstream.idle) {
                // Bytes nobody asked for would be read as the next response: such a connection goes.
                if idle.socket.is_quiet() {
                    return Ok(Connection { socket: idle.socket, upstream: upstream.clone(), reused: true });
                }
            }
        }
        let socket = connect(&upstream.endpoint, self.limits.get().connect_timeout, &self.local).await?;
        Ok(Connection { socket, upstream: upstream.clone(), reused: false })
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub fn give_back(&self, connection: Connection) {
        let Connection { socket, upstream, .. } = connection;
        let mut idle = upstream.idle.borrow_mut();
        if idle.len() < self.limits.get().idle_max {
            idle.push(Idle { socket, since_ms: self.local.clock.now_ms() });
        }
    }

    /// Closes connections that waited too long; called once a tick.
    pub fn sweep(&self) {
        let timeout = self.limits.get().idle_timeout.as_millis() as u64;
        let Some(oldest) = self.local.clock.now_ms().checked_sub(timeout) else {
            return;
        };
        for upstream in self.upstreams.borrow().values() {
            let mut idle = upstream.idle.borrow_mut();
            // Sorted by age: the first are the oldest.
            let expired = idle.partition_point(|idle| idle.since_ms < oldest);
            idle.drain(..expired);
        }
    }
}

fn take_last(idle: &RefCell<Vec<Idle>>) -> Option<Idle> {
    idle.borrow_mut().pop()
}
