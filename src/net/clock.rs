//! The worker's coarse clock: read once a tick, so that the request path asks the kernel nothing.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

/// A moment on the worker's clock, in milliseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Until(pub(super) u64);

impl Until {
    pub const NEVER: Until = Until(u64::MAX);
}

/// Length of an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
const DATE_BYTES: usize = 29;

pub struct Clock {
    began: Instant,
    now_ms: Cell<u64>,
    // How far it was moved on by hand.
    ahead_ms: Cell<u64>,
    // Unix time at the beginning, as it was known at the last tick: the wall clock may be set.
    began_unix_ms: Cell<u64>,
    // The wall second that `date` shows.
    date_of: Cell<u64>,
    date: RefCell<[u8; DATE_BYTES]>,
}

impl Clock {
    pub fn new() -> Clock {
        let clock = Clock {
            began: Instant::now(),
            now_ms: Cell::new(0),
            ahead_ms: Cell::new(0),
            began_unix_ms: Cell::new(0),
            date_of: Cell::new(0),
            date: RefCell::new([b' '; DATE_BYTES]),
        };
        clock.tick();
        clock
    }

    /// Reads the system's clocks; called once a [`TICK`](super::TICK).
    pub fn tick(&self) {
        self.now_ms.set(self.began.elapsed().as_millis() as u64 + self.ahead_ms.get());
        let wall = SystemTime::now();
        let unix = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.began_unix_ms.set((unix.as_millis() as u64).saturating_sub(self.now_ms.get()));
        let second = unix.as_secs();
        if second != self.date_of.replace(second) {
            let mut date = self.date.borrow_mut();
            write!(&mut date[..], "{}", httpdate::HttpDate::from(wall)).expect("as long as every date");
        }
    }

    /// From the next tick on it is so much later than it is: for tests, which have no time to wait.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.set(self.ahead_ms.get() + by.as_millis() as u64);
    }

    /// Milliseconds since the worker began, at most a tick old.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Microseconds since the worker began, exactly: for measuring. Reads the clock in the process (vDSO).
    pub fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Unix time, in milliseconds, of a moment that [`now_us`](Self::now_us) told.
    pub fn unix_ms(&self, at_us: u64) -> u64 {
        self.began_unix_ms.get() + at_us / 1000
    }

    pub fn after(&self, wait: Duration) -> Until {
        Until(self.now_ms.get().saturating_add(wait.as_millis() as u64))
    }

    /// How long it is until then; nothing when it has passed.
    pub fn left(&self, until: Until) -> Duration {
        Duration::from_millis(until.0.saturating_sub(self.now_ms.get()))
    }

    /// The value of `Date` now, at most a tick old.
    pub fn date(&self) -> [u8; DATE_BYTES] {
        *self.date.borrow()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
