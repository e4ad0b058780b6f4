//! The words of settings that are one of a few.

use crate::config::config::{Alias, LogLevel, PathReading, SessionMode, SessionProtection, Unmatched};

/// A setting written as one of a few words.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every word with what it means, in the order messages list them.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for it.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, choice)| *choice == self).map_or("", |(word, _)| word)
    }
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for SessionMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("cache", Self::Cache), ("tickets", Self::Tickets), ("off", Self::Off)];
}

impl Choice for Alias {
    const WORDS: &'static [(&'static str, Self)] = &[("redirect", Self::Redirect), ("serve", Self::Serve)];
}

impl Choice for Unmatched {
    const WORDS: &'static [(&'static str, Self)] =
        &[("forward", Self::Forward), ("not_found", Self::NotFound)];
}

impl Choice for SessionProtection {
    const WORDS: &'static [(&'static str, Self)] = &[("secure", Self::Secure), ("sealed", Self::Sealed)];
}

impl Choice for PathReading {
    const WORDS: &'static [(&'static str, Self)] = &[("raw", Self::Raw), ("normalized", Self::Normalized)];
}
