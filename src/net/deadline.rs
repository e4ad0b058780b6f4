//! Deadlines of sockets: a wheel of ticks that shuts down the late half of a socket.
//!
//! Setting a deadline is one store. The wheel visits each socket at least every [`VISIT_TICKS`] and looks
//! at what is set then, so that the deadlines of a busy connection, which move with each operation, are
//! not moved in the wheel. Ten thousand idle sockets cost two thousand looks a second.

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;

use rustix::net::{RecvFlags, Shutdown};

use super::clock::{Clock, Until};

const SLOTS: usize = 64;
/// No socket waits longer for a look; less than `SLOTS`.
const VISIT_TICKS: u64 = 50;
const TICK_MS: u64 = super::TICK.as_millis() as u64;
const CLOSED: RawFd = -1;

/// All deadlines of one worker.
pub struct Deadlines {
    clock: Rc<Clock>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    slots: RefCell<Vec<Vec<Ticket>>>,
    // The last tick visited.
    visited: Cell<u64>,
}

struct Entry {
    fd: RawFd,
    // Tells a reused place from the one a ticket was written for.
    generation: u32,
    // The tick of the one ticket that counts; others for this entry are stale.
    scheduled: u64,
    read: Until,
    write: Until,
    read_expired: bool,
    write_expired: bool,
    // Waits for a request that may never come: a drain need not wait for it.
    idle: bool,
}

#[derive(Clone, Copy)]
struct Ticket {
    entry: u32,
    generation: u32,
}

/// Which half of a socket a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Read,
    Write,
}

impl Deadlines {
    pub fn new(clock: Rc<Clock>) -> Rc<Deadlines> {
        let now = clock.now_ms() / TICK_MS;
        Rc::new(Deadlines {
            clock,
            entries: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            slots: RefCell::new((0..SLOTS).map(|_| Vec::new()).collect()),
            visited: Cell::new(now),
        })
    }

