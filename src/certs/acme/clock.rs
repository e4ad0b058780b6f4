//! The time, and numbers that nobody guesses.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// # Errors
/// The system gives none.
pub(super) fn random() -> Result<u64, Unspecified> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Spreads waits: without random numbers all wait the same time, which is well, too.
pub(super) fn spread() -> u64 {
    random().unwrap_or_default()
}
