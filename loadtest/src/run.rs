//! One measurement: a workload against a server, once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::certificates::Pair;
use crate::client_tls;
use crate::http2;
use crate::load::{Load, Plan, Tally, Until};
use crate::measure::{self, Cpu, Reading};
use crate::servers::{Running, Server, Surroundings};
use crate::upstream::Counts;
use crate::workload::{Pace, Schedule, Workload};

/// Until all connections have had their first answer.
const OPEN_TIME_MAX: Duration = Duration::from_secs(60);

/// What one measurement found.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub requests_per_second: f64,
    pub cpu_microseconds: f64,
    /// Share of the window the server's threads ran.
    pub busy: f64,
    /// Share of the window they were ready to run and did not.
    pub waited: f64,
    pub p50_microseconds: f64,
    pub p99_microseconds: f64,
    /// Idle connections only: resident memory each.
    pub kib_per_connection: f64,
    pub errors: u64,
    /// Errors and oddities in words.
    pub notes: Vec<String>,
}

/// What a measurement is made with.
pub struct Bench<'a> {
    pub schedule: &'a Schedule,
    pub around: &'a Surroundings,
    pub counts: &'a Counts,
    pub stop: &'a AtomicBool,
}

impl Bench<'_> {
    /// Requests through a running server.
    ///
    /// # Errors
    /// The server is gone, or this machine lacks something; wrong answers are in the sample.
    pub fn requests(&self, workload: &Workload, running: &Running, pair: &Pair) -> io::Result<Sample> {
        let mut load = Load::new(plan(workload, workload.connections, running, pair)?)?;
        load.run(Until::AllAnswered(OPEN_TIME_MAX), self.stop);
        load.run(Until::Elapsed(self.schedule.warm_up), self.stop);
        let warm_up = load.take_tally();
        let upstream_connections = self.counts.connections.load(Ordering::Relaxed);
        let before = Reading::take(&running.processes)?;
        let window = load.run(Until::Elapsed(self.schedule.window), self.stop);
        let cpu = Reading::take(&running.processes)?.since(&before);
        let tally = load.take_tally();
        let opened = self.counts.connections.load(Ordering::Relaxed) - upstream_connections;
        let mut sample = sample(workload, &warm_up, &tally, cpu, window);
        if opened * 100 > tally.requests {
            sample.notes.push(format!("{opened} new upstream connections for {} requests", tally.requests));
        }
        Ok(sample)
    }

    /// Memory of idle connections, in a server started for that.
    ///
    /// # Errors
    /// As [`Bench::requests`], or the server does not start.
    pub fn idle(&self, workload: &Workload, server: &Server, pair: &Pair) -> io::Result<Sample> {
        let running = Running::start(server, pair, self.around)?;
        let settle = self.schedule.warm_up * 2;
        // What the first connections bring with them (code, caches, pools) is not the price of one more.
        let mut few = Load::new(plan(workload, 64, &running, pair)?)?;
        few.run(Until::AllAnswered(OPEN_TIME_MAX), self.stop);
        drop(few);
        std::thread::sleep(settle);
        let before = measure::resident_kib(&running.processes)?;
        let connections = self.schedule.idle_connections;
        let mut load = Load::new(plan(workload, connections, &running, pair)?)?;
        load.run(Until::AllAnswered(OPEN_TIME_MAX), self.stop);
        load.run(Until::Elapsed(settle), self.stop);
        let after = measure::resident_kib(&running.processes)?;
        let tally = load.take_tally();
        let mut notes = tally.messages;
        if tally.reopened > 0 {
            notes.push(format!("the server closed {} idle connections", tally.reopened));
        }
        Ok(Sample {
            kib_per_connection: after.saturating_sub(before) as f64 / connections as f64,
            errors: tally.errors + tally.reopened,
            notes,
            ..Sample::default()
        })
    }
}

fn plan(workload: &Workload, connections: usize, running: &Running, pair: &Pair) -> io::Result<Plan> {
    let tls = match workload.arrival.is_tls() {
        true => Some(client_tls::config(workload.arrival, &pair.der).map_err(io::Error::other)?),
        false => None,
    };
    Ok(Plan {
        target: if tls.is_some() { running.https } else { running.http },
        tls,
        request: request(workload),
        http2: request_http2(workload),
        answer: workload.answer,
        arrival: workload.arrival,
        pace: workload.pace,
        connections,
    })
}

/// What a browser says in each request, near enough.
const FIELDS: [(&str, &str); 5] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Cookie", "z_sid=5cA4kqTn2uMBrWfE0dYxVb; theme=light"),
];

fn request(workload: &Workload) -> Vec<u8> {
    let fields: String = FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let close = if workload.arrival.closes() { "Connection: close\r\n" } else { "" };
    let (path, host) = (workload.path, crate::HOST);
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{close}\r\n").into_bytes()
}

fn request_http2(workload: &Workload) -> http2::Request {
    let names = FIELDS.map(|(name, _)| name.to_lowercase());
    let mut fields = vec![(":authority", crate::HOST), (":path", workload.path)];
    fields.extend(names.iter().map(String::as_str).zip(FIELDS.map(|(_, value)| value)));
    http2::Request::new(&fields)
}

fn sample(workload: &Workload, warm_up: &Tally, tally: &Tally, cpu: Cpu, window: Duration) -> Sample {
    let requests = tally.requests.max(1) as f64;
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut notes: Vec<String> = warm_up.messages.iter().chain(&tally.messages).cloned().collect();
    let mut errors = warm_up.errors + tally.errors;
    if tally.requests == 0 {
        errors += 1;
        notes.push("nothing was answered".to_owned());
    }
    // A few may start over when a key rotates; more, and the row would be about something else.
    if tally.not_resumed * 1000 > tally.requests {
        errors += tally.not_resumed;
        notes.push(format!("{} of {} handshakes did not resume", tally.not_resumed, tally.requests));
    }
    if tally.reopened > 0 {
        notes.push(format!("the server closed {} kept connections", tally.reopened));
    }
    if tally.not_notified > 0 {
        notes.push(format!("{} connections ended without close_notify", tally.not_notified));
    }
    if let Pace::PerSecond(rate) = workload.pace
        && requests / seconds < f64::from(rate) * 0.98
    {
        notes.push(format!("the rate was not reached: {:.0}/s", requests / seconds));
    }
    Sample {
        requests_per_second: requests / seconds,
        cpu_microseconds: cpu.used.as_secs_f64() * 1e6 / requests,
        busy: cpu.used.as_secs_f64() / seconds,
        waited: cpu.waited.as_secs_f64() / seconds,
        p50_microseconds: tally.latency.quantile(0.5).as_secs_f64() * 1e6,
        p99_microseconds: tally.latency.quantile(0.99).as_secs_f64() * 1e6,
        kib_per_connection: 0.0,
        errors,
        notes,
    }
}
