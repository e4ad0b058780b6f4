//! What is counted for each site and each rule.
//!
//! Each worker counts in a table of its own, made anew with each generation; a site or a rule that stays goes on with
//! its counts. The numbers of series are bounded: what is past them is counted together under [`OTHER`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Counter, Histogram};

/// Sites with series of their own: the first ones of the configuration.
pub const SITES_MAX: usize = 1_000;
/// Rules with series of their own, over all sites.
pub const RULES_MAX: usize = 2_000;
/// The name of all that have none.
pub const OTHER: &str = "(other)";
/// The rule of requests that none matched.
pub const NO_RULE: &str = "(none)";

/// Classes of statuses, as labels have them; the first: nothing was answered.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// 0: nothing was answered.
    pub status: u16,
    pub duration_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Default)]
pub struct SiteCounters {
    /// By class of status.
    pub requests: [Counter; CLASSES.len()],
    pub durations: Histogram,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

#[derive(Default)]
pub struct RuleCounters {
    pub requests: [Counter; CLASSES.len()],
    pub duration_us: Counter,
}

pub struct SiteSeries {
    pub name: String,
    pub counters: Arc<SiteCounters>,
    /// Each name once.
    pub rules: Vec<(String, Arc<RuleCounters>)>,
    // Of each rule, by its number: where it is in `rules`.
    places: Vec<u32>,
    no_rule: Arc<RuleCounters>,
}

/// The series of one worker in one generation.
#[derive(Default)]
pub struct Table {
    /// Each name once; `OTHER` among them when there is one.
    pub sites: Vec<Arc<SiteSeries>>,
    // Of each site, by its number: where it is in `sites`.
    places: Vec<u32>,
}

impl Table {
    /// For sites and their rules in the order of their numbers; `before`: the table whose counts go on.
    pub fn build<'a, R: Iterator<Item = &'a str>>(
        sites: impl Iterator<Item = (&'a str, R)>,
        before: &Table,
    ) -> Table {
        let known: HashMap<&str, &Arc<SiteSeries>> =
            before.sites.iter().map(|site| (site.name.as_str(), site)).collect();
        let mut table = Table::default();
        let mut rules_left = RULES_MAX;
        for (name, rules) in sites {
            if table.sites.len() < SITES_MAX {
                table.places.push(table.sites.len() as u32);
                let site = SiteSeries::build(name, rules, known.get(name).copied(), &mut rules_left);
                table.sites.push(Arc::new(site));
            } else {
                table.places.push(SITES_MAX as u32);
                if table.sites.len() == SITES_MAX {
                    let other = known.get(OTHER).copied();
                    let other = SiteSeries::build(OTHER, std::iter::empty(), other, &mut rules_left);
                    table.sites.push(Arc::new(other));
                }
            }
        }
        table
    }

    /// Counts octets of a request that was counted before.
    pub fn add_bytes(&self, site: usize, bytes_in: u64, bytes_out: u64) {
        if let Some(series) = self.site(site) {
            series.counters.bytes_in.add(bytes_in);
            series.counters.bytes_out.add(bytes_out);
        }
    }

    fn site(&self, site: usize) -> Option<&SiteSeries> {
        let place = *self.places.get(site)?;
        self.sites.get(place as usize).map(|series| &**series)
    }

    /// Counts a request. `site` and `rule`: their numbers.
    pub fn count(&self, site: usize, rule: Option<usize>, ended: &Ended) {
        let Some(series) = self.site(site) else {
            return;
        };
        let class = class(ended.status);
        let counters = &series.counters;
        counters.requests[class].add(1);
        counters.durations.observe(ended.duration_us);
        counters.bytes_in.add(ended.bytes_in);
        counters.bytes_out.add(ended.bytes_out);
        let rule = series.rule(rule);
        rule.requests[class].add(1);
        rule.duration_us.add(ended.duration_us);
    }
}

impl SiteSeries {
    fn build<'a>(
        name: &str,
        rules: impl Iterator<Item = &'a str>,
        before: Option<&Arc<SiteSeries>>,
        rules_left: &mut usize,
    ) -> SiteSeries {
        let known: HashMap<&str, &Arc<RuleCounters>> = before
            .map(|before| before.rules.iter().map(|(name, rule)| (name.as_str(), rule)).collect())
            .unwrap_or_default();
        let kept = |name: &str| known.get(name).map_or_else(Arc::default, |rule| Arc::clone(rule));
        let no_rule = kept(NO_RULE);
        let mut series = SiteSeries {
            name: name.to_owned(),
            counters: before.map_or_else(Arc::default, |before| before.counters.clone()),
            rules: vec![(NO_RULE.to_owned(), no_rule.clone())],
            places: Vec::new(),
            no_rule,
        };
        let mut named: HashMap<&str, u32> = HashMap::new();
        for rule in rules {
            let place = named.get(rule).copied().unwrap_or_else(|| {
                // Rules past the bound have one name.
                let name = if *rules_left > 0 { rule } else { OTHER };
                *rules_left = rules_left.saturating_sub(1);
                let place = named.get(name).copied().unwrap_or(series.rules.len() as u32);
                if place as usize == series.rules.len() {
                    series.rules.push((name.to_owned(), kept(name)));
                }
                named.insert(name, place);
                place
            });
            series.places.push(place);
        }
        series
    }

