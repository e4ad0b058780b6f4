//! Names of site servers, looked up again when their addresses have aged: on a thread of its own, with the system's
//! resolver, which reads what the operator configured (hosts, search domains, nss). A worker never waits for a name.
//!
//! A lookup that fails changes nothing: the addresses before stay. Set aside: a resolver crate, which knows how long an
//! answer holds, but not what nsswitch.conf says.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::upstreams::resolve;
use crate::config::{Endpoint, Generation};

/// Lookups at a time: one that hangs holds up a few others, not all.
const AT_ONCE: usize = 8;

/// What is looked up, as the serving generation has it.
#[derive(Default)]
struct Watched {
    endpoints: Vec<Arc<Endpoint>>,
    interval: Duration,
}

/// Started when there is the first name; then it lives as long as the process.
#[derive(Default)]
pub(super) struct Resolver {
    shared: Arc<(Mutex<Watched>, Condvar)>,
    started: bool,
}

impl Resolver {
    /// Looks up the names of this generation from here on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn watch(&mut self, generation: &Generation) -> io::Result<()> {
        let named = generation.endpoints.iter().filter(|endpoint| endpoint.key.is_named());
        let endpoints: Vec<_> = named.cloned().collect();
        let is_idle = endpoints.is_empty();
        let interval = generation.config.upstream_pool.resolve_interval;
        let (watched, changed) = &*self.shared;
        *watched.lock().unwrap_or_else(PoisonError::into_inner) = Watched { endpoints, interval };
        changed.notify_all();
        if !self.started && !is_idle {
            let shared = self.shared.clone();
            std::thread::Builder::new().name("resolver".to_owned()).spawn(move || run(&shared))?;
            self.started = true;
        }
        Ok(())
    }
}

fn run((watched, changed): &(Mutex<Watched>, Condvar)) {
    let mut failing: HashSet<String> = HashSet::new();
    loop {
        let endpoints = {
            let mut now = watched.lock().unwrap_or_else(PoisonError::into_inner);
            while now.endpoints.is_empty() {
                now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
            }
            let interval = now.interval;
            // A reload may ask for another interval: it begins anew.
            let (now, waited) = changed.wait_timeout(now, interval).unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() {
                continue;
            }
            now.endpoints.clone()
        };
        for some in endpoints.chunks(AT_ONCE) {
            let results: Vec<_> = std::thread::scope(|scope| {
                let lookups: Vec<_> =
                    some.iter().map(|endpoint| scope.spawn(|| resolve(&endpoint.key.upstream))).collect();
                lookups.into_iter().map(|lookup| lookup.join()).collect()
            });
            for (endpoint, result) in some.iter().zip(results) {
                let name = endpoint.to_string();
                endpoint.state.looked_up(matches!(result, Ok(Ok(_))));
                match result {
                    Ok(Ok(addresses)) => {
                        if failing.remove(&name) {
                            tracing::info!(upstream = name, "a lookup succeeds again");
                        }
                        let shown = format!("{addresses:?}");
                        if endpoint.state.set_addresses(addresses) {
                            tracing::info!(upstream = name, addresses = shown, "a site server has moved");
                        }
                    }
                    // A thread that could not be had or panicked: as a lookup that failed.
                    Err(_) => {}
                    Ok(Err(error)) => {
                        // Once, until it works again.
                        if failing.insert(name.clone()) {
                            let reason = "lookup_failed";
                            tracing::warn!(upstream = name, reason, %error, "a lookup failed: the addresses before stay");
                        }
                    }
                }
            }
        }
    }
}
