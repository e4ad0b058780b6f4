//! The load: clients on one thread, each request checked, each latency counted.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustls::{ClientConfig, HandshakeKind};

use crate::connection::{Connection, Failure, Scratch, Stage};
use crate::histogram::Histogram;
use crate::http2;
use crate::workload::{Answer, Arrival, Pace};

/// Connections on their way at a time: no server's accept queue may decide the outcome.
const OPENING_MAX: usize = 64;
/// Connections from one source address: under any limit per client, and far from the end of its ports.
const CONNECTIONS_PER_SOURCE: usize = 64;
const SOURCES_MIN: usize = 64;
const STALL: Duration = Duration::from_secs(10);
/// Errors after which a run is given up: the server is gone.
const ERRORS_MAX: u64 = 1_000;

/// What the clients do.
pub struct Plan {
    pub target: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
    pub request: Vec<u8>,
    /// The same for HTTP/2.
    pub http2: http2::Request,
    pub answer: Answer,
    pub arrival: Arrival,
    pub pace: Pace,
    pub connections: usize,
}

/// What happened since the last [`Load::take_tally`].
#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    pub errors: u64,
    /// The first few, in words.
    pub messages: Vec<String>,
    pub latency: Histogram,
    /// Kept connections the server closed and the clients opened again.
    pub reopened: u64,
    /// Handshakes that were full where a resumed one was due.
    pub not_resumed: u64,
    /// Ends of connections without close_notify.
    pub not_notified: u64,
}

/// When [`Load::run`] returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Every connection has been answered at least once, or this time is over.
    AllAnswered(Duration),
    Elapsed(Duration),
}

#[derive(Default)]
struct Slot {
    connection: Option<Box<Connection>>,
    /// Not yet open: one of `Load::opening`.
    opening: bool,
    answered: bool,
}

pub struct Load {
    plan: Plan,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    /// Slots without a connection.
    closed: VecDeque<usize>,
    /// Connections not yet open.
    opening: usize,
    /// Slots whose connection waits for a request, at a fixed rate.
    idle: VecDeque<usize>,
    unanswered: usize,
    /// Requests that were due while no connection was free.
    backlog: VecDeque<Instant>,
    next_due: Option<Instant>,
    sources: usize,
    opened: usize,
    scratch: Scratch,
    tally: Tally,
}

