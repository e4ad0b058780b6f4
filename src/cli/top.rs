//! `top`: what the status page shows, in a terminal.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::Value;

use super::flags::TopFlags;
use super::numbers::{self, Durations, Table};
use super::remote;

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(5);

/// By what sites are sorted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Rate,
    Errors,
    Latency,
    Name,
}

impl Order {
    fn next(self) -> Order {
        match self {
            Order::Rate => Order::Errors,
            Order::Errors => Order::Latency,
            Order::Latency => Order::Name,
            Order::Name => Order::Rate,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Order::Rate => "requests",
            Order::Errors => "errors",
            Order::Latency => "latency",
            Order::Name => "name",
        }
    }
}

pub fn main(flags: &TopFlags) -> ExitCode {
    let client = match remote::client(&flags.remote, WAIT) {
        Ok(client) => client,
        Err(code) => return code,
    };
    if let Err(why) = remote::fetch(&client) {
        eprintln!("portcullis: {why}");
        return ExitCode::FAILURE;
    }
    if !isatty(io::stdout()) || !isatty(io::stdin()) {
        eprintln!("portcullis: `top` needs a terminal\n  do: `portcullis status` prints the same once");
        return ExitCode::FAILURE;
    }
    let ended = Screen::take().and_then(|screen| watch(&screen, flags.interval, || remote::fetch(&client)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portcullis: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The terminal while it is ours; given back as it was.
struct Screen {
    before: Termios,
    ended: Arc<AtomicBool>,
}

impl Screen {
    fn take() -> io::Result<Screen> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let screen = Screen { before, ended };
        // The other screen, without a cursor.
        screen.write("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A key, when one is pressed before `until`.
    fn key(&self, until: Instant) -> io::Result<Option<u8>> {
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let stdin = io::stdin();
        let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut polled, Some(&wait)) {
            Ok(1..) => {
                let mut bytes = [0; 64];
                let read = stdin.lock().read(&mut bytes)?;
                // Escape sequences of other keys begin like the Escape key, and are longer.
                Ok(if read == 1 {
                    Some(bytes[0])
                } else if read == 0 {
                    Some(b'q')
                } else {
                    None
                })
            }
            // A signal, which may have asked for the end.
            Ok(0) | Err(_) => Ok(None),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What fails here has nobody to be told to.
        let _ = self.write("\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn watch(screen: &Screen, interval: Duration, fetch: impl Fn() -> Result<Value, String>) -> io::Result<()> {
    let mut order = Order::Rate;
    let mut before: Option<Value> = None;
    let mut now = fetch();
    loop {
        let next = Instant::now() + interval;
        let since = before.take();
        while Instant::now() < next {
            draw(screen, &now, since.as_ref(), order)?;
            match screen.key(next)? {
                Some(b'q' | b'Q' | 3 | 27) => return Ok(()),
                Some(b's' | b'S') => order = order.next(),
                _ if screen.ended.load(Ordering::Relaxed) => return Ok(()),
                _ => {}
            }
        }
        before = now.ok();
        now = fetch();
    }
}

fn draw(
    screen: &Screen,
    now: &Result<Value, String>,
    before: Option<&Value>,
    order: Order,
) -> io::Result<()> {
    let size = tcgetwinsize(io::stdout())?;
    let (rows, columns) = (usize::from(size.ws_row.max(4)), usize::from(size.ws_col.max(20)));
    let text = match now {
        Ok(now) => frame(now, before, order),
        Err(why) => format!("no answer: {why}\n\nq quits"),
    };
    let mut out = String::from("\x1b[H");
    for (number, line) in text.lines().take(rows).enumerate() {
        if number > 0 {
            out.push_str("\r\n");
        }
        // Titles of tables stand out.
        let title =
            line.starts_with("SITE ") || line.starts_with("CERTIFICATE ") || line.starts_with("REASON ");
        let line = numbers::cut(line, columns);
        match title {
            true => drop(write!(out, "\x1b[7m{line:<columns$}\x1b[0m")),
            false => drop(write!(out, "{line}\x1b[K")),
        }
    }
    out.push_str("\x1b[J");
    screen.write(&out)
}

fn frame(now: &Value, before: Option<&Value>, order: Order) -> String {
    let mut out = String::new();
    let bounds = &now["bounds_us"];
    let seconds = before.map_or(0.0, |before| number(&now["time"]) - number(&before["time"]));
    let per_second = |change: f64| match seconds > 0.0 {
        true => format!("{:.*}", usize::from(change / seconds < 10.0), change / seconds),
        false => "-".to_owned(),
    };
    let change = |path: &[&str]| match before {
        Some(before) => number(at(now, path)) - number(at(before, path)),
        None => 0.0,
    };
    let recent = |path: &[&str]| {
        let all = Durations::of(at(now, path));
        before.map_or_else(Durations::default, |before| all.since(&Durations::of(at(before, path))))
    };
    let (full, resumed) = (recent(&["handshakes", "full"]), recent(&["handshakes", "resumed"]));
    let cpu = match seconds > 0.0 {
        true => format!("{:.0} %", 100.0 * change(&["process", "cpu_seconds"]).max(0.0) / seconds),
        false => "-".to_owned(),
    };
    let cache = &now["session_cache"];
    let (hits, misses) =
        (change(&["session_cache", "hits"]) as u64, change(&["session_cache", "misses"]) as u64);
    // Strings take all of it.
    let _ = writeln!(
        out,
        "portcullis {}  {}  generation {}  up {}  {} workers  sorted by {} (s)  q quits",
        numbers::plain(&now["version"]),
        numbers::plain(&now["phase"]),
        now["generation"]["number"],
        numbers::span(number(&now["time"]) - number(&now["started"])),
        now["workers"],
        order.word(),
    );
    let _ = writeln!(
        out,
        "requests {}/s   connections {} open, {} new/s   cpu {cpu}   memory {}",
        per_second(change(&["totals", "requests"])),
        now["totals"]["connections_open"],
        per_second(change(&["totals", "connections_accepted"])),
        numbers::size(now["process"]["resident_bytes"].as_u64().unwrap_or(0)),
    );
    let _ = writeln!(
        out,
        "handshakes {}/s full ({}), {}/s resumed   sessions {} of {}, {} found\n",
        per_second(full.count as f64),
        numbers::time(full.quantile(bounds, 0.5)),
        per_second(resumed.count as f64),
        numbers::grouped(cache["size"].as_u64().unwrap_or(0)),
        numbers::grouped(cache["size_max"].as_u64().unwrap_or(0)),
        numbers::percent(hits, hits + misses),
    );
    out.push_str(&sites(now, before, order, per_second));
    out.push_str(&failures(now, before, per_second));
    out.push_str(&certificates(now));
    out
}

fn sites(now: &Value, before: Option<&Value>, order: Order, per_second: impl Fn(f64) -> String) -> String {
    let bounds = &now["bounds_us"];
    let mut sites: Vec<(f64, Vec<String>)> = numbers::list(&now["sites"])
        .map(|site| {
            let then = before.and_then(|before| {
                numbers::list(&before["sites"]).find(|other| other["name"] == site["name"])
            });
            let all = Durations::of(&site["durations"]);
            let recent =
                then.map_or_else(Durations::default, |then| all.since(&Durations::of(&then["durations"])));
            let since =
                |path: &[&str]| then.map_or(0.0, |then| number(at(site, path)) - number(at(then, path)));
            let errors = since(&["requests", "5xx"]);
            let key = match order {
                Order::Rate => -(recent.count as f64) - all.count as f64 / 1e12,
                Order::Errors => -errors - number(&site["requests"]["5xx"]) / 1e12,
                Order::Latency => -recent.quantile(bounds, 0.99).unwrap_or(0.0),
                Order::Name => 0.0,
            };
            let row = vec![
                numbers::plain(&site["name"]),
                per_second(recent.count as f64),
                per_second(since(&["requests", "4xx"])),
                per_second(errors),
                numbers::time(recent.quantile(bounds, 0.5)),
                numbers::time(recent.quantile(bounds, 0.99)),
                format!(
                    "{}/s",
                    numbers::size(per_second(since(&["bytes_out"])).parse::<f64>().unwrap_or(0.0) as u64)
                ),
                numbers::grouped(all.count),
            ];
            (key, row)
        })
        .collect();
    sites.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1[0].cmp(&other.1[0])));
    let mut table =
        Table::new(&["SITE", ">REQUESTS/S", ">4XX/S", ">5XX/S", ">MEDIAN", ">P99", ">SENT", ">TOTAL"]);
    sites.into_iter().take(30).for_each(|(_, row)| table.row(row));
    format!("{}\n", table.text())
}

fn failures(now: &Value, before: Option<&Value>, per_second: impl Fn(f64) -> String) -> String {
    let mut all: Vec<(String, f64, u64)> = Vec::new();
    for (path, prefix) in [(&["failures"][..], ""), (&["handshakes", "failures"], "handshake: ")] {
        for (reason, count) in at(now, path).as_object().into_iter().flatten() {
            let then = before.map_or(0.0, |before| number(&at(before, path)[reason.as_str()]));
            let change = if before.is_some() { number(count) - then } else { 0.0 };
            all.push((
                format!("{prefix}{}", numbers::printable(reason, false)),
                change,
                count.as_u64().unwrap_or(0),
            ));
        }
    }
    if all.is_empty() {
        return String::new();
    }
    all.sort_by(|one, other| other.1.total_cmp(&one.1).then(other.2.cmp(&one.2)));
    let mut table = Table::new(&["REASON", ">NOW/S", ">TOTAL"]);
    for (reason, change, total) in all.into_iter().take(8) {
        table.row(vec![reason, per_second(change), numbers::grouped(total)]);
    }
    format!("{}\n", table.text())
}

/// Those that end first.
fn certificates(now: &Value) -> String {
    let mut ends: Vec<(f64, String)> = numbers::list(&now["certificates"])
        .map(|certificate| {
            let left = (number(&certificate["not_after"]) - number(&now["time"])) / 86_400.0;
            (left, numbers::plain(&certificate["site"]))
        })
        .collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut table = Table::new(&["CERTIFICATE OF", ">DAYS LEFT"]);
    for (left, site) in ends.into_iter().take(5) {
        table.row(vec![site, if left < 0.0 { "ended".to_owned() } else { format!("{left:.0}") }]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}

fn at<'v>(value: &'v Value, path: &[&str]) -> &'v Value {
    path.iter().fold(value, |value, key| &value[*key])
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_frame_shows_what_changed() {
        let status = |time: f64, requests: u64, failed: u64| {
            json!({
                "version": "1", "phase": "serving", "time": time, "started": 0, "workers": 2, "generation": { "number": 3 },
                "bounds_us": [1000, 2000], "totals": { "requests": requests, "connections_open": 7, "connections_accepted": 0 },
                "handshakes": { "full": { "count": 0, "buckets": [0, 0, 0] }, "resumed": { "count": 0, "buckets": [0, 0, 0] }, "failures": {} },
                "failures": { "client_gone": failed }, "session_cache": { "mode": "off" }, "process": { "cpu_seconds": 1, "resident_bytes": 1024 },
                "sites": [{ "name": "example", "bytes_out": 10, "requests": { "4xx": 0, "5xx": failed },
                            "durations": { "count": requests, "buckets": [requests, 0, 0] } }],
                "certificates": [{ "site": "example", "not_after": time + 86_400.0 * 5.5 }],
            })
        };
        let (before, now) = (status(100.0, 10, 0), status(102.0, 210, 4));
        let text = frame(&now, Some(&before), Order::Rate);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "requests 100/s",
            "connections 7 open",
            "example 100 0.0 2.0 500 µs 990 µs",
            "client_gone 2.0 4",
            "example 6",
        ] {
            assert!(words.contains(expected), "{expected}:\n{text}");
        }
        // The first frame has nothing to compare with.
        assert!(frame(&now, None, Order::Name).contains("requests -/s"));
    }
}
