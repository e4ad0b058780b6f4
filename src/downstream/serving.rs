//! What a worker serves with until the next reload.

use std::sync::Arc;

use crate::config::Generation;
use crate::http::Limits;
use crate::proxy::ProxyLimits;
use crate::spool::Log;
use crate::upstream::{Pool, PoolLimits, Upstreams};

/// A generation, and what of it is the worker's own. A request holds the one it was decided by to its end.
pub(super) struct Serving {
    pub(super) generation: Arc<Generation>,
    /// The generation's site servers, with this worker's connections to them.
    pub(super) upstreams: Upstreams,
    /// Of request heads.
    pub(super) limits: Limits,
    /// Where lines of its requests go.
    pub(super) log: Option<Log>,
}

impl Serving {
    pub(super) fn new(generation: Arc<Generation>, pool: &Pool) -> Serving {
        let config = &generation.config;
        let limits = Limits {
            head_bytes_max: config.limits.request_head_bytes_max,
            headers_max: config.limits.headers_max,
            target_bytes_max: config.limits.request_head_bytes_max / 2,
        };
        let upstreams = pool.install(&generation.endpoints, pool_limits(&generation));
        let log = generation.access_log.clone().map(Log::new);
        Serving { generation, upstreams, limits, log }
    }
}

pub(super) fn pool_limits(generation: &Generation) -> PoolLimits {
    let config = &generation.config;
    PoolLimits {
        idle_max: config.upstream_pool.idle_per_worker,
        idle_timeout: config.upstream_pool.idle_timeout,
        connect_timeout: config.timeouts.upstream_connect,
    }
}

pub(super) fn proxy_limits(generation: &Generation) -> ProxyLimits {
    let timeouts = &generation.config.timeouts;
    ProxyLimits {
        response: Limits::default(),
        response_head: timeouts.response_head,
        body_idle: timeouts.body_idle,
        tunnel_idle: timeouts.tunnel_idle,
    }
}
