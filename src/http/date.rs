//! `Date` as HTTP writes it, ready to be copied.

use std::io::Write as _;
use std::time::SystemTime;

/// An IMF-fixdate (RFC 9110 §5.6.7), 29 octets: made once a second, copied into every head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDate([u8; 29]);

impl HttpDate {
    /// Years past 9999 or before 1970 do not fit the format and give the epoch.
    pub fn new(now: SystemTime) -> Self {
        let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
        let fits = now.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(
            |since| since.as_secs() < 253_402_300_800, /* 10000-01-01, where httpdate panics */
        );
        if fits {
            // 29 octets for every year of four digits, so the write cannot fall short.
            let _ = write!(text.as_mut_slice(), "{}", httpdate::HttpDate::from(now));
        }
        Self(text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn writes_imf_fixdate_and_survives_broken_clocks() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        for (now, expected) in [
            (at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (at(0), "Thu, 01 Jan 1970 00:00:00 GMT"),
            (at(253_402_300_799), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (at(253_402_300_800), "Thu, 01 Jan 1970 00:00:00 GMT"),
            (SystemTime::UNIX_EPOCH - Duration::from_secs(1), "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(HttpDate::new(now).as_bytes(), expected.as_bytes());
        }
    }
}
