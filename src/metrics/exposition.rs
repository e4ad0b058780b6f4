//! The text Prometheus reads (exposition format 0.0.4).

use std::fmt::Write as _;

use super::histogram::{BOUNDS_US, Durations};

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
    /// A sum and a count.
    Summary,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A metric with all its labels: its name, what it is, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// The text, as far as it is written.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // A string takes all of it; the same below.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.word());
    }

    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        self.labels(labels);
        let _ = writeln!(self.0, " {value}");
    }

    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], durations: &Durations) {
        let mut sum = 0;
        for (position, count) in durations.buckets.iter().enumerate() {
            sum += count;
            let bound = match BOUNDS_US.get(position) {
                Some(bound) => seconds(*bound).to_string(),
                None => "+Inf".to_owned(),
            };
            let labelled: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labelled, sum as f64);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(durations.sum_us));
        self.sample(&format!("{name}_count"), labels, sum as f64);
    }

    pub fn into_text(self) -> String {
        self.0
    }

    fn labels(&mut self, labels: &[(&str, &str)]) {
        for (position, (name, value)) in labels.iter().enumerate() {
            self.0.push(if position == 0 { '{' } else { ',' });
            self.0.push_str(name);
            self.0.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    _ => self.0.push(character),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
    }
}

pub fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut text = Exposition::default();
        text.family("a_seconds", Kind::Histogram, "line\nand \\");
        let mut durations = Durations::default();
        durations.buckets[0] = 2;
        durations.buckets[16] = 1;
        durations.sum_us = 1_500_000;
        text.histogram("a_seconds", &[("site", "\"\\\n")], &durations);
        let text = text.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# HELP a_seconds line\\nand \\\\");
        assert_eq!(lines[1], "# TYPE a_seconds histogram");
        assert_eq!(lines[2], "a_seconds_bucket{site=\"\\\"\\\\\\n\",le=\"0.00025\"} 2");
        assert_eq!(lines[18], "a_seconds_bucket{site=\"\\\"\\\\\\n\",le=\"+Inf\"} 3");
        assert_eq!(lines[19], "a_seconds_sum{site=\"\\\"\\\\\\n\"} 1.5");
        assert_eq!(lines[20], "a_seconds_count{site=\"\\\"\\\\\\n\"} 3");
    }
}
