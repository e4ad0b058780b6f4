//! Signals, turned into events of the process.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Reopen,
    /// SIGUSR2.
    Upgrade,
}

/// Calls `asked` for each signal, from a thread of its own.
///
/// # Errors
/// When the handlers or the thread cannot be set up.
pub fn watch(asked: impl Fn(Asked) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            asked(match signal {
                SIGHUP => Asked::Reload,
                SIGUSR1 => Asked::Reopen,
                SIGUSR2 => Asked::Upgrade,
                _ => Asked::Stop,
            });
        }
    })?;
    Ok(())
}
