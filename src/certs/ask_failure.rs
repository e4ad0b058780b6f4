//! Why a source that was asked for a name gave nothing that can be used.

use std::fmt;
use std::io;

use crate::tls::CertificateFlaw;

#[derive(Debug)]
#[non_exhaustive]
pub enum AskFailure {
    /// The program could not be started, or the server not be reached.
    Unreachable(io::Error),
    /// No whole answer within `timeout`.
    TimedOut,
    /// The program ended with something else than 0; its code, if it had one.
    Exit(Option<i32>),
    /// The server answered with another status than 200.
    Status(u16),
    /// Over 1 MiB.
    TooLarge,
    /// The response is no HTTP, or ends early.
    NotHttp,
    NotJson,
    /// JSON that says something else than an answer does.
    Shape(&'static str),
    /// A key that nothing would enforce.
    UnknownKey(String),
    /// `options` that do not go together.
    Policy(String),
    Flaw(CertificateFlaw),
    /// The certificate does not cover the name asked for.
    NotCovered,
    /// The certificate is past its dates, or before them.
    OutOfDates,
    /// A handshake in memory with it failed.
    Handshake(rustls::Error),
    /// A defect of ours.
    Defect,
}

impl AskFailure {
    /// A word for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Exit(_) => "exit_status",
            Self::Status(_) => "http_status",
            Self::TooLarge => "too_large",
            Self::NotHttp => "not_http",
            Self::NotJson => "not_json",
            Self::Shape(_) | Self::UnknownKey(_) => "malformed",
            Self::Policy(_) => "bad_options",
            Self::Flaw(_) => "bad_certificate",
            Self::NotCovered => "not_covered",
            Self::OutOfDates => "out_of_dates",
            Self::Handshake(_) => "handshake",
            Self::Defect => "defect",
        }
    }
}

impl fmt::Display for AskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "it cannot be asked: {error}"),
            Self::TimedOut => f.write_str("no whole answer within its timeout"),
            Self::Exit(Some(code)) => write!(f, "it ended with exit status {code}"),
            Self::Exit(None) => f.write_str("it was ended by a signal"),
            Self::Status(status) => write!(f, "it answered with status {status}"),
            Self::TooLarge => f.write_str("its answer has more than 1 MiB"),
            Self::NotHttp => f.write_str("its response is no whole HTTP response"),
            Self::NotJson => f.write_str("its answer is not JSON"),
            Self::Shape(what) => write!(f, "in its answer {what}"),
            Self::UnknownKey(key) => write!(f, "its answer has `{key}`, which nothing would enforce"),
            Self::Policy(problem) => write!(f, "its options cannot be served: {problem}"),
            Self::Flaw(flaw) => write!(f, "its certificate cannot be served: {flaw}"),
            Self::NotCovered => f.write_str("its certificate does not cover the name"),
            Self::OutOfDates => f.write_str("its certificate is past its dates, or before them"),
            Self::Handshake(error) => write!(f, "a handshake with its certificate fails: {error}"),
            Self::Defect => f.write_str("a defect of ours"),
        }
    }
}

impl std::error::Error for AskFailure {}
