//! Signals, turned into events of the process.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `on_stop` on each SIGTERM or SIGINT, from a thread of its own.
///
/// # Errors
/// When the handlers or the thread cannot be set up.
pub fn watch(on_stop: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            on_stop();
        }
    })?;
    Ok(())
}
