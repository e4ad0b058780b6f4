//! Whose octets go first: the urgency of RFC 9218.
//!
//! The protocol below sends what streams have given it in turn. So a stream gives nothing while a more urgent one of its
//! connection has something to send that has no place yet, or is about to fetch the next block of a large response;
//! streams of one urgency share. Nobody waits longer than [`PATIENCE`] for that: a download without an end must not keep
//! others from theirs.
//!
//! What counts is the `priority` field of the request, and that of the response where the site server knows better
//! (§8). Of it only `u` is used: `i` is as if it were always there. PRIORITY_UPDATE frames are read over.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::body::within;
use crate::net::Local;

/// The longest that a stream waits for more urgent ones before it gives its next block.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a stream that has just sent a large block is taken to have another one soon.
const BETWEEN_BLOCKS: Duration = Duration::from_millis(10);
const LEVELS: usize = 8;

/// From 0, the most urgent, to 7 (RFC 9218 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency(u8);

impl Default for Urgency {
    fn default() -> Self {
        Urgency(3)
    }
}

impl Urgency {
    /// What a `priority` field says, a dictionary of structured fields (RFC 9218 §5, RFC 9651 §3.2); `None`: nothing of
    /// urgency, or nothing that can be read.
    pub(super) fn read(field: &[u8]) -> Option<Urgency> {
        let mut found = None;
        let mut quoted = false;
        let mut escaped = false;
        // A comma in a string is none between members.
        let members = field.split(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        });
        for member in members {
            // The last of one name counts; parameters are for others.
            if let [b'u', b'=', digits @ ..] = member.trim_ascii() {
                let digits = digits.split(|&byte| byte == b';').next().unwrap_or_default();
                found = match digits {
                    [digit @ b'0'..=b'7'] => Some(Urgency(digit - b'0')),
                    _ => None,
                };
            }
        }
        found
    }
}

/// What the streams of a connection know of each other's urgency.
#[derive(Default)]
pub(super) struct Turns {
    // Of each urgency: streams with something to send.
    sending: [Cell<u32>; LEVELS],
    // Until when another block of it is awaited, in microseconds.
    expected_us: [Cell<u64>; LEVELS],
    // Those who wait, each once.
    waiting: RefCell<Vec<(u64, Waker)>>,
    numbers: Cell<u64>,
}

/// The place of a stream among those of its connection.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) turns: &'a Turns,
    pub(super) urgency: &'a Cell<Urgency>,
}

/// Holds back what is less urgent for as long as it lives.
pub(super) struct Going<'a> {
    turns: &'a Turns,
    urgency: Urgency,
}

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// Another one, which says when it is done.
    Sending,
    /// A moment, in microseconds.
    Expected(u64),
}

impl<'a> Turn<'a> {
    /// Waits until nothing more urgent has something to send; what is less urgent waits from here on.
    pub(super) async fn go(self, local: &Local) -> Going<'a> {
        let urgency = self.urgency.get();
        let turns = self.turns;
        let going = Going::new(turns, urgency);
        if turns.are_quiet() {
            return going;
        }
        let until_us = local.clock.now_us() + PATIENCE.as_micros() as u64;
        loop {
            let now_us = local.clock.now_us();
            let left = Duration::from_micros(until_us.saturating_sub(now_us));
            match turns.behind(urgency, now_us) {
                Some(_) if left.is_zero() => return going,
                None => return going,
                Some(Behind::Expected(until_us)) => {
                    local.sleep(Duration::from_micros(until_us - now_us).min(left)).await;
                }
                Some(Behind::Sending) => {
                    let place = Waiting::new(turns);
                    // Late: it goes all the same.
                    let _ = within(local, left, |context| {
                        if turns.behind(urgency, now_us) == Some(Behind::Sending) {
                            place.wait(context.waker());
                            return Poll::Pending;
                        }
                        Poll::Ready(())
                    })
                    .await;
                }
            }
        }
    }
}

/// A place among those who wait, given back when it is dropped: a stream may end while it waits.
struct Waiting<'a> {
    turns: &'a Turns,
    number: u64,
}

