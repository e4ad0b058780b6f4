//! Connections to site servers: made, kept while idle, used again.
//!
//! One pool for each worker. A connection is used again only when its last exchange ended where its
//! framing said and nothing came behind it; a byte that arrived while it was idle, or its end, closes it.
//!
//! Never here: what is sent. `proxy` writes requests and reads responses.

mod connect;
mod pool;

pub use connect::ConnectFailure;
pub use pool::{Connection, Pool, PoolLimits, Upstreams, Wanted};
