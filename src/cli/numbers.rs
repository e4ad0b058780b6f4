//! Numbers and tables of `/status` as people read them.

use serde_json::Value;

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// Of microseconds.
pub fn time(us: Option<f64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1e3 => format!("{us:.0} µs"),
        Some(us) if us < 1e4 => format!("{:.1} ms", us / 1e3),
        Some(us) if us < 1e6 => format!("{:.0} ms", us / 1e3),
        Some(us) => format!("{:.1} s", us / 1e6),
    }
}

pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", units[unit])
}

pub fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Of the numbers of an object.
pub fn sum(object: &Value) -> u64 {
    object.as_object().map_or(0, |object| object.values().filter_map(Value::as_u64).sum())
}

pub fn list(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

/// Text, in one line, without what a terminal would act on.
pub fn plain(value: &Value) -> String {
    printable(value.as_str().unwrap_or("-"), false)
}

pub fn printable(text: &str, lines: bool) -> String {
    text.chars().map(|c| if c.is_control() && !(lines && c == '\n') { '\u{fffd}' } else { c }).collect()
}

/// A histogram of `/status`.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    pub count: u64,
    buckets: Vec<u64>,
}

impl Durations {
    pub fn of(value: &Value) -> Durations {
        let buckets = list(&value["buckets"]).map(|count| count.as_u64().unwrap_or(0)).collect();
        Durations { count: value["count"].as_u64().unwrap_or(0), buckets }
    }

    /// What came since.
    pub fn since(&self, before: &Durations) -> Durations {
        let before = |place: usize| before.buckets.get(place).copied().unwrap_or(0);
        let buckets: Vec<u64> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(place, count)| count.saturating_sub(before(place)))
            .collect();
        Durations { count: buckets.iter().sum(), buckets }
    }

    /// In microseconds, as if durations were spread evenly inside each bucket; `None`: there are none.
    pub fn quantile(&self, bounds_us: &Value, share: f64) -> Option<f64> {
        let bound = |place: usize| bounds_us[place].as_f64();
        let mut left = share * self.count as f64;
        let mut low = 0.0;
        for (place, count) in self.buckets.iter().enumerate() {
            let count = *count as f64;
            let high = bound(place).unwrap_or(low);
            if count > 0.0 && left <= count {
                return Some(low + (high - low) * left / count);
            }
            left -= count;
            low = high;
        }
        None
    }
}

/// Columns as wide as what is in them; a title that begins with `>` is of a column of numbers.
pub struct Table {
    titles: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

/// Columns are no wider than this.
const COLUMN_MAX: usize = 48;

impl Table {
    pub fn new(titles: &'static [&'static str]) -> Table {
        Table { titles, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.titles.len());
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn text(&self) -> String {
        let titles: Vec<String> =
            self.titles.iter().map(|title| title.trim_start_matches('>').to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&titles]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).min(COLUMN_MAX)
        };
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        let mut out = String::new();
        for row in [&titles].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let cell = cut(cell, COLUMN_MAX);
                let width = widths[column];
                let gap = if column == 0 { "" } else { "  " };
                line.push_str(gap);
                line.push_str(&match self.titles[column].starts_with('>') {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:<width$}"),
                });
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// The first characters of a text, with a sign where there were more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 10 << 20, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "10 MiB", "16777216 TiB"]
        );
        assert_eq!([5.0, 90.0, 3_700.0, 200_000.0].map(span), ["5 s", "1 min", "1 h 1 min", "2 d 7 h"]);
        assert_eq!(time(Some(2_340.0)), "2.3 ms");
        assert_eq!(plain(&json!("a\u{1b}[2Jb")), "a\u{fffd}[2Jb");
    }

    #[test]
    fn quantiles_lie_inside_their_bucket() {
        let bounds = json!([100, 200]);
        let durations = Durations::of(&json!({ "count": 4, "buckets": [2, 2, 0] }));
        assert_eq!(durations.quantile(&bounds, 0.5), Some(100.0));
        assert_eq!(durations.quantile(&bounds, 0.75), Some(150.0));
        assert_eq!(Durations::default().quantile(&bounds, 0.5), None);
        let endless = Durations::of(&json!({ "count": 1, "buckets": [0, 0, 1] }));
        assert_eq!(endless.quantile(&bounds, 0.5), Some(200.0));
        assert_eq!(durations.since(&durations).count, 0);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["A", ">N"]);
        table.row(vec!["é".to_owned(), "1".to_owned()]);
        table.row(vec!["long".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.text(), "A         N\né         1\nlong  1,000\n");
    }
}
