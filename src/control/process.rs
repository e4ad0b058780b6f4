//! The process: makes all threads and channels, waits for signals and for the workers.
//!
//! ```text
//! starting --all workers up--> serving --SIGTERM--> draining --all ended--> exit
//!                                                   draining --SIGTERM--> exit at once
//! ```

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use super::generation::{self, SiteWarning};
use super::listen::{self, Bound};
use super::{StartFailure, signals};
use crate::config::{Config, Generation, Workers};
use crate::http::Scheme;
use crate::metrics::Counters;
use crate::worker::{Order, Report, Ring, Worker};

/// How the process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection finished.
    Clean,
    /// So many connections were still open at `drain_timeout`, or when a second signal came.
    Cut(usize),
}

/// Serves until a signal says to stop. `on_ready` is called once, when every worker accepts, with the
/// addresses that are listened on.
///
/// # Errors
/// What kept it from serving; later only a worker that failed, which ends the process.
pub fn run(
    config: Config,
    ring: Ring,
    on_ready: impl FnOnce(&[(Scheme, SocketAddr)]),
) -> Result<Ended, StartFailure> {
    raise_descriptor_limit();
    let cores = cores_allowed();
    let count = match config.workers {
        Workers::PerCore => cores.len(),
        Workers::Count(count) => usize::from(count.get()),
    };
    let bound = listen::bind(&config, count).map_err(StartFailure::Bind)?;
    let addresses: Vec<_> = bound.iter().map(|bound| (bound.scheme, bound.address)).collect();
    let mut warnings = Vec::new();
    let generation = Arc::new(generation::build(config, &addresses, &mut warnings)?);
    for SiteWarning { site, warning, .. } in &warnings {
        tracing::warn!(site, "{warning}");
    }

    let (events, inbox) = channel();
    let stop = events.clone();
    // The receiver lives as long as the process serves.
    signals::watch(move || drop(stop.send(Event::Stop))).map_err(StartFailure::System)?;

    let workers = start_workers(&generation, bound, count, &cores, ring, &events)?;
    wait_until_started(&inbox, count)?;
    on_ready(&addresses);
    let ended = wait_until_ended(&inbox, &workers, generation.config.drain_timeout)?;
    log_totals(&workers);
    Ok(ended)
}

enum Event {
    Stop,
    Worker(Report),
}

/// A worker as the process sees it.
struct Running {
    orders: Sender<Order>,
    wake: UnixStream,
    counters: Arc<Counters>,
}

fn start_workers(
    generation: &Arc<Generation>,
    bound: Vec<Bound>,
    count: usize,
    cores: &[usize],
    ring: Ring,
    events: &Sender<Event>,
) -> Result<Vec<Running>, StartFailure> {
    let connections_max = generation.config.limits.connections_max.div_ceil(count);
    let mut workers = Vec::with_capacity(count);
    for (index, listeners) in listen::deal(bound, count).into_iter().enumerate() {
        let (orders, inbox) = channel();
        let (wake, woken) = UnixStream::pair().map_err(StartFailure::System)?;
        let counters = Arc::new(Counters::default());
        let worker = Worker {
            index,
            core: cores.get(index % cores.len().max(1)).copied(),
            ring,
            listeners,
            generation: generation.clone(),
            connections_max,
            counters: counters.clone(),
            orders: inbox,
            wake: woken,
        };
        let events = events.clone();
        worker.start(move |report| drop(events.send(Event::Worker(report)))).map_err(StartFailure::System)?;
        workers.push(Running { orders, wake, counters });
    }
    Ok(workers)
}

fn wait_until_started(inbox: &Receiver<Event>, count: usize) -> Result<(), StartFailure> {
    let mut started = 0;
    while started < count {
        match next(inbox)? {
            Event::Stop => return Err(StartFailure::Interrupted),
            Event::Worker(Report::Started { worker, ring, failed }) => {
                started += 1;
                log_ring(worker, ring, &failed);
            }
            Event::Worker(Report::Failed { worker, error }) => {
                return Err(StartFailure::Worker { worker, error });
            }
            Event::Worker(Report::Ended { .. }) => {}
        }
    }
    Ok(())
}

fn wait_until_ended(
    inbox: &Receiver<Event>,
    workers: &[Running],
    drain_timeout: Duration,
) -> Result<Ended, StartFailure> {
    let mut draining = false;
    let mut running = workers.len();
    let mut cut = 0;
    while running > 0 {
        match next(inbox)? {
            Event::Stop if draining => {
                tracing::warn!("second signal: leaving at once");
                return Ok(Ended::Cut(open_connections(workers)));
            }
            Event::Stop => {
                draining = true;
                let open = open_connections(workers);
                tracing::info!(connections = open, timeout = ?drain_timeout, "draining: accepting no more");
                order(workers, Order::Drain(Instant::now() + drain_timeout));
            }
            Event::Worker(Report::Ended { cut: open, .. }) => {
                running -= 1;
                cut += open;
            }
            Event::Worker(Report::Failed { worker, error }) => {
                return Err(StartFailure::Worker { worker, error });
            }
            Event::Worker(Report::Started { .. }) => {}
        }
    }
    Ok(if cut == 0 { Ended::Clean } else { Ended::Cut(cut) })
}

fn next(inbox: &Receiver<Event>) -> Result<Event, StartFailure> {
    // Every worker and the signal thread hold a sender for as long as they run.
    inbox.recv().map_err(|_| StartFailure::System(io::Error::other("all threads are gone")))
}

fn order(workers: &[Running], order: Order) {
    for worker in workers {
        // A worker that has ended needs no order.
        if worker.orders.send(order).is_ok() {
            let _ = (&worker.wake).write(&[1]);
        }
    }
}

fn open_connections(workers: &[Running]) -> usize {
    workers.iter().map(|worker| worker.counters.connections_open.value() as usize).sum()
}

fn log_ring(worker: usize, ring: Ring, failed: &[(Ring, io::Error)]) {
    for (better, error) in failed {
        tracing::warn!(
            worker,
            ring = %better,
            %error,
            "this ring cannot be set up; slower ones are tried. Check `ulimit -l` (locked memory; \
             LimitMEMLOCK=infinity in a unit file) and `sysctl kernel.io_uring_disabled`"
        );
    }
    tracing::info!(worker, %ring, "worker started");
}

/// What was counted, over all workers: the last word of the process.
fn log_totals(workers: &[Running]) {
    let mut totals: Vec<(&str, u64)> = Vec::new();
    for worker in workers {
        for (position, (name, _, value)) in worker.counters.each().enumerate() {
            match totals.get_mut(position) {
                Some(total) => total.1 += value,
                None => totals.push((name, value)),
            }
        }
    }
    let counted: Vec<String> = totals
        .iter()
        .filter(|(_, value)| *value > 0)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    tracing::info!("ended: {}", counted.join(" "));
}

fn cores_allowed() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Each connection takes one or two descriptors; the soft limit of 1,024 is for select(2).
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays where it was");
    }
}
