//! The service manager: told what the process does, asked for sockets. Without one, nothing happens.

use std::env;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use super::upgrade::Inherited;
use crate::http::Scheme;
use crate::net;

/// All workers accept; a reload is over, well or not.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Asked of services of type "notify-reload", and shown for others: the time tells a late message from a new one.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
    }
}

pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Another process is the service from here on.
pub(super) fn hand_to(process: u32, status: &str) {
    tell(&[NotifyState::MainPid(process), NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Sockets of socket activation. Each serves the address it is bound to, if the configuration names that, and in the scheme
/// that its name says, if it is one (`FileDescriptorName=http` or `https`).
///
/// To be called once, before anything else opens a descriptor.
pub(super) fn listeners() -> Vec<Inherited> {
    let descriptors = match sd_notify::listen_fds_with_names(true) {
        Ok(descriptors) => descriptors,
        Err(error) => {
            tracing::warn!(%error, "the sockets of the service manager are not understood");
            return Vec::new();
        }
    };
    let mut listeners = Vec::new();
    for (descriptor, name) in descriptors {
        // Others are names of units, or what systemd writes where there is none.
        let scheme = Scheme::parse(name.as_bytes());
        for socket in net::inherited(std::iter::once(descriptor)).into_iter().map(TcpListener::from) {
            match socket.local_addr() {
                Ok(written) => listeners.push(Inherited { scheme, written, sockets: vec![socket] }),
                Err(_) => {
                    tracing::warn!(name, "a socket of the service manager is not one of TCP: it is closed");
                }
            }
        }
    }
    listeners
}

/// To be called with the sockets that no address of the configuration has taken.
pub(super) fn warn_of_unused(sockets: Vec<Inherited>) {
    for Inherited { scheme, written, .. } in sockets {
        let place =
            scheme.map_or("[listen]".to_owned(), |scheme| format!("`{}` of [listen]", scheme.as_str()));
        tracing::warn!(
            "nothing listens on {written}, a socket of the service manager: no address of {place} is this one"
        );
    }
}

/// Says in time that the process is alive, for as long as every worker turns its loop. `pulses`: counted up by the
/// workers; one that has ended keeps its pulse no more. `confine`: what the thread does first.
pub(super) fn watch(pulses: Vec<Arc<AtomicU64>>, confine: impl FnOnce() + Send + 'static) {
    let Some(within) = watchdog() else {
        return;
    };
    let beat = move || {
        confine();
        let mut seen: Vec<Option<u64>> = vec![None; pulses.len()];
        let mut alive = true;
        loop {
            if alive {
                tell(&[NotifyState::Watchdog]);
            }
            std::thread::sleep(within / 3);
            alive = pulses.iter().zip(&mut seen).all(|(pulse, seen)| {
                let now = Some(pulse.load(Ordering::Relaxed));
                let turned = std::mem::replace(seen, now) != now;
                turned || Arc::strong_count(pulse) == 1
            });
            if !alive {
                tracing::error!(
                    "a worker does not turn its loop: the service manager is not told that all is well"
                );
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(beat) {
        tracing::error!(%error, "no thread for the watchdog of the service manager");
    }
}

/// Meant for this process, or for whoever took over from the one it was meant for.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let meant = match env::var_os("WATCHDOG_PID") {
        Some(_) => number("WATCHDOG_PID") == Some(u64::from(std::process::id())),
        None => true,
    };
    let within = number("WATCHDOG_USEC").filter(|_| meant)?;
    (within > 0).then(|| Duration::from_micros(within))
}