    fn rule(&self, rule: Option<usize>) -> &RuleCounters {
        let place = rule.and_then(|rule| self.places.get(rule));
        place.and_then(|place| self.rules.get(*place as usize)).map_or(&self.no_rule, |(_, rule)| rule)
    }
}

fn class(status: u16) -> usize {
    usize::from(status / 100).min(CLASSES.len() - 1)
}

/// The table of one worker, for those who read it. Locked when a generation is installed and when somebody reads,
/// never for a request.
#[derive(Default)]
pub struct Tables(Mutex<Arc<Table>>);

impl Tables {
    pub fn set(&self, table: Arc<Table>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = table;
    }

    pub fn get(&self) -> Arc<Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(sites: &[(&str, &[&str])], before: &Table) -> Table {
        Table::build(sites.iter().map(|(name, rules)| (*name, rules.iter().copied())), before)
    }

    fn ended(status: u16) -> Ended {
        Ended { status, duration_us: 300, bytes_in: 1, bytes_out: 2 }
    }

    #[test]
    fn what_stays_goes_on_with_its_counts() {
        let first = build(&[("a", &["x", "y", "x"]), ("b", &[])], &Table::default());
        for (site, rule, status) in
            [(0, Some(0), 200), (0, Some(2), 404), (0, None, 503), (1, Some(7), 0), (9, None, 200)]
        {
            first.count(site, rule, &ended(status));
        }
        let names: Vec<&str> = first.sites[0].rules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [NO_RULE, "x", "y"]);
        let second = build(&[("c", &[]), ("a", &["y", "x"])], &first);
        second.count(1, Some(1), &ended(200));
        let a = &second.sites[1];
        let of = |counters: &[Counter; 6]| counters.each_ref().map(Counter::value);
        assert_eq!(of(&a.counters.requests), [0, 0, 2, 0, 1, 1]);
        assert_eq!(of(&a.rules[2].1.requests), [0, 0, 2, 0, 1, 0]);
        assert_eq!(a.rules[2].1.duration_us.value(), 900);
        assert_eq!(of(&a.rules[0].1.requests), [0, 0, 0, 0, 0, 1]);
        assert_eq!((a.counters.bytes_in.value(), a.counters.bytes_out.value()), (4, 8));
    }

    #[test]
    fn series_are_bounded() {
        let names: Vec<String> = (0..SITES_MAX + 5).map(|number| format!("site {number}")).collect();
        let rules = ["a", "b", "c"];
        let sites = || names.iter().map(|name| (name.as_str(), rules.iter().copied()));
        let table = Table::build(sites(), &Table::default());
        assert_eq!(table.sites.len(), SITES_MAX + 1);
        assert_eq!(table.sites[SITES_MAX].name, OTHER);
        let own = |table: &Table| {
            let all = table.sites.iter().flat_map(|site| &site.rules);
            all.filter(|(name, _)| name != OTHER && name != NO_RULE).count()
        };
        assert_eq!(own(&table), RULES_MAX);
        table.count(SITES_MAX + 3, Some(1), &ended(200));
        let again = Table::build(sites(), &table);
        again.count(SITES_MAX + 4, None, &ended(200));
        assert_eq!(again.sites[SITES_MAX].counters.requests[2].value(), 2);
    }
}
