//! Signals, turned into events of the process.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `on_stop` on each SIGTERM or SIGINT, from a thread of its own. SIGHUP, which would end the process,
/// is answered in the log.
///
/// # Errors
/// When the handlers or the thread cannot be set up.
pub fn watch(on_stop: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                tracing::warn!("SIGHUP: this version cannot reload; nothing was changed, restart it instead");
            } else {
                on_stop();
            }
        }
    })?;
    Ok(())
}
