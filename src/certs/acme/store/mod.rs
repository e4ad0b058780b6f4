//! The fleet's store: what machines that serve the same sites share, in a Redis or whatever speaks its protocol.
//!
//! ```text
//! portcullis:fleet                       made by the first machine, sealed; another one says that the store was emptied
//! portcullis:account:<digest>            account and key                                                    sealed
//! portcullis:set:<site>:<digest>         hash: version, certificate (the file of the state directory), history    sealed
//! portcullis:order:<site>:<digest>       who orders; gone LEASE after the holder's last sign of life
//! portcullis:challenges                  hash: "http <token>" and "alpn <host>": the answer and its end      sealed
//! portcullis:challenged, :certified      counted up with each change of the above
//! portcullis:machines                    hash: machine: the last `challenged` it has seen, and when, by the store's clock
//! ```
//!
//! A *set* is what one certificate is for: a site, its names and the authorities that may issue. Machines that are told
//! other names, as in the middle of a roll-out, have another set, and do not take each other's certificates away.
//!
//! ```text
//! due ─▶ lease ─▶ is a newer one there? ─▶ order ─▶ answers to the store ─▶ all have seen them ─▶ the CA is told
//!          │              └ taken up                                                                 │
//!          └ held by another: look again                    every LOOK: anything new? ◀─ put, lease given back
//! ```
//!
//! **Looked at, not subscribed to.** Each machine asks once in [`LOOK`] whether a number has changed: one small command.
//! A subscription would be a second connection, and looking is needed anyhow for what was published while it was broken.
//! **Challenges are fetched ahead.** A worker that is asked for one finds it in `tls::challenges` as if it were our own:
//! no wait of a request for the store, and nothing that strangers could make it do. In exchange the machine that orders
//! waits until every machine has said that it has seen them, a second or so in each order.
//! **The newer wins.** A certificate is put only if nobody put one since it was looked at (a version is compared), and
//! the one whose dates are later stays. So a machine that held the lease, slept and woke up harms nothing, nor does a
//! store that was restored or emptied: what machines have is put again.
//!
//! Nothing waits for the store but orders: it is away, and what lies in the state directory is served. Orders wait too,
//! since every machine would order, until the certificate comes near its end: see `tls::renewal::orders_alone`.
//!
//! The client is the crate `redis`, and the bounds are ours: see [`connection`].

mod connection;
mod counts;
mod failure;
mod fleet;
mod follow;
mod seal;

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

pub use counts::StoreCounts;
pub(super) use failure::StoreFailure;
pub(super) use fleet::{Answer, Fleet, Lease, SetId, Turn};
pub(super) use follow::{Heard, Known, follow};

/// How often a machine looks for what is new.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Where the store is, and what its values are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// A name or an address; IPv6 in brackets or not.
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<Zeroizing<String>>,
    pub database: u32,
    pub is_tls: bool,
    /// PEM file of those who may vouch for it; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// What all machines of the fleet have.
    pub secret: Zeroizing<Vec<u8>>,
}

impl StoreSettings {
    /// Where it is, without the password.
    pub(super) fn place(&self) -> String {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        format!("{scheme}://{}:{}/{}", self.host, self.port, self.database)
    }
}
