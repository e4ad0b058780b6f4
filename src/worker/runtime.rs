//! The ring a worker runs on: the best set-up this kernel allows.

use std::fmt;
use std::future::Future;
use std::io;

use io_uring::{Builder, IoUring};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

/// Submission entries; a turn of the loop that queues more submits twice.
const ENTRIES: u32 = 1024;

/// How completions reach the worker, best first. Without one of the first two, io_uring interrupts the
/// worker for each completion and is slower than epoll (measured: 10 to 40 % of CPU per request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Linux 6.1: completions are worked off when the worker asks.
    DeferTaskrun,
    /// Linux 5.19: no interrupts between processors.
    CoopTaskrun,
    Plain,
    /// No io_uring here: `kernel.io_uring_disabled`, a container's filter, or no locked memory.
    Epoll,
}

impl Ring {
    pub const LADDER: [Ring; 4] = [Ring::DeferTaskrun, Ring::CoopTaskrun, Ring::Plain, Ring::Epoll];

    pub fn parse(word: &str) -> Option<Ring> {
        Ring::LADDER.into_iter().find(|ring| ring.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            Ring::DeferTaskrun => "defer_taskrun",
            Ring::CoopTaskrun => "coop_taskrun",
            Ring::Plain => "plain",
            Ring::Epoll => "epoll",
        }
    }

    fn builder(self) -> Builder {
        let mut builder = IoUring::builder();
        match self {
            Ring::DeferTaskrun => {
                builder.setup_defer_taskrun().setup_single_issuer().setup_clamp().setup_submit_all();
            }
            Ring::CoopTaskrun => {
                builder.setup_coop_taskrun().setup_single_issuer().setup_clamp().setup_submit_all();
            }
            Ring::Plain | Ring::Epoll => {}
        }
        builder
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Runs `main` to its end on this thread, on the first rung at or below `from` that can be set up.
/// `main` gets the rung and what the rungs above it failed with.
///
/// # Errors
/// When not even epoll can be set up: descriptors or memory ran out.
pub fn run<F: Future>(
    from: Ring,
    main: impl FnOnce(Ring, Vec<(Ring, io::Error)>) -> F,
) -> io::Result<F::Output> {
    let mut failed = Vec::new();
    for ring in Ring::LADDER.into_iter().skip_while(|ring| *ring != from) {
        if ring == Ring::Epoll {
            break;
        }
        let built = RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(ENTRIES)
            .uring_builder(ring.builder())
            .enable_timer()
            .build();
        match built {
            Ok(mut runtime) => return Ok(runtime.block_on(main(ring, failed))),
            Err(error) => failed.push((ring, error)),
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(main(Ring::Epoll, failed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_of_the_ladder_runs_a_timer() {
        for ring in Ring::LADDER {
            let (used, failed) = std::thread::spawn(move || {
                run(ring, |used, failed| async move {
                    monoio::time::sleep(std::time::Duration::from_millis(1)).await;
                    (used, failed.len())
                })
                .unwrap()
            })
            .join()
            .unwrap();
            let position = |r: Ring| Ring::LADDER.iter().position(|l| *l == r).unwrap();
            assert_eq!(position(used) - position(ring), failed);
        }
    }
}
