//! Durations `"300s"` and sizes `"64KiB"`: read and shown.

use std::time::Duration;

/// Why an amount cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// No digits where a number must be.
    NoNumber,
    /// `"300"`
    NoUnit,
    UnknownUnit,
    /// `"30s1m"`, `"1s1s"`
    UnitsOutOfOrder,
    TooLarge,
}

/// From long to short, in milliseconds.
const TIME_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// As in a configuration file, for flags that are no settings; `None`: it is no duration.
pub fn read_duration(text: &str) -> Option<Duration> {
    duration(text).ok()
}

/// Whole numbers with units `d h m s ms`, long before short: `"300s"`, `"1h30m"`.
///
/// # Errors
/// What is wrong with the text. `m` is minutes; months and fractions do not exist.
pub fn duration(text: &str) -> Result<Duration, Amount> {
    let mut rest = text;
    let mut sum: u64 = 0;
    let mut last_unit = u64::MAX;
    loop {
        let (count, after) = number(rest)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() && after.is_empty() {
            return Err(Amount::NoUnit);
        }
        let worth = worth(unit, TIME_UNITS)?;
        if worth >= last_unit {
            return Err(Amount::UnitsOutOfOrder);
        }
        last_unit = worth;
        sum = count.checked_mul(worth).and_then(|part| sum.checked_add(part)).ok_or(Amount::TooLarge)?;
        if after.is_empty() {
            return Ok(Duration::from_millis(sum));
        }
        rest = after;
    }
}

/// One whole number with a unit: `B`, `KiB` to `TiB` (powers of 1024), `kB` to `TB` (of 1000).
///
/// # Errors
/// What is wrong with the text.
pub fn size(text: &str) -> Result<u64, Amount> {
    let (count, unit) = number(text)?;
    if unit.is_empty() {
        return Err(Amount::NoUnit);
    }
    let worth = worth(unit, SIZE_UNITS)?;
    count.checked_mul(worth).ok_or(Amount::TooLarge)
}

fn number(text: &str) -> Result<(u64, &str), Amount> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(Amount::NoNumber);
    }
    // Only digits are left, so the one way to fail is size.
    number.parse().map(|number| (number, rest)).map_err(|_| Amount::TooLarge)
}

fn worth(unit: &str, units: &[(&str, u64)]) -> Result<u64, Amount> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, worth)| *worth).ok_or(Amount::UnknownUnit)
}

/// The shortest way to write it that reads back the same.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    // Seconds as people write them: "90s" and "300s" rather than "1m30s", "1h" rather than "3600s".
    for (name, worth) in TIME_UNITS {
        let worth = u128::from(*worth);
        let few = milliseconds / worth >= if *name == "m" { 10 } else { 1 };
        if milliseconds.is_multiple_of(worth) && few {
            return format!("{}{name}", milliseconds / worth);
        }
    }
    format!("{milliseconds}ms")
}

/// In the largest unit of 1024 that divides it.
pub fn show_size(bytes: u64) -> String {
    if bytes == u64::MAX {
        return "unlimited".to_owned();
    }
    for (name, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{name}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let cases: &[(&str, Result<u64, Amount>)] = &[
            ("300s", Ok(300_000)),
            ("0s", Ok(0)),
            ("1h", Ok(3_600_000)),
            ("1h30m", Ok(5_400_000)),
            ("1d2h3m4s5ms", Ok(93_784_005)),
            ("250ms", Ok(250)),
            ("", Err(Amount::NoNumber)),
            ("s", Err(Amount::NoNumber)),
            ("-1s", Err(Amount::NoNumber)),
            ("300", Err(Amount::NoUnit)),
            ("1 s", Err(Amount::UnknownUnit)),
            ("1h30", Err(Amount::NoUnit)),
            ("1.5s", Err(Amount::UnknownUnit)),
            ("1sec", Err(Amount::UnknownUnit)),
            ("1S", Err(Amount::UnknownUnit)),
            ("1ſ", Err(Amount::UnknownUnit)),
            ("1s1s", Err(Amount::UnitsOutOfOrder)),
            ("1s1m", Err(Amount::UnitsOutOfOrder)),
            ("1s ", Err(Amount::NoNumber)),
            ("99999999999999999999s", Err(Amount::TooLarge)),
            ("9999999999999999999d", Err(Amount::TooLarge)),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn reads_sizes() {
        let cases: &[(&str, Result<u64, Amount>)] = &[
            ("64KiB", Ok(65_536)),
            ("0B", Ok(0)),
            ("1MB", Ok(1_000_000)),
            ("1kB", Ok(1_000)),
            ("2GiB", Ok(2 << 30)),
            ("64", Err(Amount::NoUnit)),
            ("64K", Err(Amount::UnknownUnit)),
            ("64 KiB", Err(Amount::UnknownUnit)),
            ("KiB", Err(Amount::NoNumber)),
            ("99999999TiB", Err(Amount::TooLarge)),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn shows_what_reads_back() {
        for milliseconds in
            [0, 1, 100, 1_000, 30_000, 60_000, 75_000, 300_000, 3_600_000, 5_400_000, 604_800_000]
        {
            let value = Duration::from_millis(milliseconds);
            assert_eq!(duration(&show_duration(value)), Ok(value), "{}", show_duration(value));
        }
        assert_eq!(show_duration(Duration::from_secs(60)), "60s");
        assert_eq!(show_duration(Duration::from_secs(600)), "10m");
        for bytes in [0, 1, 1024, 1_000_000, 32 << 10, 1 << 30, 16 << 40] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
    }
}
