//! Waits of a tick or two, for what is worth doing only when something else takes its time.
//!
//! A timer of the runtime for each request would cost each request; a place in a list costs next to nothing, and the
//! worker's tick walks the list.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Those who wait, by the tick they began in.
#[derive(Default)]
pub(super) struct Pauses {
    tick: Cell<u64>,
    waiting: RefCell<Vec<Option<(u64, Waker)>>>,
    free: RefCell<Vec<usize>>,
}

impl Pauses {
    /// Wakes those who waited for a whole tick; called once a tick.
    pub(super) fn tick(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        for (began, waker) in self.waiting.borrow().iter().flatten() {
            if began + 1 < now {
                waker.wake_by_ref();
            }
        }
    }

    pub(super) fn pause(self: &Rc<Self>) -> Pause {
        Pause { pauses: self.clone(), began: self.tick.get(), place: None }
    }
}

/// Ends when a tick has passed whole. May be dropped before.
pub struct Pause {
    pauses: Rc<Pauses>,
    began: u64,
    place: Option<usize>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.began + 1 < self.pauses.tick.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.pauses.waiting.borrow_mut();
        match self.place {
            Some(place) => {
                if let Some((_, waker)) = &mut waiting[place] {
                    waker.clone_from(context.waker());
                }
                drop(waiting);
            }
            None => {
                let entry = Some((self.began, context.waker().clone()));
                let free = self.pauses.free.borrow_mut().pop();
                let place = match free {
                    Some(place) => {
                        waiting[place] = entry;
                        place
                    }
                    None => {
                        waiting.push(entry);
                        waiting.len() - 1
                    }
                };
                drop(waiting);
                self.place = Some(place);
            }
        }
        Poll::Pending
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.pauses.waiting.borrow_mut()[place] = None;
            self.pauses.free.borrow_mut().push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[test]
    fn a_pause_lasts_a_whole_tick_and_leaves_its_place() {
        let pauses = Rc::new(Pauses::default());
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut pause = pin!(pauses.pause());
            assert!(pause.as_mut().poll(&mut context).is_pending());
            pauses.tick();
            assert!(pause.as_mut().poll(&mut context).is_pending(), "that tick had begun before");
            pauses.tick();
            assert!(pause.as_mut().poll(&mut context).is_ready());
        }
        for _ in 0..100 {
            let mut pause = pin!(pauses.pause());
            assert!(pause.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(pauses.waiting.borrow().len(), 1);
    }
}
