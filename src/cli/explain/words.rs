//! What a person reads: rules, mismatches, refusals and reasons in words.

use std::fmt::Write as _;

use crate::dispatch::{
    Element, FoundBy, Mismatch, Place, Redirect, RedirectReason, Refusal, Rule, Ssl, Unmatched, WantedBy,
    written_path,
};
use crate::http::{BadTold, Scheme};

/// `file:line:column`
pub fn at(place: &Place) -> String {
    format!("{}:{}:{}", place.file.display(), place.line, place.column)
}

/// The path of a rule as the configuration writes it.
pub fn path(rule: &Rule) -> String {
    match written_path::write(&rule.path) {
        Some(written_path::Written::Path(path)) => path,
        Some(written_path::Written::Segments(segments)) => format!("{segments:?}"),
        None => format!("{:?}", rule.path),
    }
}

/// Why a rule does not match; elements and segments count from 1. `segments`: as rules read the path.
pub fn mismatch(rule: &Rule, why: Mismatch, segments: &[String]) -> String {
    let segment = |element: usize| segments.get(element).map_or("", String::as_str);
    let element = |element: usize| rule.path.get(element).map(self::element).unwrap_or_default();
    match why {
        Mismatch::TooShort { element: at } => format!("the path ends before {}", element(at)),
        Mismatch::TooLong { segments } => {
            let plural = |count: usize| if count == 1 { "segment" } else { "segments" };
            let elements = rule.path.len();
            format!("the path has {segments} {}, the rule takes {elements}", plural(segments))
        }
        Mismatch::Literal { element: at } => {
            format!("segment {} is \"{}\", not \"{}\"", at + 1, segment(at), element(at))
        }
        Mismatch::Language { element: at } => {
            format!("segment {}, \"{}\", is no language of the site", at + 1, segment(at))
        }
        Mismatch::Pattern { element: at } => {
            format!("segment {}, \"{}\", does not fit {}", at + 1, segment(at), element(at))
        }
    }
}

fn element(element: &Element) -> String {
    match element {
        // As segments are shown.
        Element::Literal(bytes) => bytes.iter().fold(String::new(), |mut text, &byte| {
            match byte {
                b'"' | b'\\' | b'%' => _ = write!(text, "%{byte:02X}"),
                b' '..=b'~' => text.push(char::from(byte)),
                _ => _ = write!(text, "%{byte:02X}"),
            }
            text
        }),
        Element::Variable(name) => format!("{{{name}}}"),
        Element::Pattern { name, pattern } => format!("{{{name}:{pattern}}}"),
        Element::Language => "{z_language}".to_owned(),
        Element::Rest => "*".to_owned(),
    }
}

pub fn ssl(ssl: Ssl) -> &'static str {
    match ssl {
        Ssl::Https => "true",
        Ssl::Http => "false",
        Ssl::Any => "\"any\"",
    }
}

pub fn found_by(by: FoundBy) -> &'static str {
    match by {
        FoundBy::Exact => "exact host",
        FoundBy::Wildcard => "longest wildcard",
        FoundBy::Fallback => "fallback site",
    }
}

/// A word for `WantedBy`, for programs.
pub fn wanted_by(by: WantedBy) -> &'static str {
    match by {
        WantedBy::Rule(_) => "rule",
        WantedBy::IsSsl => "is_ssl",
        WantedBy::IsSecure => "is_secure",
        WantedBy::Neither => "neither",
        WantedBy::NotFound => "not_found",
    }
}

/// What decided the scheme. `rule`: one matched.
pub fn wanted_why(by: WantedBy, rule: bool, unmatched: Unmatched) -> String {
    let none = match (rule, unmatched) {
        (true, _) => "the rule has no ssl of its own",
        (false, Unmatched::Forward) => "no rule matches, which counts as a rule without ssl",
        (false, Unmatched::NotFound) => "no rule matches",
    };
    match by {
        WantedBy::Rule(value) => format!("the rule says ssl = {}", ssl(value)),
        WantedBy::IsSsl => format!("{none}, and the site has is_ssl = true"),
        WantedBy::IsSecure => format!("{none}, and the site has is_secure = true without is_ssl"),
        WantedBy::Neither => format!("{none}, and the site has neither is_secure nor is_ssl"),
        WantedBy::NotFound => format!("{none}, and the site answers not_found itself"),
    }
}

pub fn redirect_why(redirect: &Redirect<'_>, came: Scheme) -> String {
    let (came, wanted) = (came.as_str(), redirect.scheme.as_str());
    match redirect.reason {
        RedirectReason::Alias => "the host is an alias".to_owned(),
        RedirectReason::Scheme => format!("it came by {came} and belongs on {wanted}"),
        RedirectReason::AliasAndScheme => {
            format!("the host is an alias, and it came by {came} and belongs on {wanted}")
        }
    }
}

/// Why the status is this one of the four.
pub fn redirect_status_why(redirect: &Redirect<'_>, method: &str) -> String {
    let lasting = match (redirect.status, redirect.reason) {
        (302 | 307, _) => "temporary",
        (_, RedirectReason::Scheme) => "permanent: is_permanent",
        (_, _) => "permanent, as from every alias",
    };
    match redirect.status {
        307 | 308 => format!("{lasting}; {method} stays {method}"),
        _ => lasting.to_owned(),
    }
}

pub fn bad_told(bad: BadTold) -> &'static str {
    match bad {
        BadTold::Scheme => "the peer names a scheme that is neither http nor https",
        BadTold::Conflict => "Forwarded and X-Forwarded-* say two things",
        BadTold::Malformed => "Forwarded is not as RFC 7239 has it",
    }
}

pub fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadHost(_) => "the host is not one",
        Refusal::BadTarget => "the target does not start with \"/\", or holds a space or a control character",
        Refusal::TargetTooLong => "the target is longer than 65,535 octets",
        Refusal::NoSite | Refusal::NoSiteHere => "no site has this host, and there is no fallback site \"*\"",
        Refusal::NotCovered => "the certificate of this connection is not for this host (RFC 9110 §15.5.20)",
        Refusal::OtherPolicy => {
            "the host's site has another TLS policy than the one this connection was made under"
        }
        Refusal::NoHttps => "the host's site has no https",
    }
}
