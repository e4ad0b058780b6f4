//! Site servers as a worker knows them: which one is asked, the connections made to it, kept and used again.
//!
//! One pool for each worker. A connection is used again only when its last exchange ended where its
//! framing said and nothing came behind it; a byte that arrived while it was idle, or its end, closes it.
//!
//! What is known of a site server comes from two sides: what this worker met when it asked ([`passive`]), and what the
//! health checks and the resolver found for all workers ([`EndpointState`](crate::config::EndpointState)). Both
//! outlive a reload.
//!
//! HTTP/1.1 has a connection for each exchange, HTTP/2 a stream of a shared one (`http2`); what is spoken with a site
//! server its URL says. An exchange sees a [`Channel`] in both cases.
//!
//! Never here: what is sent. `proxy` writes requests and reads responses; the lines of their heads are turned into the
//! fields of HTTP/2 and back, no more.

mod balance;
mod channel;
mod connect;
mod http2;
mod passive;
mod pool;

pub use balance::{Balancer, Tried};
pub use channel::Channel;
pub use connect::ConnectFailure;
pub use http2::{Broken, Http2Stream};
pub use passive::{Change, HealthRules};
pub use pool::{Busy, Connection, Pool, PoolLimits, Upstream, Upstreams, Wanted};
