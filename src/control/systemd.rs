//! The service manager: told what the process does, asked for sockets. Without one, nothing happens.

use std::env;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

use super::upgrade::Inherited;
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

/// Sockets of socket activation. Each serves the address it is bound to, if the configuration names that.
///
/// To be called once, before anything else opens a descriptor.
pub(super) fn listeners() -> Vec<Inherited> {
    let descriptors = match sd_notify::listen_fds() {
        Ok(descriptors) => descriptors,
        Err(error) => {
            tracing::warn!(%error, "the sockets of the service manager are not understood");
            return Vec::new();
        }
    };
    let mut listeners = Vec::new();
    for socket in net::inherited(descriptors).into_iter().map(TcpListener::from) {
        match socket.local_addr() {
            Ok(written) => listeners.push(Inherited { scheme: None, written, sockets: vec![socket] }),
            Err(_) => tracing::warn!("a socket of the service manager is not one of TCP: it is closed"),
        }
    }
    listeners
}

/// Says in time that the process is alive, for as long as every worker turns its loop. `pulses`: counted up by the
/// workers; one that has ended keeps its pulse no more.
pub(super) fn watch(pulses: Vec<Arc<AtomicU64>>) {
    let Some(within) = watchdog() else {
        return;
    };
    let beat = move || {
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
