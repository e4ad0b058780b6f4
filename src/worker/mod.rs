//! One thread, one core, one ring: accepts connections and runs them to their end.
//!
//! A worker owns everything a request touches: listeners, upstream pool, buffers, counters. Workers
//! share the immutable generation and the shards of the session cache, nothing else, and never wait for
//! each other. `control` talks to a worker through a channel and wakes it with a byte.
//!
//! ```text
//! serving --Drain--> draining --no connection left, or the deadline--> ended
//!    └─Install─┘
//! ```

mod accept;
mod runtime;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monoio::io::AsyncReadRent;

use crate::config::Generation;
use crate::downstream::{LiveSettings, Service};
use crate::http::Scheme;
use crate::metrics::Counters;
use crate::net::{Local, TICK};
use crate::sandbox::{self, Rules, Task};
use crate::spool::Inlet;

pub use runtime::Ring;

/// Everything a worker starts with.
pub struct Worker {
    pub index: usize,
    /// How many workers there are.
    pub count: usize,
    /// The core it is pinned to; `None` when there are more workers than cores allowed.
    pub core: Option<usize>,
    pub ring: Ring,
    pub listeners: Vec<Listener>,
    pub generation: Arc<Generation>,
    pub counters: Arc<Counters>,
    /// Where lines of the access log go.
    pub lines: Inlet,
    /// What it gives up before it accepts.
    pub sandbox: Rules,
    /// Counted up at every tick: the worker turns its loop.
    pub pulse: Arc<AtomicU64>,
    pub orders: Receiver<Order>,
    /// A byte here says that there are orders; its end, that the process wants the worker gone.
    pub wake: UnixStream,
}

/// A bound and listening socket of this worker alone.
pub struct Listener {
    pub scheme: Scheme,
    /// As bound.
    pub address: SocketAddr,
    pub socket: TcpListener,
}

/// What `control` tells a worker.
pub enum Order {
    /// Serve with this generation from here on; accept on these listeners, too, and no more on those.
    Install { generation: Arc<Generation>, add: Vec<Listener>, remove: Vec<(Scheme, SocketAddr)> },
    /// Accept no more, finish what runs; connections that wait for a request may do so until `idle`. End at the
    /// deadline.
    Drain { idle: Instant, deadline: Instant, queue: Queue },
}

/// What becomes of the connections that wait in the queue of a listener that is accepted from no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Another process accepts them.
    Left,
    /// They are accepted and answered, those that could be by this moment. Closed with the listener, they would be
    /// reset.
    Answered { until: Instant },
}

/// How long a listener that a reload has taken out accepts what is in its queue: that matters only when the worker is
/// full.
const QUEUE_ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What a worker tells `control`.
#[derive(Debug)]
pub enum Report {
    Started {
        worker: usize,
        ring: Ring,
        failed: Vec<(Ring, io::Error)>,
    },
    /// It serves with the generation of this number.
    Installed {
        worker: usize,
        generation: u64,
    },
    /// It drains, and has taken back the last of its accepts.
    Quiet {
        worker: usize,
    },
    /// It could not start or go on.
    Failed {
        worker: usize,
        error: io::Error,
    },
    /// It ended after a drain; `cut` connections were still open.
    Ended {
        worker: usize,
        cut: usize,
    },
}

impl Worker {
    /// Starts the thread. `report` is called with what the worker has to say and must not block; the
    /// last call is `Failed` or `Ended`.
    ///
    /// # Errors
    /// Those of thread creation. What fails later is reported.
    pub fn start(self, report: impl Fn(Report) + Send + 'static) -> io::Result<JoinHandle<()>> {
        let worker = self.index;
        std::thread::Builder::new().name(format!("worker-{worker}")).spawn(move || {
            let run = || runtime::run(self.ring, |ring, failed| self.serve(ring, failed, &report));
            // A defect outside of any connection: the process must not go on with fewer workers.
            let ended = catch_unwind(AssertUnwindSafe(run))
                .unwrap_or_else(|_| Err(io::Error::other("the worker's loop panicked")));
            report(match ended.and_then(|result| result) {
                Ok(cut) => Report::Ended { worker, cut },
                Err(error) => Report::Failed { worker, error },
            });
        })
    }