impl Load {
    pub fn new(plan: Plan) -> std::io::Result<Load> {
        let slots = plan.connections;
        Ok(Load {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            closed: (0..slots).collect(),
            opening: 0,
            idle: VecDeque::with_capacity(slots),
            unanswered: slots,
            backlog: VecDeque::new(),
            next_due: None,
            sources: (slots / CONNECTIONS_PER_SOURCE).max(SOURCES_MIN),
            opened: 0,
            scratch: Scratch::new(),
            tally: Tally::default(),
            plan,
        })
    }

    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Runs the clients; returns how long they ran.
    pub fn run(&mut self, until: Until, stop: &AtomicBool) -> Duration {
        let started = Instant::now();
        let (Until::AllAnswered(limit) | Until::Elapsed(limit)) = until;
        let end = started + limit;
        let mut looked_for_stalls = started;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(512);
        loop {
            let now = Instant::now();
            let all_answered = matches!(until, Until::AllAnswered(_)) && self.unanswered == 0;
            if now >= end || all_answered || stop.load(Ordering::Relaxed) || self.tally.errors > ERRORS_MAX {
                if matches!(until, Until::AllAnswered(_)) && self.unanswered > 0 {
                    let message = format!("{} connections were never answered", self.unanswered);
                    self.note_error(message);
                }
                return now - started;
            }
            if now - looked_for_stalls > Duration::from_secs(1) {
                looked_for_stalls = now;
                self.end_stalled(now);
            }
            self.open_closed(now);
            self.send_due(now);
            let mut wake = end.min(now + Duration::from_millis(100));
            if let Some(due) = self.next_due {
                wake = wake.min(due);
            }
            let wait = wake.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0),
                tv_nsec: i64::from(wait.subsec_nanos()),
            };
            events.clear();
            // An interrupted wait is an empty one.
            let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
            for event in &events {
                let flags = event.flags;
                let gone = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
                self.step(event.data.u64() as usize, flags.intersects(gone));
            }
        }
    }

    fn open_closed(&mut self, now: Instant) {
        while self.opening < OPENING_MAX {
            let Some(index) = self.closed.pop_front() else {
                return;
            };
            if let Err(failure) = self.open(index, now) {
                self.fail(index, &failure);
                return;
            }
        }
    }

    fn open(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        let source = source(self.opened % self.sources);
        self.opened += 1;
        let connection = Connection::open(source, self.plan.target, self.plan.tls.as_ref(), now)?;
        let flags =
            epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &connection.stream, epoll::EventData::new_u64(index as u64), flags)
            .map_err(|error| Failure::Socket(error.into()))?;
        self.slots[index].connection = Some(Box::new(connection));
        self.slots[index].opening = true;
        self.opening += 1;
        Ok(())
    }

    /// At a fixed rate: gives each request that is due to a free connection.
    fn send_due(&mut self, now: Instant) {
        let Pace::PerSecond(rate) = self.plan.pace else {
            return;
        };
        if self.unanswered > 0 && self.next_due.is_none() {
            // Each connection is used once before the clock starts.
            while let Some(index) = self.idle.pop_front() {
                self.send(index, now);
            }
            return;
        }
        let gap = Duration::from_secs(1) / rate;
        let mut due = self.next_due.unwrap_or(now);
        while due <= now {
            self.backlog.push_back(due);
            due += gap;
        }
        self.next_due = Some(due);
        while let Some(due) = self.backlog.front().copied() {
            let Some(index) = self.idle.pop_front() else {
                return;
            };
            self.backlog.pop_front();
            self.send(index, due);
        }
    }

    fn send(&mut self, index: usize, began: Instant) {
        let Some(connection) = &mut self.slots[index].connection else {
            return;
        };
        if let Err(failure) = connection.send(&self.plan.request, began) {
            self.fail(index, &failure);
        }
    }

    fn step(&mut self, index: usize, gone: bool) {
        let Some(connection) = self.slots.get_mut(index).and_then(|slot| slot.connection.as_mut()) else {
            return;
        };
        let before = connection.stage;
        if let Err(failure) = connection.step(gone, &self.plan.answer, &mut self.scratch) {
            return self.fail(index, &failure);
        }
        let closes = self.plan.arrival.closes();
        if connection.http2.is_some() {
            return match connection.stage {
                Stage::Ended => self.fail(index, &Failure::Cut),
                _ => self.answered_http2(index),
            };
        }
        match (before, connection.stage) {
            (Stage::Connecting | Stage::Handshaking, Stage::Idle) => self.opened(index),
            (Stage::Connecting | Stage::Handshaking, Stage::Ended) => self.fail(index, &Failure::Cut),
            // With a connection a request, the end of the connection is part of the answer.
            (Stage::Waiting, Stage::Idle) if closes => connection.stage = Stage::Ending,
            (Stage::Waiting, Stage::Idle) => {
                self.answered(index);
                self.next(index);
            }
            (Stage::Waiting, Stage::Ending) if !closes => self.answered(index),
            (_, Stage::Ended) => self.ended(index, before),
            _ => {}
        }
    }

    /// The handshake is done.
    fn opened(&mut self, index: usize) {
        self.no_longer_opening(index);
        let Some(connection) = &mut self.slots[index].connection else {
            return;
        };
        let kind = connection.handshake_kind();
        let began = connection.began;
        let right = match self.plan.arrival {
            Arrival::Http => kind.is_none(),
            Arrival::ResumedHandshake | Arrival::ResumedByIdTls12 => {
                self.tally.not_resumed += u64::from(kind != Some(HandshakeKind::Resumed));
                true
            }
            _ => kind == Some(HandshakeKind::Full),
        };
        if !right {
            return self.fail(index, &Failure::Handshake(kind));
        }
        if let Arrival::Http2 { streams } = self.plan.arrival {
            return match connection.is_http2() {
                true => self.send_http2(index, streams),
                false => self.fail(index, &Failure::NoHttp2),
            };
        }
        if let Pace::PerSecond(_) = self.plan.pace {
            if let Err(failure) = connection.flush() {
                return self.fail(index, &failure);
            }
            self.idle.push_back(index);
        } else {
            // With a connection a request, latency begins with the connect.
            let began = if self.plan.arrival.closes() { began } else { Instant::now() };
            self.send(index, began);
        }
    }

    fn answered(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if !slot.answered {
            slot.answered = true;
            self.unanswered -= 1;
        }
        if let Some(connection) = &slot.connection {
            self.tally.requests += 1;
            self.tally.latency.add(connection.began.elapsed());
        }
    }

    /// Counts what was answered and asks as often again.
    fn answered_http2(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let Some(http2) = slot.connection.as_mut().and_then(|connection| connection.http2.as_mut()) else {
            return;
        };
        let done = std::mem::take(&mut http2.done);
        if done.is_empty() {
            return;
        }
        if !std::mem::replace(&mut slot.answered, true) {
            self.unanswered -= 1;
        }
        self.tally.requests += done.len() as u64;
        let now = Instant::now();
        done.iter().for_each(|began| self.tally.latency.add(now.saturating_duration_since(*began)));
        self.send_http2(index, done.len());
    }

    fn send_http2(&mut self, index: usize, count: usize) {
        let Some(connection) = &mut self.slots[index].connection else {
            return;
        };
        if let Err(failure) = connection.send_http2(&self.plan.http2, count, Instant::now()) {
            self.fail(index, &failure);
        }
    }

    /// What a kept connection does after an answer.
    fn next(&mut self, index: usize) {
        match self.plan.pace {
            Pace::Closed => self.send(index, Instant::now()),
            Pace::PerSecond(_) => self.idle.push_back(index),
            Pace::OnceThenIdle => {}
        }
    }

    /// The server has closed the connection.
    fn ended(&mut self, index: usize, before: Stage) {
        if self.plan.arrival.closes() || before == Stage::Waiting {
            self.answered(index);
        }
        let Some(connection) = self.slots[index].connection.take() else {
            return;
        };
        if self.plan.arrival.is_tls() {
            self.tally.not_notified += u64::from(!connection.close_notified);
        }
        if !self.plan.arrival.closes() {
            self.tally.reopened += 1;
            self.idle.retain(|&idle| idle != index);
        }
        self.closed.push_back(index);
    }

    fn fail(&mut self, index: usize, failure: &Failure) {
        self.no_longer_opening(index);
        self.slots[index].connection = None;
        self.idle.retain(|&idle| idle != index);
        self.closed.push_back(index);
        self.note_error(failure.to_string());
    }

    fn no_longer_opening(&mut self, index: usize) {
        self.opening -= usize::from(std::mem::take(&mut self.slots[index].opening));
    }

    fn note_error(&mut self, message: String) {
        self.tally.errors += 1;
        if self.tally.messages.len() < 3 && !self.tally.messages.contains(&message) {
            self.tally.messages.push(message);
        }
    }

    fn end_stalled(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let stalled = self.slots[index].connection.as_ref().is_some_and(|connection| {
                connection.stage != Stage::Idle && now.saturating_duration_since(connection.began) > STALL
            });
            if stalled {
                self.fail(index, &Failure::Stalled);
            }
        }
    }
}

