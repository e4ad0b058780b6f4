//! The body of a stream, read on behalf of an exchange. What was taken is given back to the client's window, so
//! that a slow site server slows the client.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;

use crate::http1::{may_trail, write_trailers};
use crate::limits::Pace;
use crate::metrics::Counters;
use crate::net::{Buffer, Local};
use crate::proxy::{BodyFailure, BodyRead, First, RequestBody, first};

pub(super) struct Http2Body<'a> {
    stream: RecvStream,
    local: &'a Local,
    counters: &'a Counters,
    pub(super) idle: Duration,
    pace: Pace,
    // Received and not yet handed on.
    rest: Bytes,
    /// Octets to come, when that is known.
    remaining: Option<u64>,
    /// Octets that are still allowed.
    pub(super) allowed: u64,
    trailers: Vec<u8>,
}

impl<'a> Http2Body<'a> {
    /// `length`: as declared, which the protocol holds the client to. `limit`: octets allowed.
    pub(super) fn new(
        stream: RecvStream,
        (local, counters): (&'a Local, &'a Counters),
        (idle, pace): (Duration, Pace),
        length: Option<u64>,
        limit: u64,
    ) -> Http2Body<'a> {
        Http2Body {
            stream,
            local,
            counters,
            idle,
            pace,
            rest: Bytes::new(),
            remaining: length,
            allowed: limit,
            trailers: Vec::new(),
        }
    }

    async fn receive(&mut self, converses: bool) -> Result<bool, BodyFailure> {
        let idle = self.idle;
        let patience = if converses { idle } else { self.pace.allows(0).min(idle) };
        let late = if patience < idle { BodyFailure::TooSlow } else { BodyFailure::TimedOut };
        let since_ms = self.local.clock.now_ms();
        let data = within(self.local, patience, |context| self.stream.poll_data(context)).await;
        match data.ok_or(late)? {
            Some(Ok(data)) => {
                self.pace.moved(self.local.clock.now_ms() - since_ms, data.len());
                let count = data.len() as u64;
                self.allowed = self.allowed.checked_sub(count).ok_or(BodyFailure::TooLarge)?;
                self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(count));
                self.counters.bytes_received.add(count);
                self.rest = data;
                Ok(true)
            }
            Some(Err(_)) => Err(BodyFailure::Gone),
            None => {
                let trailers = within(self.local, idle, |context| self.stream.poll_trailers(context)).await;
                match trailers.ok_or(BodyFailure::TimedOut)? {
                    Ok(Some(trailers)) => write_trailers(&trailers, may_trail, &mut self.trailers),
                    Ok(None) => {}
                    Err(_) => return Err(BodyFailure::Gone),
                }
                Ok(false)
            }
        }
    }
}

impl RequestBody for Http2Body<'_> {
    async fn read(&mut self, into: &mut Buffer, converses: bool) -> Result<BodyRead, BodyFailure> {
        let before = into.len();
        loop {
            if self.rest.is_empty() {
                // What is there already goes along; what is not is not waited for when there is something to send.
                if into.len() > before {
                    return Ok(BodyRead::More);
                }
                if !self.receive(converses).await? {
                    return Ok(BodyRead::End);
                }
            }
            let taken = self.rest.len().min(into.spare());
            into.append(&self.rest.split_to(taken));
            // It fails when the stream is gone, and then the next read does.
            let _ = self.stream.flow_control().release_capacity(taken);
            if self.rest.is_empty() && self.stream.is_end_stream() {
                return Ok(BodyRead::End);
            }
            if into.spare() == 0 {
                return Ok(BodyRead::More);
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn may_be_given_up(&self) -> bool {
        true
    }
}

/// Polls until it is ready; `None`: not within `wait`.
pub(super) async fn within<T>(
    local: &Local,
    wait: Duration,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    // Mostly it is there, and no timer is made.
    let now = poll_fn(|context| Poll::Ready(poll(context))).await;
    if let Poll::Ready(value) = now {
        return Some(value);
    }
    let mut value = pin!(poll_fn(poll));
    let mut late = pin!(local.sleep(wait));
    match first(value.as_mut(), late.as_mut()).await {
        First::Left(value) => Some(value),
        First::Right(()) => None,
    }
}
