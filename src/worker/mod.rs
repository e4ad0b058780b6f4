//! One thread, one core, one ring: accepts connections and runs them to their end.
//!
//! A worker owns everything a request touches: listeners, upstream pool, buffers, counters. Workers
//! share the immutable generation and the shards of the session cache, nothing else, and never wait for
//! each other. `control` talks to a worker through a channel and wakes it with a byte.
//!
//! ```text
//! serving --Drain--> draining --no connection left, or the deadline--> ended
//! ```

mod accept;
mod runtime;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monoio::io::AsyncReadRent;

use crate::config::Generation;
use crate::downstream::Service;
use crate::http::Scheme;
use crate::metrics::Counters;
use crate::net::{Local, TICK};

pub use runtime::Ring;

/// Everything a worker starts with.
pub struct Worker {
    pub index: usize,
    /// The core it is pinned to; `None` when there are more workers than cores allowed.
    pub core: Option<usize>,
    pub ring: Ring,
    pub listeners: Vec<Listener>,
    pub generation: Arc<Generation>,
    pub connections_max: usize,
    pub counters: Arc<Counters>,
    pub orders: Receiver<Order>,
    /// A byte here says that there are orders; its end, that the process wants the worker gone.
    pub wake: UnixStream,
}

/// A bound and listening socket of this worker alone.
pub struct Listener {
    pub scheme: Scheme,
    pub socket: TcpListener,
}

/// What `control` tells a worker.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Accept no more, finish what runs, end at the moment given.
    Drain(Instant),
}

/// What a worker tells `control`.
#[derive(Debug)]
pub enum Report {
    Started {
        worker: usize,
        ring: Ring,
        failed: Vec<(Ring, io::Error)>,
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
        let local = Local::new();
        let service = Rc::new(Service::new(
            self.index,
            self.generation,
            self.counters,
            self.connections_max,
            local.clone(),
        ));
        let stop = accept::Stop::new();
        for listener in self.listeners {
            accept::start(listener, ring, &service, &stop)?;
        }
        monoio::spawn(tick(local, service.clone()));
        report(Report::Started { worker: self.index, ring, failed });

        let mut wake = wake_stream(self.wake, ring)?;
        let deadline = wait_for_drain(&mut wake, &self.orders).await;
        stop.now();
        service.drain();
        while (service.connections_open() > 0 || !stop.is_done()) && Instant::now() < deadline {
            monoio::time::sleep(DRAIN_LOOK).await;
        }
        // What was counted since the last tick.
        service.sweep();
        Ok(service.connections_open())
    }
}

/// How often a draining worker looks whether it may go.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// The worker's one timer: moves the clock on, ends what is late, sweeps the pool.
async fn tick(local: Local, service: Rc<Service>) {
    loop {
        monoio::time::sleep(TICK).await;
        local.tick();
        service.sweep();
    }
}

fn wake_stream(wake: UnixStream, ring: Ring) -> io::Result<monoio::net::UnixStream> {
    wake.set_nonblocking(ring == Ring::Epoll)?;
    monoio::net::UnixStream::from_std(wake)
}

/// Works off orders until one says to drain; returns when the drain must have ended.
async fn wait_for_drain(wake: &mut monoio::net::UnixStream, orders: &Receiver<Order>) -> Instant {
    let mut bytes = vec![0u8; 16];
    loop {
        let (read, back) = wake.read(bytes).await;
        bytes = back;
        match orders.try_recv() {
            Ok(Order::Drain(deadline)) => return deadline,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Instant::now(),
        }
        if !matches!(read, Ok(1..)) {
            return Instant::now();
        }
    }
}
