//! Dates as lines have them.

/// A moment in the calendar, in UTC.
struct Civil {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Civil {
    /// Days since 1970 to a date of the Gregorian calendar: Howard Hinnant's `civil_from_days`.
    fn of(unix_seconds: u64) -> Civil {
        let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Civil {
            year,
            month: month as usize,
            day,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

/// Appends `2026-11-28T07:24:08.123Z` (RFC 3339).
pub fn write_utc(unix_ms: u64, out: &mut Vec<u8>) {
    let civil = Civil::of(unix_ms / 1000);
    digits(civil.year, 4, out);
    out.push(b'-');
    digits(civil.month as u64, 2, out);
    out.push(b'-');
    digits(civil.day, 2, out);
    out.push(b'T');
    clock(&civil, out);
    out.push(b'.');
    digits(unix_ms % 1000, 3, out);
    out.push(b'Z');
}

/// Appends `28/Nov/2026:07:24:08 +0000`.
pub(super) fn write_combined(unix_ms: u64, out: &mut Vec<u8>) {
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let civil = Civil::of(unix_ms / 1000);
    digits(civil.day, 2, out);
    out.push(b'/');
    out.extend_from_slice(MONTHS[civil.month - 1]);
    out.push(b'/');
    digits(civil.year, 4, out);
    out.push(b':');
    clock(&civil, out);
    out.extend_from_slice(b" +0000");
}

fn clock(civil: &Civil, out: &mut Vec<u8>) {
    digits(civil.hour, 2, out);
    out.push(b':');
    digits(civil.minute, 2, out);
    out.push(b':');
    digits(civil.second, 2, out);
}

fn digits(number: u64, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        out.push(b'0' + (number / 10u64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_kinds_of_years() {
        for (unix_ms, expected, combined) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "29/Feb/2000:00:00:00 +0000"),
            (1_795_850_648_007, "2026-11-28T07:24:08.007Z", "28/Nov/2026:07:24:08 +0000"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
            (253_402_300_799_000, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000"),
        ] {
            let (mut utc, mut line) = (Vec::new(), Vec::new());
            write_utc(unix_ms, &mut utc);
            write_combined(unix_ms, &mut line);
            assert_eq!(
                (String::from_utf8_lossy(&utc).as_ref(), String::from_utf8_lossy(&line).as_ref()),
                (expected, combined)
            );
        }
    }
}
