//! `/certificates`: what every site is served with, by which source, and what sources said of names.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::view::{View, unix_now};
use crate::certs::{Keeper, SiteStanding, Standing};
use crate::config::Generation;
use crate::tls::{CachedName, CertificateSet, ServedCertificate};

/// Names of the certificate cache that are listed.
const LISTED_MAX: usize = 10_000;
/// In `/status` and `/metrics`, which are asked for all the time.
pub(super) const TOLD_MAX: usize = 1_000;

/// One object for each certificate, and for each source or name without one.
pub(super) fn of(view: &View) -> Value {
    let generation = view.seen().generation.clone();
    let keeper = &view.keeper;
    let kept: HashMap<String, SiteStanding> =
        keeper.sites().iter().map(|site| site.standing()).map(|site| (site.site.clone(), site)).collect();
    let mut names: HashMap<String, Vec<CachedName>> = HashMap::new();
    for name in asked(keeper, &generation, LISTED_MAX) {
        names.entry(name.site.to_string()).or_default().push(name);
    }
    let orders = (view.orders)().unwrap_or_default();
    let mut rows: Vec<Value> = Vec::new();
    for site in &generation.config.sites {
        let site = site.name.as_str();
        let first = rows.len();
        let Some(standing) = kept.get(site) else {
            rows.push(Row::new(site, "", "no HTTPS").to_json());
            continue;
        };
        for source in &standing.sources {
            let refused = |state: &str, otherwise: &str| match &source.trouble {
                Some(trouble) => format!("{state}: {trouble}"),
                None => otherwise.to_owned(),
            };
            match &source.standing {
                Standing::Serves(set) => {
                    let state = refused("served; a change was refused", "served");
                    rows.extend(of_set(set, |of| Row {
                        served: true,
                        of,
                        ..Row::new(site, &source.source, &state)
                    }));
                }
                Standing::PassedOver => {
                    rows.push(Row::new(site, &source.source, &refused("passed over", "has none")).to_json());
                }
                Standing::NotAsked => {
                    rows.push(Row::new(site, &source.source, "after one that answers").to_json())
                }
                Standing::AskedForNames => {
                    rows.push(Row::new(site, &source.source, "asked for each name").to_json())
                }
            }
        }
        let troubles = standing.troubles.iter().map(|trouble| format!("a change was refused: {trouble}"));
        rows.extend(troubles.map(|state| Row::new(site, "client_auth", &state).to_json()));
        for name in names.remove(site).unwrap_or_default() {
            let named = Row { name: Some(&name), ..Row::new(site, name.source, name.state) };
            match &name.served {
                Some(served) => {
                    rows.extend(of_set(&served.certificates, |of| Row { served: true, of, ..named }));
                }
                None => rows.push(named.to_json()),
            }
        }
        // Where it is served or waited for, how far its next certificate is.
        let of_it =
            |row: &&mut Value| row["source"].as_str().is_some_and(|source| source.starts_with("acme"));
        if let Some(order) = orders.sites.iter().find(|order| order.site == site)
            && let Some(row) = rows[first..].iter_mut().find(of_it)
        {
            row["order"] = order.to_json();
        }
    }
    json!({ "time": unix_now(), "certificates": rows })
}

/// Names that sources were asked for, of sites that are served now; each once.
pub(super) fn asked(keeper: &Keeper, generation: &Generation, most: usize) -> Vec<CachedName> {
    let mut names = keeper.cache().names(keeper.moment(), most);
    let sites = generation.config.sites.iter().filter(|site| site.ssl);
    let sites: HashSet<&str> = sites.map(|site| site.name.as_str()).collect();
    names.retain(|name| sites.contains(&*name.site));
    // What was said under an earlier policy of the site lies there until its time is over.
    names.sort_by(|one, other| {
        let key = |name: &CachedName| (name.site.clone(), name.source, name.name.clone());
        key(one).cmp(&key(other)).then(other.asked_in_ms.cmp(&one.asked_in_ms))
    });
    names.dedup_by(|one, kept| one.site == kept.site && one.source == kept.source && one.name == kept.name);
    names
}

#[derive(Clone, Copy, Default)]
struct Row<'a> {
    site: &'a str,
    source: &'a str,
    state: &'a str,
    served: bool,
    of: Option<&'a ServedCertificate>,
    name: Option<&'a CachedName>,
}

fn of_set<'a>(set: &'a CertificateSet, row: impl Fn(Option<&'a ServedCertificate>) -> Row<'a>) -> Vec<Value> {
    set.certificates().iter().map(|one| row(Some(one)).to_json()).collect()
}

impl<'a> Row<'a> {
    fn new(site: &'a str, source: &'a str, state: &'a str) -> Row<'a> {
        Row { site, source, state, ..Row::default() }
    }

    fn to_json(self) -> Value {
        json!({
            "site": self.site,
            "source": self.source,
            "state": self.state,
            "served": self.served,
            "name": self.name.map(|name| &*name.name),
            "asked_again_seconds": self.name.map(|name| name.asked_in_ms.div_ceil(1000)),
            "names": self.of.map(|one| one.names().display().collect::<Vec<_>>()),
            "key": self.of.map(|one| one.key_kind().word()),
            "not_before": self.of.map(ServedCertificate::not_before),
            "not_after": self.of.map(ServedCertificate::not_after),
            "order": null,
        })
    }
}
