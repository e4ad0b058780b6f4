//! The log for operators: one line for each event, on standard error.

use tracing::level_filters::LevelFilter;

use crate::config::LogLevel;

/// Begins to log at this level and above. The first call counts.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish();
    // A second start finds the first in place, which is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
