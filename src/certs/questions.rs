//! Questions to sources, off the workers: a small pool of threads, one question at a time for a name.
//!
//! ```text
//! worker ─ ask(key) ─▶ running already? ─ yes ─▶ the reply waits with the others
//!                          │ no
//!                          ├─ a certificate of the name is known ─▶ queue of known names ──┐
//!                          └─ unknown, within the budget ─────────▶ queue of unknown names ├─▶ threads
//! ```
//!
//! Some threads never take an unknown name, so that a flood of names nobody has does not keep a known one from
//! being asked anew. Queues are bounded; what does not fit is answered `Failed` at once and is not remembered.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::AskFailure;
use super::counts::ReasonCounts;
use crate::tls::{Answer, NameKey, Reply};

/// Threads, and how many of them leave unknown names alone.
const THREADS: usize = 8;
const FOR_KNOWN: usize = 2;
/// Questions that wait for a thread; each is a name of up to 255 bytes and what waits for it.
const QUEUE_MAX: usize = 1024;
/// Replies that wait for one question: handshakes of one name.
const REPLIES_MAX: usize = 4096;
/// Unknown names that may come at once before the rate holds, in seconds of it.
const BURST_SECONDS: f64 = 5.0;

/// Counted since the start.
#[derive(Default)]
pub struct QuestionCounters {
    pub asked: AtomicU64,
    /// By the reason of [`AskFailure`](super::AskFailure).
    pub failed: ReasonCounts,
    /// Not asked: the budget for unknown names was spent, or a queue was full.
    pub over_budget: AtomicU64,
}

type Work = Box<dyn FnOnce() -> Answer + Send>;

pub(super) struct Questions {
    state: Mutex<State>,
    work: Condvar,
    pub(super) counters: QuestionCounters,
}

struct State {
    known: VecDeque<(NameKey, Work)>,
    unknown: VecDeque<(NameKey, Work)>,
    // Queued or being asked.
    running: HashMap<NameKey, Vec<Reply>>,
    threads: usize,
    budget: Budget,
}

impl Questions {
    /// `per_second`: unknown names.
    pub(super) fn new(per_second: u32) -> Arc<Questions> {
        Arc::new(Questions {
            state: Mutex::new(State {
                known: VecDeque::new(),
                unknown: VecDeque::new(),
                running: HashMap::new(),
                threads: 0,
                budget: Budget::new(per_second),
            }),
            work: Condvar::new(),
            counters: QuestionCounters::default(),
        })
    }

    pub(super) fn set_budget(&self, per_second: u32) {
        let mut state = self.lock();
        if state.budget.per_second != per_second {
            state.budget = Budget::new(per_second);
        }
    }

