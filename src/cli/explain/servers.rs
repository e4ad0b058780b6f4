//! The servers a request is forwarded to: how one is chosen, how each is spoken to, how it is known to be well.

use serde_json::{Value, json};

use super::json::placed;
use super::words;
use crate::config::{Choice as _, HealthCheck, Site, SiteUpstream, show_duration};

/// Label and text of each row.
pub(super) fn rows(site: &Site) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let weighs = site.upstream.iter().any(|one| one.weight != 1);
    for (index, one) in site.upstream.iter().enumerate() {
        let label = if index == 0 { "upstream" } else { "" };
        let mut told = one.text.clone();
        if weighs {
            told.push_str(&format!(", weight {}", one.weight));
        }
        if let Some(ca) = &one.ca {
            told.push_str(&format!(", ca = {:?}", ca.display().to_string()));
        }
        if let Some(name) = &one.server_name {
            told.push_str(&format!(", server_name = {name:?}"));
        }
        if one.proxy_protocol.is_some() {
            told.push_str(&format!(", proxy_protocol = {:?}", one.header().word()));
        }
        rows.push((label, format!("{told} ({})", words::at(&one.place))));
    }
    if site.upstream.len() > 1 {
        rows.push(("", format!("balance = {:?} ({})", site.balance.word(), place(site, "balance"))));
    }
    match &site.health_check {
        Some(check) => {
            let at = place(site, "health_check");
            rows.push(("", format!("health_check = {} ({at})", written(site, check))));
        }
        None => rows
            .push(("", "no health_check: a server is left out for a while when requests to it fail".into())),
    }
    rows
}

/// As the configuration would write it, defaults filled in.
fn written(site: &Site, check: &HealthCheck) -> String {
    // A site without a first host has the address of each server.
    let host = host(site, check).map(|host| format!(", host = {host:?}")).unwrap_or_default();
    format!(
        "{{ path = {:?}{host}, interval = {:?}, timeout = {:?}, unhealthy_after = {}, healthy_after = {} }}",
        check.path,
        show_duration(check.interval),
        show_duration(check.timeout),
        check.unhealthy_after,
        check.healthy_after
    )
}

/// Who is asked for by a check.
fn host<'a>(site: &'a Site, check: &'a HealthCheck) -> Option<&'a str> {
    check.host.as_deref().or_else(|| site.canonical_host())
}

fn place(site: &Site, key: &str) -> String {
    site.written.get(key).map_or_else(|| "default".to_owned(), words::at)
}

/// `upstream`, `balance` and `health_check`.
pub(super) fn json(site: &Site) -> [(&'static str, Value); 3] {
    let one = |one: &SiteUpstream| {
        let told = json!({
            "address": one.text,
            "weight": one.weight,
            "ca": one.ca.as_ref().map(|path| path.display().to_string()),
            "server_name": one.server_name,
            "proxy_protocol": one.header().word(),
        });
        placed(told, Some(&one.place))
    };
    let balance = site.written.get("balance");
    let balance = placed(json!({ "value": site.balance.word(), "default": balance.is_none() }), balance);
    let check = site.health_check.as_ref().map(|check| {
        let told = json!({
            "path": check.path,
            "host": host(site, check),
            "interval": show_duration(check.interval),
            "timeout": show_duration(check.timeout),
            "unhealthy_after": check.unhealthy_after,
            "healthy_after": check.healthy_after,
        });
        placed(told, site.written.get("health_check"))
    });
    [
        ("upstream", site.upstream.iter().map(one).collect()),
        ("balance", balance),
        ("health_check", check.unwrap_or(Value::Null)),
    ]
}
