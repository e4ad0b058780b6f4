//! `explain --batch`: a decision for each line, as fast as lines come.

use std::io::{self, Read, Write};

use super::decider::Decider;
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::object::{ObjectWriter, write_error};
use crate::http::Scheme;

/// Octets of answers after which they are written, however many questions are in hand.
const WRITE_BYTES: usize = 64 * 1024;

/// Reads lines of scheme, host and target, separated by tabs, and writes one JSON object a line for each.
///
/// A line that is no question gets an object with `error`; gives the number of those.
///
/// # Errors
/// As reading or writing fails.
pub fn batch(decider: &Decider, method: &str, from: impl Read, mut to: impl Write) -> io::Result<u64> {
    let mut lines = Lines::new(from);
    let mut writer = ObjectWriter::default();
    let mut out = Vec::with_capacity(WRITE_BYTES * 2);
    let mut errors = 0;
    while let Some(line) = lines.next()? {
        match parts(line) {
            Ok((scheme, host, target)) => {
                let decision = decider.decide(scheme, host, method.as_bytes(), target);
                writer.write(&decider.sites, &decision, target, &mut out);
            }
            Err(message) => {
                errors += 1;
                write_error(&format!("line {}: {message}", lines.number()), &mut out);
            }
        }
        out.push(b'\n');
        if out.len() >= WRITE_BYTES || lines.would_wait() {
            to.write_all(&out)?;
            to.flush()?;
            out.clear();
        }
    }
    Ok(errors)
}

fn parts(line: Line<'_>) -> Result<(Scheme, &[u8], &[u8]), String> {
    let Line::Whole(line) = line else {
        return Err(format!("longer than {LINE_BYTES_MAX} octets"));
    };
    let mut parts = line.splitn(3, |&byte| byte == b'\t');
    let (Some(scheme), Some(host), Some(target)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("expected scheme, host and target, separated by tabs".to_owned());
    };
    let Some(scheme) = Scheme::parse(scheme) else {
        let scheme = String::from_utf8_lossy(scheme.get(..40).unwrap_or(scheme)).into_owned();
        return Err(format!("\"{scheme}\" is neither \"http\" nor \"https\""));
    };
    Ok((scheme, host, target))
}

#[cfg(test)]
mod tests {
    use super::super::tests::decider;
    use super::*;

    fn answers(input: &[u8]) -> (Vec<String>, u64) {
        let decider = decider();
        let mut out = Vec::new();
        let errors = batch(&decider, "GET", input, &mut out).expect("memory");
        (String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect(), errors)
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let (lines, errors) = answers(line.as_bytes());
        assert_eq!((lines, errors), (vec![expected.to_owned()], 0), "{line}");
    }

    #[test]
    fn keys_come_in_order_and_only_with_a_value() {
        check(
            "http\texample.com\t/logon?a=b",
            r#"{"action":"redirect","site":"example","rule":"logon","status":302,"location":"https://example.com:8443/logon?a=b","bindings":[]}"#,
        );
        check(
            "http\texample.com\t/video/42",
            r#"{"action":"forward","site":"example","rule":"video","bindings":[["id","42"]]}"#,
        );
        check(
            "https\texample.com\t/nl/lib/a/b%22%25",
            r#"{"action":"forward","site":"example","rule":"lib","bindings":[["z_language","nl"],["*",["a","b%22%25"]]]}"#,
        );
        check("http\texample.com:80\t/nothing/here", r#"{"action":"forward","site":"example"}"#);
        check(
            "http\twww.example.com\t/logon",
            r#"{"action":"redirect","site":"example","rule":"logon","status":301,"location":"https://example.com:8443/logon","bindings":[]}"#,
        );
        check("https\tclosed.example\t/x", r#"{"action":"not_found","site":"closed","status":404}"#);
        check("http\tother.example\t/", r#"{"action":"refuse","status":404}"#);
        check("https\tother.example\t/", r#"{"action":"refuse","status":421}"#);
        check("https\tplain.example\t/", r#"{"action":"refuse","site":"plain","status":421}"#);
        // As a request of HTTP/1.0 that names no host: there is no fallback site.
        check("http\t\t/", r#"{"action":"refuse","status":404}"#);
        check("http\ta b\t/", r#"{"action":"refuse","status":400}"#);
        check("http\texample.com\t/a\tb", r#"{"action":"refuse","site":"example","status":400}"#);
        check("http\texample.com\t", r#"{"action":"refuse","site":"example","status":400}"#);
    }

    #[test]
    fn a_line_that_is_no_question_is_answered_too() {
        let input = b"http\texample.com\t/\nexample.com/\n\nftp\ta\t/\nhttp\texample.com\t/video/1";
        let (lines, errors) = answers(input);
        assert_eq!(errors, 3);
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1], r#"{"error":"line 2: expected scheme, host and target, separated by tabs"}"#);
        assert_eq!(lines[3], r#"{"error":"line 4: \"ftp\" is neither \"http\" nor \"https\""}"#);
        assert!(lines[4].contains("\"rule\":\"video\""));
    }

    #[test]
    fn many_lines_lose_none() {
        let input: String = (0..5_000).map(|id| format!("http\texample.com\t/video/{id}\n")).collect();
        let (lines, errors) = answers(input.as_bytes());
        assert_eq!((lines.len(), errors), (5_000, 0));
        assert!(lines[4_999].ends_with(r#"[["id","4999"]]}"#));
    }
}
