//! What there is to see: kept up to date by the process, read by whoever asks.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::orders::Orders;
use crate::certs::Keeper;
use crate::config::Generation;
use crate::http::Scheme;
use crate::metrics::Counters;

/// What an operator can ask of the process.
pub enum Ask {
    /// Answered when it has ended: the number of the generation that serves, or all problems.
    Reload(Sender<Result<u64, String>>),
    /// Answered at once, with the number of open connections.
    Drain(Sender<usize>),
    /// Answered at once: whether certificates of this site are ordered.
    Renew(String, Sender<bool>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Serving,
    Draining,
}

impl Phase {
    pub fn word(self) -> &'static str {
        match self {
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// How reloads went.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    pub succeeded: u64,
    pub failed: u64,
    /// Why the last one changed nothing; `None` when it was taken up.
    pub last_failure: Option<String>,
}

/// See the module.
pub struct View {
    seen: Mutex<Seen>,
    pub(super) workers: Vec<Arc<Counters>>,
    pub(super) keeper: Arc<Keeper>,
    /// Lines of the access log that could not be written.
    pub(super) lines_lost: Box<dyn Fn() -> u64 + Send + Sync>,
    /// `None`: nothing is ordered.
    pub(super) orders: Box<dyn Fn() -> Option<Orders> + Send + Sync>,
    /// False: the process is about to end.
    pub(super) ask: Box<dyn Fn(Ask) -> bool + Send + Sync>,
    pub(super) started: f64,
}

pub(super) struct Seen {
    pub(super) generation: Arc<Generation>,
    /// When it was taken up, in Unix time.
    pub(super) since: f64,
    /// Earlier ones that are still in use.
    pub(super) outdated: usize,
    pub(super) phase: Phase,
    pub(super) listeners: Vec<(Scheme, SocketAddr)>,
    pub(super) reloads: Reloads,
}

impl View {
    pub fn new(
        generation: Arc<Generation>,
        listeners: Vec<(Scheme, SocketAddr)>,
        workers: Vec<Arc<Counters>>,
        keeper: Arc<Keeper>,
        lines_lost: impl Fn() -> u64 + Send + Sync + 'static,
        orders: impl Fn() -> Option<Orders> + Send + Sync + 'static,
        ask: impl Fn(Ask) -> bool + Send + Sync + 'static,
    ) -> View {
        let since = unix_now();
        let seen = Seen {
            generation,
            since,
            outdated: 0,
            phase: Phase::Serving,
            listeners,
            reloads: Reloads::default(),
        };
        View {
            seen: Mutex::new(seen),
            workers,
            keeper,
            lines_lost: Box::new(lines_lost),
            orders: Box::new(orders),
            ask: Box::new(ask),
            started: since,
        }
    }

    pub fn installed(&self, generation: Arc<Generation>, listeners: Vec<(Scheme, SocketAddr)>) {
        let mut seen = self.seen();
        seen.generation = generation;
        seen.since = unix_now();
        seen.listeners = listeners;
        seen.reloads.succeeded += 1;
        seen.reloads.last_failure = None;
    }

    pub fn not_reloaded(&self, why: String) {
        let mut seen = self.seen();
        seen.reloads.failed += 1;
        seen.reloads.last_failure = Some(why);
    }

    pub fn outdated(&self, count: usize) {
        self.seen().outdated = count;
    }

    pub fn draining(&self) {
        self.seen().phase = Phase::Draining;
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64())
}