    async fn serve(
        self,
        ring: Ring,
        failed: Vec<(Ring, io::Error)>,
        report: &dyn Fn(Report),
    ) -> io::Result<usize> {
        if let Some(core) = self.core {
            let mut set = rustix::thread::CpuSet::new();
            set.set(core);
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        for left in sandbox::confine(Task::Worker, self.sandbox) {
            tracing::warn!(worker = self.index, "this worker is not confined as it should be: {left}");
        }
        let local = Local::new();
        let place = (self.index, self.count);
        let generation = self.generation;
        let service = Service::new(place, generation.clone(), self.counters, self.lines, local.clone());
        let service = Rc::new(service);
        let mut accepting = Accepting { ring, service: service.clone(), listeners: Vec::new() };
        accepting.start(self.listeners, &generation)?;
        // What serves holds it. Held here as well it would be kept for as long as the worker runs.
        drop(generation);
        monoio::spawn(tick(local, service.clone(), self.pulse));
        report(Report::Started { worker: self.index, ring, failed });

        let mut wake = wake_stream(self.wake, ring)?;
        let (idle, deadline, queue) = loop {
            match next_order(&mut wake, &self.orders).await {
                Some(Order::Install { generation, add, remove }) => {
                    service.install(generation.clone());
                    let queue = Queue::Answered { until: Instant::now() + QUEUE_ANSWERED_WITHIN };
                    accepting.stop(|listener| remove.contains(listener), queue);
                    accepting.update(&generation);
                    accepting.start(add, &generation)?;
                    report(Report::Installed { worker: self.index, generation: generation.number });
                }
                Some(Order::Drain { idle, deadline, queue }) => break (idle, deadline, queue),
                None => break (Instant::now(), Instant::now(), Queue::Left),
            }
        };
        service.drain();
        let stopped = accepting.stop(|_| true, queue);
        let mut waiting = true;
        let mut quiet = false;
        loop {
            if !quiet && stopped.iter().all(accept::Stop::is_done) {
                quiet = true;
                report(Report::Quiet { worker: self.index });
            }
            if (quiet && service.connections_open() == 0) || Instant::now() >= deadline {
                break;
            }
            if waiting && Instant::now() >= idle {
                waiting = false;
                service.expire_idle();
            }
            monoio::time::sleep(DRAIN_LOOK).await;
        }
        // What was counted since the last tick.
        service.sweep();
        Ok(service.connections_open())
    }
}

/// The worker's listeners, each with what ends its accepting.
struct Accepting {
    ring: Ring,
    service: Rc<Service>,
    listeners: Vec<((Scheme, SocketAddr), accept::Stop, LiveSettings)>,
}

impl Accepting {
    fn start(&mut self, listeners: Vec<Listener>, generation: &Generation) -> io::Result<()> {
        for listener in listeners {
            let key = (listener.scheme, listener.address);
            let stop = accept::Stop::new();
            let settings = LiveSettings::default();
            settings.update(key, generation);
            accept::start(listener, self.ring, &self.service, &stop, &settings)?;
            self.listeners.push((key, stop, settings));
        }
        Ok(())
    }

    /// What a generation says of the listeners there are holds from here on.
    fn update(&self, generation: &Generation) {
        for (key, _, settings) in &self.listeners {
            settings.update(*key, generation);
        }
    }

    /// Stops the listeners that are `meant`; they close when their accepts have been taken back.
    fn stop(&mut self, meant: impl Fn(&(Scheme, SocketAddr)) -> bool, queue: Queue) -> Vec<accept::Stop> {
        let stopped = self.listeners.extract_if(.., |(key, ..)| meant(key));
        let stopped: Vec<_> = stopped.map(|(_, stop, _)| stop).collect();
        for stop in &stopped {
            stop.now(queue);
        }
        stopped
    }
}

/// How often a draining worker looks whether it may go.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// The worker's one timer: moves the clock on, ends what is late, sweeps the pool.
async fn tick(local: Local, service: Rc<Service>, pulse: Arc<AtomicU64>) {
    loop {
        monoio::time::sleep(TICK).await;
        pulse.fetch_add(1, Ordering::Relaxed);
        local.tick();
        service.sweep();
        service.begin_checks(|check| drop(monoio::spawn(accept::guarded(check))));
    }
}

fn wake_stream(wake: UnixStream, ring: Ring) -> io::Result<monoio::net::UnixStream> {
    wake.set_nonblocking(ring == Ring::Epoll)?;
    monoio::net::UnixStream::from_std(wake)
}

/// Waits for an order; `None`: the process wants the worker gone.
async fn next_order(wake: &mut monoio::net::UnixStream, orders: &Receiver<Order>) -> Option<Order> {
    loop {
        // Each order comes with a byte, so that none is left when the bytes are read.
        match orders.try_recv() {
            Ok(order) => return Some(order),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return None,
        }
        let (read, _) = wake.read(vec![0u8; 16]).await;
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
}
