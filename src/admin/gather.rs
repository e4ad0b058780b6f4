//! What all workers counted, added up.

use std::collections::{BTreeMap, HashMap};

use super::view::View;
use crate::metrics::series::CLASSES;
use crate::metrics::{Counter, Durations, Shape};

pub(super) struct Gathered {
    /// Name, shape, meaning and sum of each plain counter.
    pub(super) totals: Vec<(&'static str, Shape, &'static str, u64)>,
    /// In the order of the configuration.
    pub(super) sites: Vec<SiteSum>,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) handshakes_full: Durations,
    pub(super) handshakes_resumed: Durations,
    pub(super) handshake_failures: BTreeMap<String, u64>,
    pub(super) connect: Durations,
    pub(super) first_byte: Durations,
}

#[derive(Default)]
pub(super) struct SiteSum {
    pub(super) name: String,
    pub(super) requests: [u64; CLASSES.len()],
    pub(super) durations: Durations,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) rules: Vec<RuleSum>,
}

#[derive(Default)]
pub(super) struct RuleSum {
    pub(super) name: String,
    pub(super) requests: [u64; CLASSES.len()],
    pub(super) duration_us: u64,
}

impl Gathered {
    pub(super) fn of(view: &View) -> Gathered {
        let mut all = Gathered {
            totals: Vec::new(),
            sites: Vec::new(),
            failures: BTreeMap::new(),
            handshakes_full: Durations::default(),
            handshakes_resumed: Durations::default(),
            handshake_failures: BTreeMap::new(),
            connect: Durations::default(),
            first_byte: Durations::default(),
        };
        let mut places: HashMap<String, (usize, HashMap<String, usize>)> = HashMap::new();
        for worker in &view.workers {
            for (position, (name, help, value)) in worker.each().enumerate() {
                let shape = Shape::of(name);
                match all.totals.get_mut(position) {
                    // Each worker tells the same number.
                    Some(total) if shape == Shape::Same => total.3 = total.3.min(value),
                    Some(total) => total.3 += value,
                    None => all.totals.push((name, shape, help, value)),
                }
            }
            let timings = &worker.timings;
            all.handshakes_full.add(&timings.handshakes_full);
            all.handshakes_resumed.add(&timings.handshakes_resumed);
            all.connect.add(&timings.upstream_connect);
            all.first_byte.add(&timings.upstream_first_byte);
            worker.failures.add_to(&mut all.failures);
            worker.handshake_failures.add_to(&mut all.handshake_failures);
            for series in &worker.tables.get().sites {
                let (place, rules) = places.entry(series.name.clone()).or_insert_with(|| {
                    all.sites.push(SiteSum { name: series.name.clone(), ..SiteSum::default() });
                    (all.sites.len() - 1, HashMap::new())
                });
                let site = &mut all.sites[*place];
                add(&mut site.requests, &series.counters.requests);
                site.durations.add(&series.counters.durations);
                site.bytes_in += series.counters.bytes_in.value();
                site.bytes_out += series.counters.bytes_out.value();
                for (name, counters) in &series.rules {
                    let place = *rules.entry(name.clone()).or_insert_with(|| {
                        site.rules.push(RuleSum { name: name.clone(), ..RuleSum::default() });
                        site.rules.len() - 1
                    });
                    let rule = &mut site.rules[place];
                    add(&mut rule.requests, &counters.requests);
                    rule.duration_us += counters.duration_us.value();
                }
            }
        }
        all
    }
}

fn add(sums: &mut [u64; CLASSES.len()], counters: &[Counter; CLASSES.len()]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.value();
    }
}
