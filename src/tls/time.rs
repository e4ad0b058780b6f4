//! The time as the session stores need it: given by the shell, never read here.

use std::time::Duration;

/// One reading of both clocks, in milliseconds.
///
/// The cache and keys of one process count on `monotonic`, which no clock setting moves; tickets
/// that other machines open can only count on `unix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since some start of this process; never goes back.
    pub monotonic: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix: u64,
}

impl Moment {
    /// The moment `duration` later on both clocks.
    pub fn plus(self, duration: Duration) -> Moment {
        let ms = milliseconds(duration);
        Moment { monotonic: self.monotonic.saturating_add(ms), unix: self.unix.saturating_add(ms) }
    }
}

/// Where the stores read the time; the shell has the real one, tests inject their own.
///
/// Any `Fn() -> Moment` is one. rustls calls the stores without a time argument, hence an object.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

impl<F> Clock for F
where
    F: Fn() -> Moment + Send + Sync,
{
    fn now(&self) -> Moment {
        self()
    }
}

/// Whole milliseconds of `duration`, at most `u64::MAX`.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
