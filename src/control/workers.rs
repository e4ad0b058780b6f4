//! The workers as the process sees them: started, told, counted.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use super::StartFailure;
use super::listen::{self, Bound, Sockets};
use crate::config::{Config, Generation};
use crate::metrics::Counters;
use crate::sandbox::{self, Rules, Task};
use crate::spool::Inlet;
use crate::worker::{Order, Queue, Report, Ring, Worker};

pub(super) struct Workers(Vec<Running>);

struct Running {
    orders: Sender<Order>,
    wake: UnixStream,
    counters: Arc<Counters>,
    pulse: Arc<AtomicU64>,
    // Number of the generation it serves with.
    generation: u64,
}

impl Workers {
    /// Starts one for each inlet, pinned to `cores` in turn.
    ///
    /// # Errors
    /// When a thread or a socket pair cannot be had.
    pub(super) fn start(
        cores: &[usize],
        ring: Ring,
        generation: &Arc<Generation>,
        sockets: Vec<Sockets>,
        inlets: Vec<Inlet>,
        report: impl Fn(Report) + Clone + Send + 'static,
    ) -> Result<Workers, StartFailure> {
        let count = inlets.len();
        let mut workers = Vec::with_capacity(count);
        let hands = listen::deal(sockets, count).into_iter().zip(inlets);
        for (index, (listeners, lines)) in hands.enumerate() {
            let (orders, inbox) = channel();
            let (wake, woken) = UnixStream::pair().map_err(StartFailure::System)?;
            let counters = Arc::new(Counters::default());
            let pulse = Arc::new(AtomicU64::new(0));
            let worker = Worker {
                index,
                count,
                core: cores.get(index % cores.len().max(1)).copied(),
                ring,
                listeners,
                generation: generation.clone(),
                counters: counters.clone(),
                lines,
                sandbox: rules(&generation.config),
                pulse: pulse.clone(),
                orders: inbox,
                wake: woken,
            };
            worker.start(report.clone()).map_err(StartFailure::System)?;
            workers.push(Running { orders, wake, counters, pulse, generation: generation.number });
        }
        Ok(Workers(workers))
    }

    pub(super) fn pulses(&self) -> Vec<Arc<AtomicU64>> {
        self.0.iter().map(|worker| worker.pulse.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Has all of them serve with this generation, on these listeners besides those they have, and no more
    /// on those that are `gone`.
    pub(super) fn install(&self, generation: &Arc<Generation>, new: Vec<Sockets>, gone: &[Bound]) {
        let remove: Vec<_> = gone.iter().map(|bound| (bound.scheme, bound.address)).collect();
        for (worker, add) in self.0.iter().zip(listen::deal(new, self.count())) {
            worker.order(Order::Install { generation: generation.clone(), add, remove: remove.clone() });
        }
    }

    /// Has all of them accept no more, and end at the deadline at the latest. `idle`: until when connections without
    /// a request may stay.
    pub(super) fn drain(&self, idle: Instant, deadline: Instant, queue: Queue) {
        for worker in &self.0 {
            worker.order(Order::Drain { idle, deadline, queue });
        }
    }

    /// A worker says that it serves with this generation. True when that was the last one to say so.
    pub(super) fn installed(&mut self, worker: usize, generation: u64) -> bool {
        self.0[worker].generation = generation;
        self.0.iter().all(|worker| worker.generation == generation)
    }

    /// What each of them counts.
    pub(super) fn counters(&self) -> Vec<Arc<Counters>> {
        self.0.iter().map(|worker| worker.counters.clone()).collect()
    }

    pub(super) fn connections_open(&self) -> usize {
        self.0.iter().map(|worker| worker.counters.connections_open.value() as usize).sum()
    }

    /// What was counted, over all of them: the last word of the process.
    pub(super) fn log_totals(&self) {
        let mut totals: Vec<(&str, u64)> = Vec::new();
        for worker in &self.0 {
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
}

fn rules(config: &Config) -> Rules {
    Rules { landlock: config.sandbox.landlock, seccomp: config.sandbox.seccomp }
}

/// What a thread that is no worker does first.
pub(super) fn confining(config: &Config, task: Task) -> impl FnOnce() + Send + 'static {
    let rules = rules(config);
    move || {
        for left in sandbox::confine(task, rules) {
            tracing::debug!(?task, "this thread is not confined as it should be: {left}");
        }
    }
}

impl Running {
    fn order(&self, order: Order) {
        // A worker that has ended needs no order.
        if self.orders.send(order).is_ok() {
            let _ = (&self.wake).write(&[1]);
        }
    }
}

/// Says on which ring a worker runs, and why not on a better one.
pub(super) fn log_ring(worker: usize, ring: Ring, failed: &[(Ring, io::Error)]) {
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