    /// Starts the threads; once for the process, when there is a source to ask.
    ///
    /// # Errors
    /// Those of thread creation.
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let mut state = self.lock();
        while state.threads < THREADS {
            let number = state.threads;
            let questions = Arc::clone(self);
            let run = move || questions.run(number < FOR_KNOWN);
            std::thread::Builder::new().name(format!("certificates-{number}")).spawn(run)?;
            state.threads += 1;
        }
        Ok(())
    }

    /// `work` asks, takes up the answer and returns it; it runs once for all who wait for `key`.
    pub(super) fn ask(&self, key: NameKey, known: bool, reply: Reply, work: Work) {
        let refused = {
            let mut state = self.lock();
            if let Some(waiting) = state.running.get_mut(&key) {
                if waiting.len() < REPLIES_MAX {
                    waiting.push(reply);
                    return;
                }
                reply
            } else {
                let queue = if known { &state.known } else { &state.unknown };
                if queue.len() < QUEUE_MAX && (known || state.budget.take(Instant::now())) {
                    state.running.insert(key, vec![reply]);
                    let queue = if known { &mut state.known } else { &mut state.unknown };
                    queue.push_back((key, work));
                    drop(state);
                    // All: one alone might be one that leaves this kind of question.
                    self.work.notify_all();
                    return;
                }
                reply
            }
        };
        self.counters.over_budget.fetch_add(1, Ordering::Relaxed);
        refused(Answer::Failed);
    }

    fn run(&self, for_known: bool) {
        loop {
            let (key, work) = self.next(for_known);
            self.counters.asked.fetch_add(1, Ordering::Relaxed);
            // A defect in one question is no reason to ask no more.
            let answer = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                self.counters.failed.add(AskFailure::Defect.reason());
                Answer::Failed
            });
            let replies = self.lock().running.remove(&key);
            for reply in replies.into_iter().flatten() {
                reply(answer.clone());
            }
        }
    }

    fn next(&self, for_known: bool) -> (NameKey, Work) {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.known.pop_front() {
                return next;
            }
            if !for_known && let Some(next) = state.unknown.pop_front() {
                return next;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bucket of tokens: one for each unknown name that is asked.
struct Budget {
    per_second: u32,
    tokens: f64,
    filled: Option<Instant>,
}

impl Budget {
    fn new(per_second: u32) -> Budget {
        Budget { per_second, tokens: f64::from(per_second) * BURST_SECONDS, filled: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.per_second);
        let since = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
        self.filled = Some(now);
        self.tokens = (self.tokens + since.as_secs_f64() * rate).min(rate * BURST_SECONDS);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn key(name: &str) -> NameKey {
        NameKey::new(&[0; 32], name.as_bytes())
    }

    #[test]
    fn a_name_is_asked_once_for_all_who_wait() {
        let questions = Questions::new(100);
        questions.start().unwrap();
        let (go, gate) = channel::<()>();
        let (said, answers) = channel();
        let mut gate = Some(gate);
        for _ in 0..5 {
            let said = said.clone();
            let gate = gate.take();
            questions.ask(
                key("a"),
                false,
                Box::new(move |answer| said.send(matches!(answer, Answer::Nothing)).unwrap()),
                Box::new(move || {
                    gate.expect("only the first one works").recv().unwrap();
                    Answer::Nothing
                }),
            );
        }
        go.send(()).unwrap();
        assert!((0..5).all(|_| answers.recv().unwrap()));
        assert_eq!(questions.counters.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn unknown_names_that_hang_leave_threads_to_known_ones_and_a_panic_is_a_failure() {
        let questions = Questions::new(100);
        questions.start().unwrap();
        let (go, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for number in 0..THREADS * 2 {
            let gate = Arc::clone(&gate);
            let hang = Box::new(move || {
                let _ = gate.lock().unwrap().recv();
                Answer::Nothing
            });
            questions.ask(key(&format!("u{number}")), false, Box::new(drop), hang);
        }
        let (said, answers) = channel();
        let reply = Box::new(move |answer| said.send(matches!(answer, Answer::Failed)).unwrap());
        questions.ask(key("known"), true, reply, Box::new(|| panic!("a defect")));
        assert!(answers.recv().unwrap());
        drop(go);
    }

    #[test]
    fn the_budget_bounds_unknown_names() {
        let mut budget = Budget::new(2);
        let start = Instant::now();
        let taken = (0..100).filter(|_| budget.take(start)).count();
        assert_eq!(taken, 10);
        assert!(budget.take(start + Duration::from_millis(500)));
        assert!(!budget.take(start + Duration::from_millis(600)));

        let questions = Questions::new(1);
        let (said, answers) = channel();
        for number in 0..6 {
            let said = said.clone();
            let reply = Box::new(move |answer| said.send(matches!(answer, Answer::Failed)).unwrap());
            questions.ask(key(&number.to_string()), false, reply, Box::new(|| Answer::Nothing));
        }
        assert!(answers.recv().unwrap(), "the sixth at once, no thread runs");
        assert_eq!(questions.counters.over_budget.load(Ordering::Relaxed), 1);
    }
}
