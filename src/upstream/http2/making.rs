//! The making of a connection, for all who want one at the same time: one makes it, the others wait.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::upstream::connect::ConnectFailure;

/// Over from the beginning: nobody makes one.
#[derive(Default)]
pub(super) struct Making {
    state: Cell<State>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// There is one, or whoever made it has gone: look again.
    #[default]
    Over,
    UnderWay,
    Failed(Why, io::ErrorKind),
}

#[derive(Clone, Copy)]
enum Why {
    TimedOut,
    Failed,
    Tls,
}

impl Making {
    /// Whether nobody need be waited for: what failed is tried again by who comes after.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state.get(), State::UnderWay)
    }

    /// Ready when it is over.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(match self.state.get() {
            State::UnderWay => {
                // At most one for each look: of those who look more than once all but the last are woken in vain.
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            State::Over => Ok(()),
            State::Failed(Why::TimedOut, _) => Err(ConnectFailure::TimedOut),
            State::Failed(Why::Failed, kind) => Err(ConnectFailure::Failed(kind.into())),
            State::Failed(Why::Tls, kind) => Err(ConnectFailure::Tls(kind.into())),
        })
    }

    fn end(&self, state: State) {
        self.state.set(state);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// Held by whoever makes it, then by the connection until its peer has greeted; lets the others go on when it goes.
pub(in crate::upstream) struct MakingGuard(Rc<Making>);

impl Default for MakingGuard {
    fn default() -> Self {
        let making = Making::default();
        making.state.set(State::UnderWay);
        MakingGuard(Rc::new(making))
    }
}

impl Drop for MakingGuard {
    fn drop(&mut self) {
        if !self.0.is_over() {
            self.0.end(State::Over);
        }
    }
}

impl MakingGuard {
    pub(super) fn making(&self) -> Rc<Making> {
        self.0.clone()
    }

    /// All who wait fail by the same.
    pub(in crate::upstream) fn failed(&self, failure: &ConnectFailure) {
        self.0.end(match failure {
            ConnectFailure::TimedOut => State::Failed(Why::TimedOut, io::ErrorKind::TimedOut),
            ConnectFailure::Failed(error) => State::Failed(Why::Failed, error.kind()),
            ConnectFailure::Tls(error) => State::Failed(Why::Tls, error.kind()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(making: &Making) -> Poll<Result<(), ConnectFailure>> {
        making.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_waits_goes_on_when_it_is_made_given_up_or_has_failed() {
        assert!(Making::default().is_over());
        let guard = MakingGuard::default();
        let making = guard.making();
        assert!(poll(&making).is_pending() && !making.is_over());
        drop(guard);
        assert!(matches!(poll(&making), Poll::Ready(Ok(()))));
        let guard = MakingGuard::default();
        let making = guard.making();
        guard.failed(&ConnectFailure::TimedOut);
        drop(guard);
        assert!(making.is_over() && matches!(poll(&making), Poll::Ready(Err(ConnectFailure::TimedOut))));
    }
}
