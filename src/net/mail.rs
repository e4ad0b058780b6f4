//! Results from other threads, delivered to the task of this worker that waits for them.
//!
//! A worker's wakers must not be called from elsewhere. So a result goes through a channel, a byte through a
//! socket pair wakes the worker, and a task of the worker hands it over. The pair is made at the first use:
//! workers that never ask anybody have none.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};

use rustix::net::RecvFlags;

/// Results of one kind.
pub struct Mail<T>(Rc<Inner<T>>);

struct Inner<T> {
    waiting: RefCell<HashMap<u64, Waiting<T>>>,
    next: Cell<u64>,
    post: OnceCell<Post<T>>,
}

struct Post<T> {
    sender: Sender<(u64, T)>,
    wake: Arc<UnixStream>,
}

enum Waiting<T> {
    For(Option<Waker>),
    Came(T),
}

/// A result to come. Dropped, it is not waited for any more; the result is thrown away when it comes.
pub struct Letter<T> {
    number: u64,
    inner: Rc<Inner<T>>,
}

impl<T: Send + 'static> Mail<T> {
    pub fn new() -> Mail<T> {
        Mail(Rc::new(Inner { waiting: RefCell::default(), next: Cell::new(0), post: OnceCell::new() }))
    }

    /// A letter to wait for, and what sends it: to be called once, on any thread.
    ///
    /// # Errors
    /// The system gives no socket pair.
    pub fn letter(&self) -> io::Result<(Letter<T>, impl FnOnce(T) + Send + 'static)> {
        let inner = &self.0;
        if inner.post.get().is_none() {
            let (sender, inbox) = channel();
            let (wake, woken) = UnixStream::pair()?;
            // Full of bytes, it wakes already.
            wake.set_nonblocking(true)?;
            woken.set_nonblocking(true)?;
            let bytes = woken.try_clone()?;
            let woken = monoio::net::UnixStream::from_std(woken)?;
            monoio::spawn(deliver(inner.clone(), inbox, woken, bytes));
            let _ = inner.post.set(Post { sender, wake: Arc::new(wake) });
        }
        let post = inner.post.get().ok_or(io::ErrorKind::NotConnected)?;
        let number = inner.next.get();
        inner.next.set(number.wrapping_add(1));
        inner.waiting.borrow_mut().insert(number, Waiting::For(None));
        let (sender, wake) = (post.sender.clone(), post.wake.clone());
        let send = move |result| {
            // A worker that has ended waits for nothing.
            if sender.send((number, result)).is_ok() {
                let _ = (&*wake).write(&[1]);
            }
        };
        Ok((Letter { number, inner: inner.clone() }, send))
    }
}

impl<T: Send + 'static> Default for Mail<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Hands over what comes, for as long as the worker runs.
async fn deliver<T>(
    inner: Rc<Inner<T>>,
    inbox: Receiver<(u64, T)>,
    woken: monoio::net::UnixStream,
    // The same socket, read around the runtime.
    bytes: UnixStream,
) {
    loop {
        while let Ok((number, result)) = inbox.try_recv() {
            let mut waiting = inner.waiting.borrow_mut();
            // Gone: nobody waits any more.
            if let Some(entry) = waiting.get_mut(&number)
                && let Waiting::For(Some(waker)) = std::mem::replace(entry, Waiting::Came(result))
            {
                waker.wake();
            }
        }
        if woken.readable(false).await.is_err() {
            return;
        }
        // The bytes say nothing else. Results sent after this are seen in the next round, or wake again.
        let mut thrown_away = [0u8; 64];
        while matches!(rustix::net::recv(&bytes, &mut thrown_away[..], RecvFlags::DONTWAIT), Ok((64, _))) {}
    }
}

impl<T> Letter<T> {
    /// The result, or `None` when `or` ends first.
    pub async fn or(mut self, or: impl Future<Output = ()>) -> Option<T> {
        let mut or = std::pin::pin!(or);
        poll_fn(move |context| match self.poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => or.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        let mut waiting = self.inner.waiting.borrow_mut();
        match waiting.remove(&self.number) {
            Some(Waiting::Came(result)) => Poll::Ready(result),
            _ => {
                waiting.insert(self.number, Waiting::For(Some(context.waker().clone())));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Letter<T> {
    fn drop(&mut self) {
        self.inner.waiting.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::run;
    use super::*;

    #[test]
    fn results_of_other_threads_come_to_who_waits() {
        run(async {
            let mail = Mail::new();
            let mut letters = Vec::new();
            for number in 0..100 {
                let (letter, send) = mail.letter().unwrap();
                letters.push(letter);
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(number % 7));
                    send(number);
                });
            }
            for (number, letter) in letters.into_iter().enumerate() {
                assert_eq!(
                    letter.or(monoio::time::sleep(Duration::from_secs(10))).await,
                    Some(number as u64)
                );
            }
            assert!(mail.0.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn who_waits_no_more_gets_nothing_and_leaves_nothing() {
        run(async {
            let mail = Mail::new();
            let (late, send_late) = mail.letter().unwrap();
            assert_eq!(late.or(monoio::time::sleep(Duration::from_millis(1))).await, None::<u8>);
            send_late(1);
            let (next, send) = mail.letter().unwrap();
            send(2);
            assert_eq!(next.or(std::future::pending()).await, Some(2));
            assert!(mail.0.waiting.borrow().is_empty());
        });
    }
}
