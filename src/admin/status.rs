//! `/status`: what the status page, `top` and `status` show, as one JSON object.
//!
//! Counters are told as they are, since the process began; who shows rates asks twice and subtracts.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::certificates;
use super::gather::{Gathered, SiteSum};
use super::process::Process;
use super::view::{View, unix_now};
use crate::certs::Keeper;
use crate::config::Choice as _;
use crate::config::Generation;
use crate::metrics::series::CLASSES;
use crate::metrics::{BOUNDS_US, Durations};
use crate::tls::{CertificateSet, ServedCertificate, Sessions};

pub(super) fn of(view: &View) -> Value {
    let gathered = Gathered::of(view);
    let process = Process::read();
    let seen = view.seen();
    let generation = seen.generation.clone();
    let totals: Map<String, Value> =
        gathered.totals.iter().map(|(name, _, _, value)| ((*name).to_owned(), (*value).into())).collect();
    let listeners: Vec<Value> = seen
        .listeners
        .iter()
        .map(|(scheme, address)| json!({ "scheme": scheme.as_str(), "address": address.to_string() }))
        .collect();
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "phase": seen.phase.word(),
        "time": unix_now(),
        "started": view.started,
        "workers": view.workers.len(),
        "listeners": listeners,
        "generation": {
            "number": generation.number,
            "since": seen.since,
            "outdated": seen.outdated,
            "file": generation.config.file.display().to_string(),
        },
        "reloads": {
            "succeeded": seen.reloads.succeeded,
            "failed": seen.reloads.failed,
            "last_failure": seen.reloads.last_failure,
        },
        "totals": totals,
        "bounds_us": BOUNDS_US,
        "failures": gathered.failures,
        "handshakes": {
            "full": durations(&gathered.handshakes_full),
            "resumed": durations(&gathered.handshakes_resumed),
            "failures": gathered.handshake_failures,
        },
        "upstream": {
            "connect": durations(&gathered.connect),
            "first_byte": durations(&gathered.first_byte),
        },
        "access_log_lines_lost": (view.lines_lost)(),
        "process": {
            "cpu_seconds": process.cpu_seconds,
            "resident_bytes": process.resident_bytes,
            "descriptors": process.descriptors,
            "descriptors_max": process.descriptors_max,
        },
    });
    drop(seen);
    status["session_cache"] = session_cache(&generation);
    status["sites"] = gathered.sites.iter().map(|site| self::site(site, &generation)).collect();
    status["orders"] = (view.orders)().map_or(Value::Null, |orders| orders.to_json());
    status["certificate_cache"] = certificate_cache(&view.keeper);
    status["certificates"] = certificates(view, &generation)
        .into_iter()
        .map(|told| {
            json!({
                "site": told.site,
                "name": told.name,
                "names": told.names,
                "key": told.key,
                "source": told.source,
                "not_after": told.not_after,
            })
        })
        .collect();
    status
}

fn site(site: &SiteSum, generation: &Generation) -> Value {
    let rules: Vec<Value> = site
        .rules
        .iter()
        .filter(|rule| rule.requests.iter().any(|count| *count > 0))
        .map(|rule| {
            json!({ "name": rule.name, "requests": classes(&rule.requests), "duration_us": rule.duration_us })
        })
        .collect();
    let hosts: Vec<String> = generation
        .config
        .sites
        .iter()
        .filter(|written| written.name == site.name)
        .flat_map(|written| written.hosts.iter().map(|host| host.pattern.to_string()))
        .collect();
    json!({
        "name": site.name,
        "hosts": hosts,
        "requests": classes(&site.requests),
        "durations": durations(&site.durations),
        "bytes_in": site.bytes_in,
        "bytes_out": site.bytes_out,
        "rules": rules,
    })
}

fn classes(requests: &[u64; CLASSES.len()]) -> Value {
    CLASSES.iter().zip(requests).map(|(class, count)| ((*class).to_owned(), Value::from(*count))).collect()
}

fn durations(durations: &Durations) -> Value {
    json!({ "count": durations.count(), "sum_us": durations.sum_us, "buckets": durations.buckets })
}

fn session_cache(generation: &Generation) -> Value {
    let settings = &generation.config.session_cache;
    let mut told = json!({ "mode": settings.mode.word(), "lifetime_seconds": settings.lifetime.as_secs() });
    if let Sessions::Cache { cache, .. } = &generation.sessions {
        let statistics = cache.statistics();
        told["size_max"] = settings.size.into();
        told["size"] = statistics.size.into();
        told["bytes"] = statistics.bytes.into();
        told["hits"] = statistics.hits.into();
        told["misses"] = statistics.misses.into();
        told["evictions"] = statistics.evictions.into();
        told["expiries"] = statistics.expiries.into();
    }
    told
}

fn certificate_cache(keeper: &Keeper) -> Value {
    let statistics = keeper.cache().statistics();
    let (questions, changes) = (keeper.questions(), &keeper.counters);
    json!({
        "size": statistics.size,
        "size_max": keeper.cache().size_max(),
        "hits": statistics.hits,
        "misses": statistics.misses,
        "evictions": statistics.evictions,
        "asked": questions.asked.load(Ordering::Relaxed),
        "failed": questions.failed.all(),
        "over_budget": questions.over_budget.load(Ordering::Relaxed),
        "changes_taken_up": changes.taken_up.load(Ordering::Relaxed),
        "changes_refused": changes.refused.all(),
    })
}

/// One certificate that is served.
pub(super) struct Certificate {
    pub(super) site: String,
    /// What a source was asked for; `None`: it is for the whole site.
    pub(super) name: Option<String>,
    pub(super) names: Vec<String>,
    pub(super) key: &'static str,
    pub(super) source: &'static str,
    /// Unix time.
    pub(super) not_after: i64,
}

/// Those of the sites, then those of names that sources were asked for.
pub(super) fn certificates(view: &View, generation: &Generation) -> Vec<Certificate> {
    let told = |site: &str, name: Option<&str>, set: &CertificateSet| -> Vec<Certificate> {
        let one = |certificate: &ServedCertificate| Certificate {
            site: site.to_owned(),
            name: name.map(str::to_owned),
            names: certificate.names().display().collect(),
            key: certificate.key_kind().word(),
            source: certificate.source().word(),
            not_after: certificate.not_after(),
        };
        set.certificates().iter().map(one).collect()
    };
    let of_sites = generation.sites.iter().flat_map(|(id, site)| {
        let tls = generation.site_tls(id);
        let served = tls.into_iter().flat_map(|tls| tls.of_the_site());
        served.flat_map(|served| told(site.name(), None, &served.certificates)).collect::<Vec<_>>()
    });
    let asked = certificates::asked(&view.keeper, generation, certificates::TOLD_MAX);
    let of_names = asked.iter().flat_map(|name| {
        let served = name.served.iter();
        served.flat_map(|served| told(&name.site, Some(&name.name), &served.certificates)).collect::<Vec<_>>()
    });
    of_sites.chain(of_names).collect()
}
