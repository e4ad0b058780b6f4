//! Samples become rows: medians with their spread, ratios to the first server taken round by round.

use std::fmt::Write as _;

use crate::run::Sample;
use crate::workload::{Pace, Workload};

/// One workload's samples: by server, then by round; empty for a server that took no part.
pub struct Row {
    pub workload: Workload,
    pub samples: Vec<Vec<Sample>>,
}

/// The middle of some numbers, with the smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(numbers: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let middle = numbers.len() / 2;
        let median = match numbers.len() % 2 {
            1 => numbers[middle],
            _ => (numbers[middle - 1] + numbers[middle]) / 2.0,
        };
        Some(Spread { median, min, max })
    }

    fn show(self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.min, self.max)
    }
}

type Value = fn(&Sample) -> f64;

const CPU: Value = |sample| sample.cpu_microseconds;
const RATE: Value = |sample| sample.requests_per_second;
const MEMORY: Value = |sample| sample.kib_per_connection;

fn spread(samples: &[Sample], value: Value) -> Option<Spread> {
    Spread::of(samples.iter().map(value))
}

/// Ratios within a round: what slows the whole machine for a while slows both.
fn ratio(samples: &[Sample], base: &[Sample], value: Value) -> Option<Spread> {
    Spread::of(
        samples
            .iter()
            .zip(base)
            .filter(|(_, base)| value(base) > 0.0)
            .map(|(one, base)| value(one) / value(base)),
    )
}

fn is_idle(row: &Row) -> bool {
    row.workload.pace == Pace::OnceThenIdle
}

/// A workload for people at a terminal. The first name is what the others are compared with.
pub fn text(row: &Row, names: &[String]) -> String {
    let mut out = format!("\n{} ({})\n", row.workload.title, row.workload.name);
    let base = row.samples.first().map_or(&[][..], Vec::as_slice);
    let show =
        |spread: Option<Spread>, digits| spread.map_or_else(|| "-".to_owned(), |spread| spread.show(digits));
    // String takes every write.
    for (name, samples) in names.iter().zip(&row.samples) {
        if samples.is_empty() {
            let _ = writeln!(out, "  {name:<12} takes no part");
            continue;
        }
        if is_idle(row) {
            let each = show(spread(samples, MEMORY), 1);
            let ratio = show(ratio(samples, base, MEMORY), 2);
            let _ = writeln!(out, "  {name:<12} {each:>20} KiB each  x {ratio}");
        } else {
            let cpu = show(spread(samples, CPU), 1);
            let cpu_ratio = show(ratio(samples, base, CPU), 2);
            let rate = show(spread(samples, RATE), 0);
            let busy = spread(samples, |sample| sample.busy * 100.0).map_or(0.0, |busy| busy.median);
            let _ = write!(
                out,
                "  {name:<12} {cpu:>22} us/request  x {cpu_ratio:<18} {rate:>24} requests/s  busy {busy:.0} %"
            );
            let _ = writeln!(out, "  p50/p99 {} us", latencies(samples));
        }
        for (round, sample) in samples.iter().enumerate() {
            if sample.waited > 0.05 {
                let _ = writeln!(
                    out,
                    "    round {}: waited for its core {:.0} % of the time",
                    round + 1,
                    sample.waited * 100.0
                );
            }
            for note in &sample.notes {
                let _ = writeln!(out, "    round {}: {note}", round + 1);
            }
        }
    }
    out
}

fn latencies(samples: &[Sample]) -> String {
    let p50 = spread(samples, |sample| sample.p50_microseconds).map_or(0.0, |spread| spread.median);
    let p99 = spread(samples, |sample| sample.p99_microseconds).map_or(0.0, |spread| spread.median);
    format!("{p50:.0}/{p99:.0}")
}

