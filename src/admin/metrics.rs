//! `/metrics`: the text Prometheus reads.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use super::gather::Gathered;
use super::orders::Orders;
use super::process::Process;
use super::status;
use super::view::{Phase, View};
use crate::certs::ReasonCounts;
use crate::config::Generation;
use crate::metrics::exposition::seconds;
use crate::metrics::series::{CLASSES, NO_RULE};
use crate::metrics::{Exposition, Family, Kind, Shape, families as f};
use crate::tls::Sessions;

pub(super) fn of(view: &View) -> String {
    let mut text = Text(Exposition::default());
    let gathered = Gathered::of(view);
    let (generation, phase, since, outdated, reloads) = {
        let seen = view.seen();
        (seen.generation.clone(), seen.phase, seen.since, seen.outdated, seen.reloads.clone())
    };
    text.one(&f::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    text.one(&f::WORKERS, &[], view.workers.len() as f64);
    text.one(&f::DRAINING, &[], f64::from(u8::from(phase == Phase::Draining)));
    text.one(&f::GENERATIONS, &[], 1.0 + outdated as f64);
    text.family(&f::RELOADS);
    text.sample(&f::RELOADS, &["ok"], reloads.succeeded as f64);
    text.sample(&f::RELOADS, &["failed"], reloads.failed as f64);
    text.one(&f::RELOADED, &[], f64::from(u8::from(reloads.last_failure.is_none())));
    text.one(&f::RELOAD_TIME, &[], since);
    for (name, shape, help, value) in &gathered.totals {
        let name = shape.name(name);
        let kind = if *shape == Shape::Counter { Kind::Counter } else { Kind::Gauge };
        text.0.family(&name, kind, help);
        text.0.sample(&name, &[], *value as f64);
    }
    text.family(&f::FAILURES);
    for (reason, count) in &gathered.failures {
        text.sample(&f::FAILURES, &[reason], *count as f64);
    }
    sites(&mut text, &gathered);
    text.family(&f::HANDSHAKES);
    text.histogram(&f::HANDSHAKES, &["full"], &gathered.handshakes_full);
    text.histogram(&f::HANDSHAKES, &["resumed"], &gathered.handshakes_resumed);
    text.family(&f::HANDSHAKE_FAILURES);
    for (reason, count) in &gathered.handshake_failures {
        text.sample(&f::HANDSHAKE_FAILURES, &[reason], *count as f64);
    }
    text.family(&f::CONNECT);
    text.histogram(&f::CONNECT, &[], &gathered.connect);
    text.family(&f::FIRST_BYTE);
    text.histogram(&f::FIRST_BYTE, &[], &gathered.first_byte);
    lookups(&mut text, &generation);
    if let Sessions::Cache { cache, .. } = &generation.sessions {
        let statistics = cache.statistics();
        text.one(&f::SESSIONS, &[], statistics.size as f64);
        text.one(&f::SESSIONS_MAX, &[], generation.config.session_cache.size as f64);
        text.one(&f::SESSION_BYTES, &[], statistics.bytes as f64);
        text.one(&f::SESSION_HITS, &[], statistics.hits as f64);
        text.one(&f::SESSION_MISSES, &[], statistics.misses as f64);
        text.one(&f::SESSION_EVICTIONS, &[], statistics.evictions as f64);
        text.one(&f::SESSION_EXPIRIES, &[], statistics.expiries as f64);
    }
    certificates(&mut text, view, &generation);
    orders(&mut text, &(view.orders)().unwrap_or_default());
    text.one(&f::LOG_LOST, &[], (view.lines_lost)() as f64);
    let process = Process::read();
    text.one(&f::PROCESS_CPU, &[], process.cpu_seconds);
    text.one(&f::PROCESS_MEMORY, &[], process.resident_bytes as f64);
    text.one(&f::PROCESS_VIRTUAL, &[], process.virtual_bytes as f64);
    text.one(&f::PROCESS_FDS, &[], process.descriptors as f64);
    text.one(&f::PROCESS_FDS_MAX, &[], process.descriptors_max as f64);
    text.one(&f::PROCESS_START, &[], view.started);
    text.0.into_text()
}

fn lookups(text: &mut Text, generation: &Generation) {
    // One server may be there twice, spoken to in two ways.
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for endpoint in generation.endpoints.iter().filter(|endpoint| endpoint.key.is_named()) {
        let (found, failed) = endpoint.state.lookups();
        let sum = sums.entry(endpoint.to_string()).or_default();
        *sum = (sum.0 + found, sum.1 + failed);
    }
    text.family(&f::LOOKUPS);
    for (upstream, (found, failed)) in &sums {
        text.sample(&f::LOOKUPS, &[upstream, "ok"], *found as f64);
        text.sample(&f::LOOKUPS, &[upstream, "failed"], *failed as f64);
    }
}

fn orders(text: &mut Text, orders: &Orders) {
    text.family(&f::ORDERS);
    for (result, count) in &orders.results {
        text.sample(&f::ORDERS, &[result], *count as f64);
    }
    text.family(&f::ORDER_NEXT);
    // Names on demand have no series of their own: there may be thousands.
    let sites = || orders.sites.iter().filter(|site| !site.site.contains('@'));
    for site in sites() {
        text.sample(&f::ORDER_NEXT, &[&site.site], site.next as f64);
    }
    text.family(&f::ORDER_FAILED);
    for site in sites() {
        text.sample(&f::ORDER_FAILED, &[&site.site], f64::from(u8::from(site.last_error.is_some())));
    }
    text.family(&f::STORE_UP);
    if let Some(store) = &orders.store {
        text.sample(&f::STORE_UP, &[], f64::from(u8::from(store.is_up)));
    }
    text.family(&f::STORE_FAILURES);
    for (reason, count) in orders.store.iter().flat_map(|store| &store.failures) {
        text.sample(&f::STORE_FAILURES, &[reason], *count as f64);
    }
}

fn certificates(text: &mut Text, view: &View, generation: &Generation) {
    text.family(&f::CERTIFICATE_END);
    // Sources of one kind, apart from each other, may have certificates that look alike.
    let mut told = HashSet::new();
    for certificate in status::certificates(view, generation) {
        let name = certificate.name.as_ref().or(certificate.names.first()).cloned().unwrap_or_default();
        let status::Certificate { site, key, source, not_after, .. } = certificate;
        if told.insert((site.clone(), name.clone(), key, source)) {
            text.sample(&f::CERTIFICATE_END, &[&site, &name, key, source], not_after as f64);
        }
    }
    let keeper = &view.keeper;
    text.one(&f::CERTIFICATES_TAKEN_UP, &[], keeper.counters.taken_up.load(Ordering::Relaxed) as f64);
    text.reasons(&f::CERTIFICATES_REFUSED, &keeper.counters.refused);
    let questions = keeper.questions();
    text.one(&f::QUESTIONS, &[], questions.asked.load(Ordering::Relaxed) as f64);
    text.reasons(&f::QUESTIONS_FAILED, &questions.failed);
    text.one(&f::QUESTIONS_REFUSED, &[], questions.over_budget.load(Ordering::Relaxed) as f64);
    let names = keeper.cache().statistics();
    text.one(&f::NAMES, &[], names.size as f64);
    text.one(&f::NAMES_MAX, &[], keeper.cache().size_max() as f64);
    text.one(&f::NAME_HITS, &[], names.hits as f64);
    text.one(&f::NAME_MISSES, &[], names.misses as f64);
    text.one(&f::NAME_EVICTIONS, &[], names.evictions as f64);
}

fn sites(text: &mut Text, gathered: &Gathered) {
    text.family(&f::SITE_REQUESTS);
    for site in &gathered.sites {
        for (class, count) in CLASSES.iter().zip(site.requests) {
            text.sample(&f::SITE_REQUESTS, &[&site.name, class], count as f64);
        }
    }
    text.family(&f::SITE_DURATION);
    for site in &gathered.sites {
        text.histogram(&f::SITE_DURATION, &[&site.name], &site.durations);
    }
    text.family(&f::SITE_RECEIVED);
    for site in &gathered.sites {
        text.sample(&f::SITE_RECEIVED, &[&site.name], site.bytes_in as f64);
    }
    text.family(&f::SITE_SENT);
    for site in &gathered.sites {
        text.sample(&f::SITE_SENT, &[&site.name], site.bytes_out as f64);
    }
    let rules = || gathered.sites.iter().flat_map(|site| site.rules.iter().map(|rule| (&site.name, rule)));
    // A site without rules has its own numbers.
    let told = |(site, rule): &(&String, &super::gather::RuleSum)| {
        let only = gathered.sites.iter().any(|sum| sum.name == **site && sum.rules.len() == 1);
        !(only && rule.name == NO_RULE)
    };
    text.family(&f::RULE_REQUESTS);
    for (site, rule) in rules().filter(told) {
        for (class, count) in CLASSES.iter().zip(rule.requests) {
            // Classes a rule never had would be most of the text.
            if count > 0 {
                text.sample(&f::RULE_REQUESTS, &[site, &rule.name, class], count as f64);
            }
        }
    }
    text.family(&f::RULE_DURATION);
    for (site, rule) in rules().filter(told) {
        let labels = [("site", site.as_str()), ("rule", rule.name.as_str())];
        let count: u64 = rule.requests.iter().sum();
        text.0.sample(&format!("{}_sum", f::RULE_DURATION.name), &labels, seconds(rule.duration_us));
        text.0.sample(&format!("{}_count", f::RULE_DURATION.name), &labels, count as f64);
    }
}

/// Writes samples of families, whose labels it knows.
struct Text(Exposition);

impl Text {
    fn family(&mut self, family: &Family) {
        self.0.family(family.name, family.kind, family.help);
    }

    fn one(&mut self, family: &Family, labels: &[&str], value: f64) {
        self.family(family);
        self.sample(family, labels, value);
    }

    fn sample(&mut self, family: &Family, labels: &[&str], value: f64) {
        self.0.sample(family.name, &labelled(family, labels), value);
    }

    fn reasons(&mut self, family: &Family, counts: &ReasonCounts) {
        self.family(family);
        for (reason, count) in counts.all() {
            self.sample(family, &[reason], count as f64);
        }
    }

    fn histogram(&mut self, family: &Family, labels: &[&str], durations: &crate::metrics::Durations) {
        self.0.histogram(family.name, &labelled(family, labels), durations);
    }
}

fn labelled<'a>(family: &Family, values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    family.labels.iter().copied().zip(values.iter().copied()).collect()
}
