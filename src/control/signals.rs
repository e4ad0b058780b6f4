//! Signals, turned into events of the process.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Calls `asked` for each signal, from a thread of its own.
///
/// # Errors
/// When the handlers or the thread cannot be set up.
pub fn watch(asked: impl Fn(Asked) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            asked(if signal == SIGHUP { Asked::Reload } else { Asked::Stop });
        }
    })?;
    Ok(())
}