/// The tables for a README.
pub fn markdown(rows: &[Row], names: &[String]) -> String {
    let mut out = String::new();
    let requests: Vec<&Row> = rows.iter().filter(|row| !is_idle(row)).collect();
    let closed: Vec<&Row> =
        requests.iter().copied().filter(|row| row.workload.pace == Pace::Closed).collect();
    let paced: Vec<&Row> = requests.iter().copied().filter(|row| row.workload.pace != Pace::Closed).collect();
    let idle: Vec<&Row> = rows.iter().filter(|row| is_idle(row)).collect();
    ratios(&mut out, "CPU time per request (less is better)", "µs", &requests, names, CPU, 1);
    ratios(&mut out, "Requests per second (more is better)", "1/s", &closed, names, RATE, 0);
    ratios(&mut out, "Memory per open connection (less is better)", "KiB", &idle, names, MEMORY, 1);
    if !paced.is_empty() {
        heading(&mut out, "Latency at a fixed rate, p50/p99 in µs", names, |name| name.to_owned());
        for row in paced {
            line(&mut out, row, |samples, _| latencies(samples));
        }
    }
    out
}

fn ratios(
    out: &mut String,
    title: &str,
    unit: &str,
    rows: &[&Row],
    names: &[String],
    value: Value,
    digits: usize,
) {
    let Some(first) = names.first().filter(|_| !rows.is_empty()) else {
        return;
    };
    heading(out, title, names, |name| {
        if name == first { format!("{name}, {unit}") } else { format!("{name} ÷ {first}") }
    });
    for row in rows {
        let base = row.samples.first().map_or(&[][..], Vec::as_slice);
        line(out, row, |samples, index| {
            let absolute = spread(samples, value);
            if index == 0 {
                return absolute.map_or_else(String::new, |spread| spread.show(digits));
            }
            match (ratio(samples, base, value), absolute) {
                (Some(ratio), _) => ratio.show(2),
                (None, Some(absolute)) => format!("{:.digits$} {unit}", absolute.median),
                (None, None) => String::new(),
            }
        });
    }
}

fn heading(out: &mut String, title: &str, names: &[String], column: impl Fn(&str) -> String) {
    let columns: Vec<String> = names.iter().map(|name| column(name)).collect();
    let _ = writeln!(out, "\n| {title} | {} |\n|---|{}", columns.join(" | "), "---|".repeat(names.len()));
}

fn line(out: &mut String, row: &Row, cell: impl Fn(&[Sample], usize) -> String) {
    let cells: Vec<String> = (row.samples.iter().enumerate())
        .map(|(index, samples)| if samples.is_empty() { "—".to_owned() } else { cell(samples, index) })
        .collect();
    let _ = writeln!(out, "| {} | {} |", row.workload.title, cells.join(" | "));
}

/// Every sample on a line of its own, tab-separated, for records and other tools.
pub fn record(rows: &[Row], names: &[String]) -> String {
    let mut out = "workload\tserver\tround\trequests_per_second\tcpu_microseconds\tbusy\twaited\t\
                   p50_microseconds\tp99_microseconds\tkib_per_connection\terrors\n"
        .to_owned();
    for row in rows {
        for (name, samples) in names.iter().zip(&row.samples) {
            for (round, one) in samples.iter().enumerate() {
                let _ = writeln!(
                    out,
                    "{}\t{name}\t{}\t{:.1}\t{:.3}\t{:.3}\t{:.3}\t{:.1}\t{:.1}\t{:.2}\t{}",
                    row.workload.name,
                    round + 1,
                    one.requests_per_second,
                    one.cpu_microseconds,
                    one.busy,
                    one.waited,
                    one.p50_microseconds,
                    one.p99_microseconds,
                    one.kib_per_connection,
                    one.errors
                );
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let median = |numbers: &[f64]| Spread::of(numbers.iter().copied()).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let samples = |cpu: &[f64]| -> Vec<Sample> {
            cpu.iter().map(|&cpu_microseconds| Sample { cpu_microseconds, ..Sample::default() }).collect()
        };
        let row = Row {
            workload: WORKLOADS[0].clone(),
            // The second round ran on a machine twice as slow.
            samples: vec![samples(&[10.0, 20.0, 10.0]), samples(&[5.0, 10.0, 6.0]), Vec::new()],
        };
        let names = ["nginx", "ours", "absent"].map(str::to_owned);
        let table = markdown(&[row], &names);
        assert!(table.contains("| 10.0 (10.0–20.0) | 0.50 (0.50–0.60) | — |"), "{table}");
    }
}
