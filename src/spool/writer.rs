//! The writer: one thread that waits for blocks of all workers and gives them to their sinks.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::access_log::AccessLog;

/// Blocks a worker may have at most, whatever is configured: what the queues are made for.
const BLOCKS_CEILING: usize = 256;
/// How often a loss is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long the end of the process waits for lines to be written.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Lines of one log.
pub(super) struct Block {
    pub(super) log: Arc<AccessLog>,
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// A worker's end of its queues.
pub struct Inlet {
    full: SyncSender<Block>,
    empty: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
}

/// The thread, as the process sees it.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    handle: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// What a worker may have of blocks now; a reload may change it.
    blocks_max: std::sync::atomic::AtomicUsize,
    ending: AtomicBool,
    lost: AtomicU64,
    /// The thread to wake; set before any worker starts.
    thread: std::sync::OnceLock<Thread>,
    /// Logs to open anew.
    reopen: Mutex<Vec<Arc<AccessLog>>>,
}

impl Inlet {
    pub(super) fn blocks_max(&self) -> usize {
        self.shared.blocks_max.load(Ordering::Relaxed)
    }

    pub(super) fn send(&self, block: Block) -> Result<(), Block> {
        let sent = self.full.try_send(block);
        if let Some(thread) = self.shared.thread.get() {
            // No system call unless it sleeps.
            thread.unpark();
        }
        sent.map_err(|error| match error {
            TrySendError::Full(block) | TrySendError::Disconnected(block) => block,
        })
    }

    pub(super) fn empty(&self) -> Result<Vec<u8>, TryRecvError> {
        self.empty.try_recv()
    }
}

impl Writer {
    /// Starts the thread, with an inlet for each worker. `confine`: what it does first.
    ///
    /// # Errors
    /// Those of thread creation.
    pub fn start(
        workers: usize,
        confine: impl FnOnce() + Send + 'static,
    ) -> io::Result<(Writer, Vec<Inlet>)> {
        let shared = Arc::new(Shared::default());
        let mut inlets = Vec::with_capacity(workers);
        let mut queues = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (full, filled) = sync_channel(BLOCKS_CEILING);
            let (back, empty) = sync_channel(BLOCKS_CEILING);
            inlets.push(Inlet { full, empty, shared: shared.clone() });
            queues.push((filled, back));
        }
        let of_thread = shared.clone();
        let handle = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            confine();
            write(&of_thread, &queues);
        })?;
        let thread = handle.thread().clone();
        // Set once, here.
        let _ = shared.thread.set(thread.clone());
        Ok((Writer { shared, thread, handle }, inlets))
    }

    /// Bytes of lines each worker may have on their way.
    pub fn set_bound(&self, bytes: u64) {
        self.shared.blocks_max.store(super::lines::blocks(bytes).min(BLOCKS_CEILING), Ordering::Relaxed);
    }

    /// Has a log opened anew, behind the lines that wait now.
    pub fn reopen(&self, log: &Arc<AccessLog>) {
        self.shared.reopen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(log.clone());
        self.thread.unpark();
    }

    /// Tells how many lines could not be written.
    pub fn lost(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.lost.load(Ordering::Relaxed)
    }

    /// Writes what is there, when no worker sends any more; gives up when that takes too long.
    pub fn end(self) {
        self.shared.ending.store(true, Ordering::Release);
        self.thread.unpark();
        let since = Instant::now();
        // Seldom longer than the first; a slow log is not asked a thousand times.
        let mut pause = Duration::from_millis(1);
        while !self.handle.is_finished() && since.elapsed() < LAST_WRITES {
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn write(shared: &Shared, queues: &[(Receiver<Block>, SyncSender<Vec<u8>>)]) {
    let mut told: Option<Instant> = None;
    let mut untold = 0;
    loop {
        let ending = shared.ending.load(Ordering::Acquire);
        let mut wrote = false;
        for (filled, back) in queues {
            // A round for each worker: one that floods does not keep the others waiting.
            if let Ok(Block { log, mut bytes, lines }) = filled.try_recv() {
                wrote = true;
                let lost = log.sink.write(&bytes).min(lines);
                shared.lost.fetch_add(lost, Ordering::Relaxed);
                untold += lost;
                bytes.clear();
                // The queue has room for every block of the worker; without a worker nobody needs it.
                let _ = back.try_send(bytes);
            }
        }
        if untold > 0 && told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            tracing::error!(lines = untold, "lines of the access log could not be written");
            told = Some(Instant::now());
            untold = 0;
        }
        if wrote {
            continue;
        }
        let reopen =
            std::mem::take(&mut *shared.reopen.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for log in reopen {
            log.sink.reopen();
        }
        if ending {
            return;
        }
        std::thread::park();
    }
}
