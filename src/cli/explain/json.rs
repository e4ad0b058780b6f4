//! An account for programs.

use serde_json::{Map, Value, json};

use super::account::{Account, Listener};
use super::certificate::{self, SourceState};
use super::decider::Decider;
use super::object::ObjectWriter;
use super::words;
use crate::dispatch::{Action, FoundBy, Place};

/// One object. Its `decision` is the object `--batch` prints for the same request, with `reason` beside it.
pub fn json(account: &Account<'_>, decider: &Decider) -> Value {
    let request = account.request;
    let mut object = Map::new();
    object.insert(
        "request".into(),
        json!({
            "method": request.method,
            "scheme": account.scheme.as_str(),
            "host": account.authority,
            "target": request.url.target,
        }),
    );
    object.insert("listener".into(), listener(account));
    if let Some(peer) = &account.peer {
        let (scheme, host) = peer.told.as_ref().map_or((None, None), |told| *told);
        let scheme = scheme.map(|scheme| scheme.as_str());
        let told = json!({
            "address": peer.address.to_string(),
            "trusted": peer.trusted,
            "scheme": scheme,
            "host": host,
        });
        object.insert("peer".into(), placed(told, peer.place));
        if let Err(bad) = peer.told {
            let refused = json!({ "action": "refuse", "status": 400, "reason": bad.reason() });
            object.insert("decision".into(), refused);
            return Value::Object(object);
        }
    }
    if let Some(handshake) = account.handshake {
        let sources: Vec<Value> = handshake.sources.iter().map(source).collect();
        let (site, reason) = match handshake.site {
            Ok(site) => (Some(&site.name), None),
            Err(None) => (None, Some("no-site")),
            Err(Some(site)) => (Some(&site.name), Some("no-https")),
        };
        object.insert(
            "handshake".into(),
            json!({ "name": handshake.name, "site": site, "fails": reason, "certificate": sources }),
        );
    }
    let Some(explanation) = &account.explanation else {
        object.insert("decision".into(), json!({ "action": "refuse", "reason": "unrecognized-name" }));
        return Value::Object(object);
    };
    object.insert("host".into(), json!(explanation.host));
    if let Some(site) = &account.site {
        let by = match site.found.by {
            FoundBy::Exact => "exact",
            FoundBy::Wildcard => "wildcard",
            FoundBy::Fallback => "fallback",
        };
        let entry =
            site.entry.map(|entry| placed(json!({ "host": entry.pattern.to_string() }), Some(&entry.place)));
        let told =
            json!({ "name": site.config.name, "found_by": by, "entry": entry, "alias": site.is_alias });
        object.insert("site".into(), placed(told, Some(&site.config.place)));
    }
    if let Some(wanted) = explanation.wanted {
        object.insert(
            "path".into(),
            json!({ "segments": explanation.segments, "language_cut": explanation.language_cut }),
        );
        object.insert("rules".into(), rules(account));
        object.insert(
            "scheme".into(),
            json!({
                "wanted": wanted.scheme.map(|scheme| scheme.as_str()),
                "by": words::wanted_by(wanted.by),
                "unavailable": wanted.unavailable,
            }),
        );
    }
    let settings = account.settings.iter().map(|setting| {
        let value = json!({ "key": setting.key, "value": setting.value, "default": setting.place.is_none() });
        placed(value, setting.place)
    });
    object.insert("settings".into(), settings.collect());
    object.insert("decision".into(), decision(account, decider));
    if let (Action::Forward, Some(site)) = (&explanation.decision.action, &account.site) {
        for (key, value) in super::servers::json(site.config) {
            object.insert(key.into(), value);
        }
        if let Some(target) = account.normalized() {
            object.insert("forwarded_target".into(), target.into());
        }
    }
    Value::Object(object)
}

/// `value` with `file`, `line` and `column`.
pub(super) fn placed(mut value: Value, place: Option<&Place>) -> Value {
    if let Some(place) = place {
        value["file"] = place.file.to_string_lossy().into();
        value["line"] = place.line.into();
        value["column"] = place.column.into();
    }
    value
}

fn listener(account: &Account<'_>) -> Value {
    let scheme = account.request.url.scheme.as_str();
    let (listener, found) = match &account.listener {
        Listener::Nowhere => return Value::Null,
        Listener::Found { listener, outside: false } => (listener, "port"),
        Listener::Found { listener, outside: true } => (listener, "outside_port"),
        Listener::OtherPort { listener } => (listener, "none"),
    };
    let place = account.written_listen.get(scheme).map(|_| &listener.place);
    let told = json!({ "scheme": scheme, "address": listener.address.to_string(), "found_by": found });
    placed(told, place)
}

fn source(source: &certificate::SourceSeen<'_>) -> Value {
    let (state, answer, why) = match &source.state {
        SourceState::Answers(answer) => ("answers", Some(answer), None),
        SourceState::Beside(answer) => ("beside", Some(answer), None),
        SourceState::OutOfDate(answer) => ("out-of-date", Some(answer), None),
        SourceState::Fails(why) => ("fails", None, Some(why)),
        SourceState::Made => ("made", None, None),
        SourceState::AskedForNames => ("asked-for-names", None, None),
        SourceState::NotAsked => ("not-asked", None, None),
    };
    let certificates: Vec<Value> = answer.map_or_else(Vec::new, |answer| {
        let told = |one: &crate::tls::ServedCertificate| {
            json!({
                "key": one.key_kind().word(),
                "names": one.names().display().collect::<Vec<_>>(),
                "not_before": one.not_before(),
                "not_after": one.not_after(),
            })
        };
        answer.set.certificates().iter().map(told).collect()
    });
    let told = json!({
        "source": certificate::describe(source.source),
        "state": state,
        "problem": why,
        "certificates": certificates,
        "warnings": answer.map_or(&[][..], |answer| &answer.warnings),
    });
    placed(told, Some(source.place))
}

fn rules(account: &Account<'_>) -> Value {
    let (Some(explanation), Some(site)) = (&account.explanation, &account.site) else {
        return Value::Null;
    };
    let told = |tried: &crate::dispatch::RuleTried| {
        let written = site.config.rules().get(tried.rule.index());
        let why = tried.outcome.err().zip(written.as_ref());
        let value = json!({
            "name": tried.name,
            "path": written.as_ref().map(words::path),
            "matches": tried.outcome.is_ok(),
            "reason": why.map(|(why, rule)| words::mismatch(rule, why, &explanation.segments)),
        });
        placed(value, Some(&tried.place))
    };
    explanation.rules.iter().map(told).collect()
}

fn decision(account: &Account<'_>, decider: &Decider) -> Value {
    let Some(explanation) = &account.explanation else { return Value::Null };
    let mut bytes = Vec::new();
    let target = account.request.url.target.as_bytes();
    ObjectWriter::default().write(&decider.sites, &explanation.decision, target, &mut bytes);
    let mut object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let reason = match &explanation.decision.action {
        Action::Redirect(redirect) => Some(redirect.reason.reason()),
        Action::Refuse(refusal) => Some(refusal.reason()),
        Action::NotFound => Some("no-rule"),
        Action::Forward => None,
    };
    if let Some(reason) = reason {
        object["reason"] = reason.into();
    }
    object
}
