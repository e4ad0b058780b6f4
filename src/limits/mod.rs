//! Room: how much one client address may ask of us at a time: connections, and requests a second; and how slow a client may
//! be ([`Pace`]).
//!
//! One client's connections are spread over the workers by the kernel, so that a limit kept by each worker would be
//! more or less than what was written, as chance has it. So both tables are shared by all workers, and locked by
//! none: a limit costs one compare-and-swap on a line of memory that only this address and those beside it use.
//!
//! ```text
//! connections   sets of 8 words:    tag of the address (48 bits) | connections open (16 bits)
//! requests      sets of 8 slots:    tag of the address | when it has paid for what it asked (GCRA, ITU-T I.371)
//! ```
//!
//! Both are bounded and made when first needed, 1 MiB and 2 MiB. Hashes are seeded: nobody chooses his neighbours. An
//! IPv6 client is its /64: one machine has that many addresses for the asking.
//!
//! How exact that is: the counts hold over all workers. Two exceptions let more through, never less: an address whose
//! set is full of other addresses with open connections is not counted (65,536 open addresses must meet before that is
//! likely), and of requests the address that owes least is forgotten when its set is full.
//!
//! Core: the time is an argument. Set aside: a table with a lock for each shard, which a flood from one address would
//! make all workers wait for.

mod connections;
mod pace;
mod requests;

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use foldhash::quality::RandomState;

use connections::Connections;
pub use connections::Counted;
pub use pace::Pace;
pub use requests::Rate;
use requests::Requests;

/// Places an address may be in: it is looked for in all of them.
const WAYS: usize = 8;

/// The tables of the process.
pub struct AddressLimits {
    seed: RandomState,
    began: Instant,
    connections: Connections,
    requests: Requests,
}

impl AddressLimits {
    /// `began`: no later than any time given later.
    pub fn new(began: Instant) -> AddressLimits {
        AddressLimits {
            seed: RandomState::default(),
            began,
            connections: Connections::default(),
            requests: Requests::default(),
        }
    }

    /// Counts one more connection of `address` for as long as the guard lives; `None`: it has `most` open.
    pub fn connect(self: &Arc<Self>, address: IpAddr, most: u16) -> Option<Counted> {
        Connections::enter(self, self.hash(address), most)
    }

    /// Counts one more request of `address`.
    ///
    /// # Errors
    /// Seconds to wait, at least one: it asks more than `rate` allows.
    pub fn request(&self, address: IpAddr, rate: Rate, now: Instant) -> Result<(), u32> {
        let now = now.saturating_duration_since(self.began).as_nanos() as u64;
        self.requests.admit(self.hash(address), rate, now)
    }

    fn hash(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.seed.hash_one(v4.octets()),
            IpAddr::V6(v6) => self.seed.hash_one(&v6.segments()[..4]),
        }
    }
}

/// Where the set of a hash begins in a table of so many places, and what tells it from others there; never 0.
fn place(hash: u64, places: usize) -> (usize, u64) {
    let set = (hash as usize) % (places / WAYS) * WAYS;
    // Other bits than those that chose the set.
    (set, (hash >> 16) | 1)
}
