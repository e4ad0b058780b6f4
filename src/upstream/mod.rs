//! Site servers as a worker knows them: which one is asked, the connections made to it, kept and used again.
//!
//! One pool for each worker. A connection is used again only when its last exchange ended where its
//! framing said and nothing came behind it; a byte that arrived while it was idle, or its end, closes it.
//!
//! What is known of a site server comes from two sides: what this worker met when it asked ([`passive`]), and what the
//! health checks and the resolver found for all workers ([`EndpointState`](crate::config::EndpointState)). Both
//! outlive a reload.
//!
//! Never here: what is sent. `proxy` writes requests and reads responses.

mod balance;
mod connect;
mod passive;
mod pool;

pub use balance::{Balancer, Tried};
pub use connect::ConnectFailure;
pub use passive::{Change, HealthRules};
pub use pool::{Busy, Connection, Pool, PoolLimits, Upstream, Upstreams, Wanted};
