//! Names of servers that are asked, looked up within a deadline.
//!
//! The system's look-up waits as long as its own settings say, and cannot be given up. So it runs on a thread of its
//! own, one at a time for a name: who has no more time goes on without it, and who comes later waits for the same one.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::ask_failure::AskFailure;

/// What the system says; an error in its parts, since many may wait for it.
type Found = Result<Vec<SocketAddr>, (ErrorKind, String)>;
type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Names that are looked up now, with those who wait.
type Running = Mutex<HashMap<(String, u16), Vec<Sender<Found>>>>;

pub(super) struct Lookups {
    running: Arc<Running>,
    look_up: Lookup,
}

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups { running: Arc::default(), look_up: by_the_system }
    }
}

fn by_the_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

impl Lookups {
    /// The addresses of `host`, a name or an address without brackets.
    ///
    /// # Errors
    /// `TimedOut` when that is not known at `until`; `Unreachable` with what the system says.
    pub(super) fn addresses(
        &self,
        host: &str,
        port: u16,
        until: Instant,
    ) -> Result<Vec<SocketAddr>, AskFailure> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (sender, found) = channel();
        let is_first = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = running.entry((host.to_owned(), port)).or_default();
            waiting.push(sender);
            waiting.len() == 1
        };
        if is_first {
            self.begin(host.to_owned(), port).map_err(AskFailure::Unreachable)?;
        }
        match found.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err((kind, words))) => Err(AskFailure::Unreachable(io::Error::new(kind, words))),
            Err(_) => Err(AskFailure::TimedOut),
        }
    }

    fn begin(&self, host: String, port: u16) -> io::Result<()> {
        let (running, look_up) = (Arc::clone(&self.running), self.look_up);
        let key = (host.clone(), port);
        let done = move || {
            let found = look_up(&host, port).map_err(|error| (error.kind(), error.to_string()));
            let waiting = running.lock().unwrap_or_else(PoisonError::into_inner).remove(&(host, port));
            for one in waiting.into_iter().flatten() {
                // Who has no more time does not hear it.
                let _ = one.send(found.clone());
            }
        };
        let started = std::thread::Builder::new().name("look-up".to_owned()).spawn(done);
        if started.is_err() {
            self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        started.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    static LOOKED: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: AtomicBool = AtomicBool::new(false);

    fn slowly(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        LOOKED.fetch_add(1, Ordering::SeqCst);
        while host == "slow" && !MAY_END.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        match host {
            "absent" => Err(io::Error::new(ErrorKind::NotFound, "no such name")),
            _ => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
        }
    }

    #[test]
    fn a_look_up_that_takes_too_long_is_left_and_waited_for_by_the_next() {
        let lookups = Lookups { look_up: slowly, ..Lookups::default() };
        let within = |ms| Instant::now() + Duration::from_millis(ms);
        assert!(matches!(lookups.addresses("slow", 1, within(20)), Err(AskFailure::TimedOut)));
        let found = std::thread::scope(|scope| {
            let next = scope.spawn(|| lookups.addresses("slow", 1, within(60_000)));
            let waiting = || lookups.running.lock().unwrap().values().map(Vec::len).sum::<usize>();
            while waiting() < 2 {
                std::thread::sleep(Duration::from_millis(1));
            }
            MAY_END.store(true, Ordering::SeqCst);
            next.join().unwrap().unwrap()
        });
        assert_eq!((found.len(), LOOKED.load(Ordering::SeqCst)), (1, 1), "the same one");
        let failure = lookups.addresses("absent", 1, within(60_000)).unwrap_err();
        assert!(failure.to_string().contains("no such name"), "{failure}");
        assert_eq!(lookups.addresses("::1", 443, within(0)).unwrap(), ["[::1]:443".parse().unwrap()]);
        assert!(lookups.running.lock().unwrap().is_empty());
    }
}
