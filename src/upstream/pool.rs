//! The worker's connections to site servers, those in use and those that wait.

use std::cell::RefCell;
use std::time::Duration;

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
    limits: PoolLimits,
    upstreams: Vec<Upstream>,
}

struct Upstream {
    endpoint: Endpoint,
    // The one used last is at the end and used first: the others grow old and go.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    socket: Socket,
    since_ms: u64,
}

/// A connection in use by one exchange. Dropped, it is closed.
pub struct Connection {
    pub socket: Socket,
    pub upstream: UpstreamId,
    /// It has carried an exchange before: its peer may have closed it meanwhile.
    pub reused: bool,
}

impl Pool {
    pub fn new(endpoints: &[Endpoint], limits: PoolLimits, local: Local) -> Pool {
        let upstreams = endpoints
            .iter()
            .map(|endpoint| Upstream { endpoint: endpoint.clone(), idle: RefCell::default() })
            .collect();
        Pool { local, limits, upstreams }
    }

    /// A connection to use for one exchange.
    ///
    /// # Errors
    /// `ConnectFailure`: nothing was sent, so another upstream may be asked.
    pub async fn checkout(&self, id: UpstreamId, wanted: Wanted) -> Result<Connection, ConnectFailure> {
        let upstream = &self.upstreams[id.0 as usize];
        if wanted == Wanted::Any {
            while let Some(idle) = take_last(&upstream.idle) {
                // Bytes nobody asked for would be read as the next response: such a connection goes.
                if idle.socket.is_quiet() {
                    return Ok(Connection { socket: idle.socket, upstream: id, reused: true });
                }
            }
        }
        let socket = connect(&upstream.endpoint, self.limits.connect_timeout, &self.local).await?;
        Ok(Connection { socket, upstream: id, reused: false })
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub fn give_back(&self, connection: Connection) {
        let mut idle = self.upstreams[connection.upstream.0 as usize].idle.borrow_mut();
        if idle.len() < self.limits.idle_max {
            idle.push(Idle { socket: connection.socket, since_ms: self.local.clock.now_ms() });
        }
    }

    /// Closes connections that waited too long; called once a tick.
    pub fn sweep(&self) {
        let Some(oldest) = self.local.clock.now_ms().checked_sub(self.limits.idle_timeout.as_millis() as u64)
        else {
            return;
        };
        for upstream in &self.upstreams {
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
