//! What a worker serves with until the next reload.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::Generation;
use crate::dispatch::SiteId;
use crate::http::Limits;
use crate::metrics::{Table, Tables};
use crate::proxy::ProxyLimits;
use crate::spool::Log;
use crate::upstream::{Balancer, HealthRules, Pool, PoolLimits, Upstreams};

/// A worker's table as its requests hold it: an `Arc` alone would be counted with a locked instruction for each of them.
pub(super) type OwnTable = Rc<Arc<Table>>;

/// A generation, and what of it is the worker's own. A request holds the one it was decided by to its end.
pub(super) struct Serving {
    pub(super) generation: Arc<Generation>,
    /// The generation's site servers, with this worker's connections to them.
    pub(super) upstreams: Upstreams,
    // In the order of `SiteId`.
    balancers: Vec<Balancer>,
    /// Of request heads.
    pub(super) limits: Limits,
    /// Where lines of its requests go.
    pub(super) log: Option<Log>,
    /// Counts its requests by site and rule.
    pub(super) table: OwnTable,
}

impl Serving {
    /// `tables`: where the counts so far are, and where this generation's go.
    pub(super) fn new(generation: Arc<Generation>, pool: &Pool, tables: &Tables) -> Serving {
        let config = &generation.config;
        let limits = Limits {
            head_bytes_max: config.limits.request_head_bytes_max,
            headers_max: config.limits.headers_max,
            target_bytes_max: config.limits.request_head_bytes_max / 2,
        };
        let upstreams = pool.install(&generation.endpoints, pool_limits(&generation));
        let balancers =
            generation.each_site().map(|site| upstreams.balancer(site.balance, &site.upstreams)).collect();
        let log = generation.access_log.clone().map(Log::new);
        let named = generation.sites.iter().map(|(_, site)| (site.name(), site.rules().names()));
        let table = Arc::new(Table::build(named, &tables.get()));
        tables.set(table.clone());
        Serving { generation, upstreams, balancers, limits, log, table: Rc::new(table) }
    }

    /// What chooses among the servers of a site.
    pub(super) fn servers(&self, site: SiteId) -> &Balancer {
        &self.balancers[site.index()]
    }
}

pub(super) fn pool_limits(generation: &Generation) -> PoolLimits {
    let config = &generation.config;
    PoolLimits {
        idle_max: config.upstream_pool.idle_per_worker,
        idle_timeout: config.upstream_pool.idle_timeout,
        connect_timeout: config.timeouts.upstream_connect,
        response_head_bytes_max: config.limits.response_head_bytes_max,
        health: HealthRules {
            eject_after: config.upstream_pool.eject_after,
            ejection: config.upstream_pool.ejection,
            ejection_max: config.upstream_pool.ejection_max,
            slow_start: config.upstream_pool.slow_start,
        },
    }
}

pub(super) fn proxy_limits(generation: &Generation) -> ProxyLimits {
    let (timeouts, limits) = (&generation.config.timeouts, &generation.config.limits);
    ProxyLimits {
        response: Limits {
            head_bytes_max: limits.response_head_bytes_max,
            headers_max: limits.response_headers_max,
            ..Limits::default()
        },
        response_head: timeouts.response_head,
        body_idle: timeouts.body_idle,
        tunnel_idle: timeouts.tunnel_idle,
        retry_percent: generation.config.upstream_pool.retry_percent,
    }
}