    /// Watches `fd`, which must stay open until the returned [`Deadline`] is dropped.
    pub(super) fn watch(self: &Rc<Self>, fd: RawFd) -> Deadline {
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(Entry {
                fd: CLOSED,
                generation: 0,
                scheduled: 0,
                read: Until::NEVER,
                write: Until::NEVER,
                read_expired: false,
                write_expired: false,
                idle: false,
            });
            (entries.len() - 1) as u32
        });
        let scheduled = self.tick_now() + VISIT_TICKS;
        let entry = &mut entries[index as usize];
        *entry = Entry {
            fd,
            generation: entry.generation,
            scheduled,
            read: Until::NEVER,
            write: Until::NEVER,
            read_expired: false,
            write_expired: false,
            idle: false,
        };
        let ticket = Ticket { entry: index, generation: entry.generation };
        self.put(scheduled, ticket);
        Deadline { all: self.clone(), ticket }
    }

    /// Looks at every socket whose turn came, and shuts down what is late. Called once a tick.
    pub fn tick(&self) {
        let now = self.tick_now();
        // After a long pause each slot is visited once, not once for each tick missed.
        let from = (self.visited.get() + 1).max(now.saturating_sub(SLOTS as u64 - 1));
        for tick in from..=now {
            let slot = slot_of(tick);
            let mut due = std::mem::take(&mut self.slots.borrow_mut()[slot]);
            for ticket in due.drain(..) {
                self.visit(ticket, slot, now);
            }
            // The capacity is kept; after a long pause some may have been put into this very slot.
            let mut slots = self.slots.borrow_mut();
            let mut put = std::mem::replace(&mut slots[slot], due);
            slots[slot].append(&mut put);
        }
        self.visited.set(now);
    }

    /// Ends the wait of every idle socket, as if its time had come. Walks all sockets, with a system call for each that
    /// is idle: for a drain. One to which something has come waits no more, and is answered.
    pub(super) fn expire_idle(&self) {
        for entry in self.entries.borrow_mut().iter_mut().filter(|entry| entry.idle) {
            if has_received(entry.fd) {
                continue;
            }
            entry.read_expired = true;
            shut(entry.fd, Shutdown::Read);
        }
    }

    fn visit(&self, ticket: Ticket, slot: usize, now: u64) {
        let mut entries = self.entries.borrow_mut();
        let entry = &mut entries[ticket.entry as usize];
        if entry.generation != ticket.generation {
            return;
        }
        if entry.scheduled > now {
            // Either another ticket counts, or this one was put a round ahead, while the wheel stood still.
            if slot_of(entry.scheduled) == slot {
                self.put(entry.scheduled, ticket);
            }
            return;
        }
        let now_ms = self.clock.now_ms();
        if entry.read.0 <= now_ms {
            entry.read = Until::NEVER;
            entry.read_expired = true;
            shut(entry.fd, Shutdown::Read);
        }
        if entry.write.0 <= now_ms {
            entry.write = Until::NEVER;
            entry.write_expired = true;
            shut(entry.fd, Shutdown::Both);
        }
        entry.scheduled = next_visit(entry.read.min(entry.write), now);
        self.put(entry.scheduled, ticket);
    }

    fn put(&self, tick: u64, ticket: Ticket) {
        self.slots.borrow_mut()[slot_of(tick)].push(ticket);
    }

    fn tick_now(&self) -> u64 {
        self.clock.now_ms() / TICK_MS
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// The tick at which a deadline has passed, and never later than the visit every socket gets.
fn next_visit(until: Until, now: u64) -> u64 {
    (until.0 / TICK_MS).saturating_add(1).clamp(now + 1, now + VISIT_TICKS)
}

/// The deadlines of one open socket.
pub(super) struct Deadline {
    all: Rc<Deadlines>,
    ticket: Ticket,
}

impl Deadline {
    pub(super) fn set(&self, half: Half, until: Until) {
        let mut entries = self.all.entries.borrow_mut();
        let entry = &mut entries[self.ticket.entry as usize];
        match half {
            Half::Read => entry.read = until,
            Half::Write => entry.write = until,
        }
        if until == Until::NEVER {
            return;
        }
        let visit = next_visit(until, self.all.tick_now());
        if visit < entry.scheduled {
            entry.scheduled = visit;
            self.all.put(visit, self.ticket);
        }
    }

    /// Moves a deadline that is set.
    pub(super) fn extend(&self, half: Half, until: Until) {
        let entry = &mut self.all.entries.borrow_mut()[self.ticket.entry as usize];
        let set = match half {
            Half::Read => &mut entry.read,
            Half::Write => &mut entry.write,
        };
        if *set != Until::NEVER {
            *set = until;
        }
    }

    pub(super) fn set_idle(&self, idle: bool) {
        self.all.entries.borrow_mut()[self.ticket.entry as usize].idle = idle;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.all.entries.borrow()[self.ticket.entry as usize].idle
    }

    /// Whether the half was shut down because its deadline passed.
    pub(super) fn expired(&self, half: Half) -> bool {
        let entries = self.all.entries.borrow();
        let entry = &entries[self.ticket.entry as usize];
        match half {
            Half::Read => entry.read_expired,
            Half::Write => entry.write_expired,
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let entry = &mut self.all.entries.borrow_mut()[self.ticket.entry as usize];
        entry.fd = CLOSED;
        entry.idle = false;
        entry.generation = entry.generation.wrapping_add(1);
        self.all.free.borrow_mut().push(self.ticket.entry);
    }
}

/// Shutting down completes what is in flight: a receive ends with 0 bytes, a send with an error.
fn shut(fd: RawFd, how: Shutdown) {
    if fd == CLOSED {
        return;
    }
    // SAFETY: the descriptor is open: `Socket` drops its `Deadline` before its stream, and that takes
    // the descriptor out of the entry.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // An error means that the peer has gone, and then the operation completes by itself.
    let _ = rustix::net::shutdown(fd, how);
}

/// Whether a receive would get something at once.
fn has_received(fd: RawFd) -> bool {
    if fd == CLOSED {
        return false;
    }
    // SAFETY: as in `shut`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let peeked = rustix::net::recv(fd, &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Ok((_, 1..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn wait_until_expired(clock: &Clock, deadlines: &Deadlines, deadline: &Deadline, half: Half) {
        while !deadline.expired(half) {
            clock.tick();
            deadlines.tick();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_late_read_half_ends_and_the_write_half_stays() {
        let clock = Rc::new(Clock::new());
        let deadlines = Deadlines::new(clock.clone());
        let (mut ours, mut peer) = UnixStream::pair().unwrap();
        let deadline = deadlines.watch(ours.as_raw_fd());
        deadline.set(Half::Read, clock.after(Duration::from_millis(150)));
        wait_until_expired(&clock, &deadlines, &deadline, Half::Read);
        assert!(clock.now_ms() >= 150);
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
        std::io::Write::write_all(&mut ours, b"408").unwrap();
        let mut answer = [0; 3];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"408");
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one_and_never_clears() {
        let clock = Rc::new(Clock::new());
        let deadlines = Deadlines::new(clock.clone());
        let (ours, _peer) = UnixStream::pair().unwrap();
        let deadline = deadlines.watch(ours.as_raw_fd());
        deadline.set(Half::Write, clock.after(Duration::from_secs(3600)));
        deadline.set(Half::Write, clock.after(Duration::from_millis(100)));
        wait_until_expired(&clock, &deadlines, &deadline, Half::Write);

        let (other, _peer) = UnixStream::pair().unwrap();
        let quiet = deadlines.watch(other.as_raw_fd());
        quiet.set(Half::Read, clock.after(Duration::from_millis(100)));
        quiet.set(Half::Read, Until::NEVER);
        let until = clock.now_ms() + 400;
        while clock.now_ms() < until {
            clock.tick();
            deadlines.tick();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!quiet.expired(Half::Read));
    }

    /// A worker that was stopped for longer than the wheel goes round has lost no deadline.
    #[test]
    fn deadlines_outlast_a_long_pause() {
        for pause in [0, 1, 5, 6, 7, 10, 60, 3600] {
            let clock = Rc::new(Clock::new());
            let deadlines = Deadlines::new(clock.clone());
            let (ours, _peer) = UnixStream::pair().unwrap();
            let deadline = deadlines.watch(ours.as_raw_fd());
            let step = |by: Duration| {
                clock.advance(by);
                clock.tick();
                deadlines.tick();
            };
            step(Duration::from_secs(pause));
            deadline.set(Half::Read, clock.after(Duration::from_secs(pause + 20)));
            step(Duration::from_secs(pause));
            deadline.set(Half::Read, clock.after(Duration::from_secs(20)));
            for _ in 0..190 {
                step(Duration::from_millis(100));
                assert!(!deadline.expired(Half::Read), "after a pause of {pause} s");
            }
            for _ in 0..15 {
                step(Duration::from_millis(100));
            }
            assert!(deadline.expired(Half::Read), "after a pause of {pause} s");
        }
    }

    #[test]
    fn an_idle_socket_with_something_to_read_is_left_alone() {
        let deadlines = Deadlines::new(Rc::new(Clock::new()));
        let sockets: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
        let watched: Vec<_> = sockets.iter().map(|(ours, _)| deadlines.watch(ours.as_raw_fd())).collect();
        watched[..2].iter().for_each(|deadline| deadline.set_idle(true));
        std::io::Write::write_all(&mut &sockets[0].1, b"GET").unwrap();
        deadlines.expire_idle();
        let expired: Vec<_> = watched.iter().map(|deadline| deadline.expired(Half::Read)).collect();
        assert_eq!(expired, [false, true, false]);
    }

    #[test]
    fn a_closed_socket_leaves_nothing_behind() {
        let clock = Rc::new(Clock::new());
        let deadlines = Deadlines::new(clock.clone());
        for _ in 0..1000 {
            let (ours, _peer) = UnixStream::pair().unwrap();
            drop(deadlines.watch(ours.as_raw_fd()));
        }
        assert_eq!(deadlines.entries.borrow().len(), 1);
    }
}
