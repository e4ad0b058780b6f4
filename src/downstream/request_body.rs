//! The body of an HTTP/1.1 request, read on behalf of an exchange.

use std::io;
use std::time::Duration;

use crate::http1::{BadBody, BodyReader};
use crate::limits::Pace;
use crate::metrics::Counters;
use crate::net::{Buffer, Local, Stream};
use crate::proxy::{BodyFailure, BodyRead, RequestBody};

pub(super) struct Http1Body<'a> {
    pub(super) stream: &'a Stream,
    pub(super) local: &'a Local,
    pub(super) counters: &'a Counters,
    /// What was read behind the head; at the end of the body, what is behind that.
    pub(super) input: &'a mut Buffer,
    pub(super) reader: BodyReader,
    /// Octets still to come of a body of known length.
    pub(super) remaining: Option<u64>,
    pub(super) idle: Duration,
    pub(super) pace: Pace,
}

impl RequestBody for Http1Body<'_> {
    async fn read(&mut self, into: &mut Buffer, converses: bool) -> Result<BodyRead, BodyFailure> {
        loop {
            let before = into.len();
            if self.input.is_empty() {
                let patience = if converses { self.idle } else { self.pace.allows(0).min(self.idle) };
                let since_ms = self.local.clock.now_ms();
                match self.stream.fill(into, self.local.clock.after(patience)).await {
                    Ok(count @ 1..) => self.pace.moved(self.local.clock.now_ms() - since_ms, count),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(match patience < self.idle {
                            true => BodyFailure::TooSlow,
                            false => BodyFailure::TimedOut,
                        });
                    }
                    Ok(0) | Err(_) => return Err(BodyFailure::Gone),
                }
            } else {
                let taken = self.input.len().min(into.spare());
                into.append(&self.input.filled()[..taken]);
                self.input.consume(taken);
            }
            let end = self.decode(into, before)?;
            if end {
                return Ok(BodyRead::End);
            }
            if into.len() > before {
                return Ok(BodyRead::More);
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    fn trailers(&self) -> &[u8] {
        self.reader.trailers()
    }
}

impl Http1Body<'_> {
    /// Decodes what was appended to `into` behind `before`; true at the end of the body.
    fn decode(&mut self, into: &mut Buffer, before: usize) -> Result<bool, BodyFailure> {
        let raw = into.len() - before;
        let read = self.reader.read(&mut into.filled_mut()[before..]);
        let progress = read.map_err(|bad| match bad {
            BadBody::TooLarge => BodyFailure::TooLarge,
            _ => BodyFailure::Malformed,
        })?;
        if progress.consumed < raw {
            // The next request came along: it goes back in front of what else was read.
            let mut rest = self.local.buffers.at_least(raw - progress.consumed + self.input.len());
            rest.append(&into.filled()[before + progress.consumed..]);
            rest.append(self.input.filled());
            *self.input = rest;
        }
        into.truncate(before + progress.data);
        self.counters.bytes_received.add(progress.data as u64);
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(progress.data as u64));
        Ok(progress.end)
    }
}