impl<'a> Waiting<'a> {
    fn new(turns: &'a Turns) -> Waiting<'a> {
        let number = turns.numbers.get();
        turns.numbers.set(number + 1);
        Waiting { turns, number }
    }

    /// However often it is polled, it has one waker there.
    fn wait(&self, waker: &Waker) {
        let mut waiting = self.turns.waiting.borrow_mut();
        match waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.push((self.number, waker.clone())),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.waiting.borrow_mut().retain(|(number, _)| *number != self.number);
    }
}

impl Turns {
    /// Whether nobody has anything to send but one, and no block is awaited: so it is most of the time.
    fn are_quiet(&self) -> bool {
        let sending: u32 = self.sending.iter().map(Cell::get).sum();
        sending == 1 && self.expected_us.iter().all(|until| until.get() == 0)
    }

    fn behind(&self, urgency: Urgency, now_us: u64) -> Option<Behind> {
        let more_urgent = ..usize::from(urgency.0);
        if self.sending[more_urgent].iter().any(|streams| streams.get() > 0) {
            return Some(Behind::Sending);
        }
        let expected = self.expected_us[more_urgent].iter().map(Cell::get).max().unwrap_or(0);
        (expected > now_us).then_some(Behind::Expected(expected))
    }
}

impl<'a> Going<'a> {
    fn new(turns: &'a Turns, urgency: Urgency) -> Going<'a> {
        let streams = &turns.sending[usize::from(urgency.0)];
        streams.set(streams.get() + 1);
        Going { turns, urgency }
    }

    /// The end of a turn. `more`: it was a large block, and not the last.
    pub(super) fn end(self, more: bool, local: &Local) {
        let until = if more { local.clock.now_us() + BETWEEN_BLOCKS.as_micros() as u64 } else { 0 };
        self.turns.expected_us[usize::from(self.urgency.0)].set(until);
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        let streams = &self.turns.sending[usize::from(self.urgency.0)];
        streams.set(streams.get() - 1);
        if streams.get() == 0 {
            self.turns.waiting.borrow_mut().drain(..).for_each(|(_, waker)| waker.wake());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_is_read_from_any_dictionary() {
        let cases: &[(&str, Option<u8>)] = &[
            ("u=0", Some(0)),
            ("u=7, i", Some(7)),
            ("i, u=1", Some(1)),
            ("i,u=5;x=2", Some(5)),
            ("u=2,u=6", Some(6)),
            ("x=\"a,u=1\", u=4", Some(4)),
            ("x=\"\\\",u=1\"", None),
            ("", None),
            ("i", None),
            ("u", None),
            ("u=8", None),
            ("u=-1", None),
            ("u=1.0", None),
            ("u=\"1\"", None),
            ("U=1", None),
            ("uu=1", None),
        ];
        for &(field, expected) in cases {
            assert_eq!(Urgency::read(field.as_bytes()), expected.map(Urgency), "{field}");
        }
    }

    #[test]
    fn the_less_urgent_are_behind_until_the_last_of_the_urgent_has_gone() {
        let turns = Turns::default();
        let behind = |urgency| turns.behind(Urgency(urgency), 100);
        let urgent = Going::new(&turns, Urgency(1));
        assert!(turns.are_quiet());
        let another = Going::new(&turns, Urgency(1));
        assert!(!turns.are_quiet());
        assert_eq!((behind(2), behind(7)), (Some(Behind::Sending), Some(Behind::Sending)));
        assert_eq!((behind(1), behind(0)), (None, None));
        let place = Waiting::new(&turns);
        let gone = Waiting::new(&turns);
        (0..100).for_each(|_| place.wait(Waker::noop()));
        gone.wait(Waker::noop());
        drop(gone);
        drop(urgent);
        assert_eq!(behind(2), Some(Behind::Sending));
        assert_eq!(turns.waiting.borrow().len(), 1);
        drop(another);
        assert_eq!(behind(7), None);
        assert!(turns.waiting.borrow().is_empty());
        // Its next block is awaited for a while.
        turns.expected_us[1].set(150);
        assert_eq!((behind(2), behind(1)), (Some(Behind::Expected(150)), None));
        assert_eq!(turns.behind(Urgency(2), 150), None);
    }
}
