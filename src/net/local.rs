//! What the sockets of one worker share: clock, deadlines, buffers, places for futures.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::buffer::BufferPool;
use super::clock::{Clock, Until};
use super::deadline::Deadlines;
use super::future_pool::FuturePool;
use super::pauses::{Pause, Pauses};

#[derive(Clone)]
pub struct Local {
    pub clock: Rc<Clock>,
    pub buffers: Rc<BufferPool>,
    pub futures: FuturePool,
    pub(super) deadlines: Rc<Deadlines>,
    pauses: Rc<Pauses>,
    pub(super) sends: Rc<Cell<u64>>,
}

impl Local {
    pub fn new() -> Local {
        let clock = Rc::new(Clock::new());
        Local {
            deadlines: Deadlines::new(clock.clone()),
            buffers: Rc::default(),
            futures: FuturePool::default(),
            pauses: Rc::default(),
            sends: Rc::default(),
            clock,
        }
    }

    /// Moves the clock on and ends operations that are late; for the worker's one timer.
    pub fn tick(&self) {
        let second = self.clock.now_ms() / 1000;
        self.clock.tick();
        self.deadlines.tick();
        self.pauses.tick();
        if self.clock.now_ms() / 1000 != second {
            self.buffers.trim();
            self.futures.trim();
        }
    }

    /// Ends after `time`. May be dropped before.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        // Placed: a timer is large and aligned to 128 bytes, which every future around it would be, too.
        self.futures.place(|| monoio::time::sleep(time))
    }

    /// Ends after a tick or two; costs next to nothing when dropped before.
    pub fn pause(&self) -> Pause {
        self.pauses.pause()
    }

    /// Ends at a moment of the worker's clock, a tick late at most. May be dropped before.
    pub fn sleep_until(&self, until: Until) -> impl Future<Output = ()> + use<> {
        self.sleep(Duration::from_millis(until.0.saturating_sub(self.clock.now_ms())))
    }

    /// Sends made on all sockets of the worker so far.
    pub fn sends(&self) -> u64 {
        self.sends.get()
    }

    /// Ends the wait of every connection that is between two requests.
    pub fn expire_idle(&self) {
        self.deadlines.expire_idle();
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}
