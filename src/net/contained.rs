//! Panics that end what they happen in, and nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Runs a future so that its panic ends it alone, not the worker.
///
/// # Errors
/// It panicked.
pub async fn contained<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, ()> {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(())),
    })
    .await
}
