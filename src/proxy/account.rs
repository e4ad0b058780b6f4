//! What an exchange tells of itself while it runs: for the access log and the counters of whoever asked for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Written by this room, read when the exchange is over. Moments are those of [`Clock::now_us`](crate::net::Clock).
#[derive(Default)]
pub struct Account {
    /// Of the response that was begun; 0: none was.
    pub status: Cell<u16>,
    /// The site server that was asked last.
    pub upstream: RefCell<Option<Rc<str>>>,
    /// The connection to it had carried an exchange before.
    pub reused: Cell<bool>,
    /// When a connection was asked for; 0: never.
    pub asked_us: Cell<u64>,
    /// When there was one.
    pub connected_us: Cell<u64>,
    /// When the first byte of its answer was there.
    pub first_byte_us: Cell<u64>,
    /// How often another connection was tried.
    pub retries: Cell<u32>,
    /// The code with which the site server took its stream back (RFC 9113 §7).
    pub reset: Cell<Option<u32>>,
    /// Octets of the request's body read, after transfer decoding; through a tunnel, all that the client sent.
    pub request_bytes: Cell<u64>,
    /// Octets sent to the client, before TLS.
    pub response_bytes: Cell<u64>,
    /// Those of the response's head.
    pub response_head_bytes: Cell<u64>,
}

pub(super) fn add(cell: &Cell<u64>, count: usize) {
    cell.set(cell.get() + count as u64);
}
