//! The worker's coarse clock: read once a tick, so that the request path asks the kernel nothing.

use std::cell::{Cell, RefCell};
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
    // The wall second that `date` shows.
    date_of: Cell<u64>,
    date: RefCell<[u8; DATE_BYTES]>,
}

impl Clock {
    pub fn new() -> Clock {
        let clock = Clock {
            began: Instant::now(),
            now_ms: Cell::new(0),
            date_of: Cell::new(0),
            date: RefCell::new([b' '; DATE_BYTES]),
        };
        clock.tick();
        clock
    }

    /// Reads the system's clocks; called once a [`TICK`](super::TICK).
    pub fn tick(&self) {
        self.now_ms.set(self.began.elapsed().as_millis() as u64);
        let wall = SystemTime::now();
        let second = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if second != self.date_of.replace(second) {
            let text = httpdate::fmt_http_date(wall);
            if let Ok(bytes) = text.as_bytes().try_into() {
                *self.date.borrow_mut() = bytes;
            }
        }
    }

    /// Milliseconds since the worker began, at most a tick old.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    pub fn after(&self, wait: Duration) -> Until {
        Until(self.now_ms.get().saturating_add(wait.as_millis() as u64))
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