/// The n-th address clients come from: 127.1.0.1, 127.1.0.2, …
fn source(index: usize) -> SocketAddrV4 {
    let (third, fourth) = (index / 250 % 250, index % 250 + 1);
    SocketAddrV4::new(Ipv4Addr::new(127, 1, third as u8, fourth as u8), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Upstream;

    fn against_upstream(path: &str, pace: Pace, time: Duration) -> Tally {
        let upstream = Upstream::start(&[0]).expect("start");
        let mut load = Load::new(Plan {
            target: upstream.address,
            tls: None,
            request: format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            http2: http2::Request::new(&[]),
            answer: Answer::Body(5000),
            arrival: Arrival::Http,
            pace,
            connections: 8,
        })
        .expect("epoll");
        let stop = AtomicBool::new(false);
        load.run(Until::AllAnswered(Duration::from_millis(500)), &stop);
        load.run(Until::Elapsed(time), &stop);
        load.take_tally()
    }

    #[test]
    fn right_answers_are_requests() {
        let tally = against_upstream("/bytes/5000", Pace::Closed, Duration::from_millis(50));
        assert!(tally.requests > 8, "{}", tally.requests);
        assert_eq!((tally.errors, tally.reopened), (0, 0), "{:?}", tally.messages);
    }

    #[test]
    fn wrong_answers_are_errors() {
        for path in ["/bytes/4999", "/none"] {
            let tally = against_upstream(path, Pace::Closed, Duration::ZERO);
            assert_eq!(tally.requests, 0, "{path}");
            assert!(tally.errors > 0, "{path}");
        }
    }

    #[test]
    fn a_fixed_rate_is_kept() {
        let began = Instant::now();
        let tally = against_upstream("/bytes/5000", Pace::PerSecond(1000), Duration::from_millis(200));
        // The first ones, before the clock starts, are in it, and those under way when it ends. A busy machine may
        // answer the last ones too late.
        let due = 16 + began.elapsed().as_millis() as u64;
        assert!((100..=due).contains(&tally.requests), "{} of {due}", tally.requests);
        assert_eq!(tally.errors, 0, "{:?}", tally.messages);
    }

    #[test]
    fn idle_connections_are_asked_once() {
        let tally = against_upstream("/bytes/5000", Pace::OnceThenIdle, Duration::from_millis(20));
        assert_eq!((tally.requests, tally.errors, tally.reopened), (8, 0, 0));
    }
}
