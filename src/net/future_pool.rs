//! Places for the futures of busy connections, lent while they run.
//!
//! What handles a request is a future of some kilobytes. Kept inside its connection it would cost each idle
//! connection that memory; boxed anew it would cost each request an allocation. So a worker keeps as many
//! places as it has had busy connections at once, and lends them out.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes of a place. A future that is larger does not compile.
const PLACE: Layout = match Layout::from_size_align(16 * 1024, 128) {
    Ok(layout) => layout,
    Err(_) => panic!("a layout of constants"),
};
/// Places kept when nobody uses them; more are given back to the allocator at once.
const KEPT: usize = 1024;

#[derive(Clone, Default)]
pub struct FuturePool(Rc<Places>);

#[derive(Default)]
struct Places {
    // Each was allocated with the layout `PLACE` and is nobody's.
    free: RefCell<Vec<NonNull<u8>>>,
    // The fewest that were free since the last trim: nobody needed these.
    unused: Cell<usize>,
}

impl FuturePool {
    /// Makes a future in a place; it lives there until it is dropped.
    ///
    /// `make` is inlined, so that the future is not made elsewhere first and copied: a copy of some kilobytes
    /// for each request.
    #[inline(always)]
    pub fn place<F: Future>(&self, make: impl FnOnce() -> F) -> Placed<F> {
        const { assert!(size_of::<F>() <= PLACE.size() && align_of::<F>() <= PLACE.align()) };
        let place = self.0.take().unwrap_or_else(|| {
            // SAFETY: the layout has a size.
            let place = unsafe { alloc(PLACE) };
            NonNull::new(place).unwrap_or_else(|| handle_alloc_error(PLACE))
        });
        let place = place.cast::<F>();
        // SAFETY: the place is ours alone, and large and aligned enough for F by the assertion above.
        unsafe { place.write(make()) };
        Placed { place, places: self.0.clone(), holds: PhantomData }
    }

    /// Gives back to the allocator half of what was not needed since the last call; for every second or so.
    pub fn trim(&self) {
        let mut free = self.0.free.borrow_mut();
        let surplus = self.0.unused.get().div_ceil(2);
        for place in free.drain(..surplus) {
            // SAFETY: allocated with this layout, and nobody's.
            unsafe { dealloc(place.as_ptr(), PLACE) };
        }
        self.0.unused.set(free.len());
    }
}

impl Places {
    fn take(&self) -> Option<NonNull<u8>> {
        let mut free = self.free.borrow_mut();
        let place = free.pop();
        self.unused.set(self.unused.get().min(free.len()));
        place
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for place in self.free.borrow_mut().drain(..) {
            // SAFETY: allocated with this layout, and nobody's.
            unsafe { dealloc(place.as_ptr(), PLACE) };
        }
    }
}

/// A future in its place.
pub struct Placed<F> {
    // Holds a valid F, which does not move until it is dropped.
    place: NonNull<F>,
    places: Rc<Places>,
    holds: PhantomData<F>,
}

// F itself is pinned in its place, wherever this handle goes.
impl<F> Unpin for Placed<F> {}

impl<F: Future> Future for Placed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let place = &mut self.get_mut().place;
        // SAFETY: the place holds a valid F that only `self` reaches, and F is not moved: the place stays
        // where it is until `drop` drops F in it.
        unsafe { Pin::new_unchecked(place.as_mut()) }.poll(context)
    }
}

impl<F> Drop for Placed<F> {
    fn drop(&mut self) {
        // SAFETY: the place holds a valid F, which is not touched again.
        unsafe { self.place.drop_in_place() };
        let place = self.place.cast::<u8>();
        let mut free = self.places.free.borrow_mut();
        if free.len() < KEPT {
            free.push(place);
        } else {
            // SAFETY: allocated with this layout, and nobody's from here on.
            unsafe { dealloc(place.as_ptr(), PLACE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn poll_once<F: Future>(future: &mut Placed<F>) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_placed_future_runs_and_its_place_is_used_again() {
        let pool = FuturePool::default();
        let mut first = pool.place(|| async { String::from("done") });
        let place = first.place.cast::<u8>();
        assert_eq!(poll_once(&mut first), Poll::Ready("done".to_owned()));
        drop(first);
        let second = pool.place(std::future::pending::<()>);
        assert_eq!(second.place.cast::<u8>(), place);
    }

    #[test]
    fn what_a_dropped_future_holds_is_dropped_once() {
        let pool = FuturePool::default();
        let held = Rc::new(());
        let inside = held.clone();
        let mut placed = pool.place(|| async move {
            std::future::pending::<()>().await;
            drop(inside);
        });
        assert!(poll_once(&mut placed).is_pending());
        assert_eq!(Rc::strong_count(&held), 2);
        drop(placed);
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn the_pool_may_end_before_what_it_lent() {
        let pool = FuturePool::default();
        let mut placed = pool.place(|| async { 7 });
        drop(pool);
        assert_eq!(poll_once(&mut placed), Poll::Ready(7));
    }
}
