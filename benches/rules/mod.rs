//! Dispatch lists as sites have them, of any length, the same every time.

use std::path::Path;
use std::sync::Arc;

use portcullis::dispatch::{Alias, Element, Place, Ports, Rule, SiteRules, Sites, Ssl, Unmatched};

/// One site with so many rules: pages, admin, files, ids with slugs, an API, languages, a few
/// patterns, and at the end rules that begin with a variable, which every path has to pass.
pub fn sites(rules: usize) -> Sites {
    let first = [
        ("home", "", None),
        ("lib", "lib/*", Some(Ssl::Any)),
        ("image", "image/*", Some(Ssl::Any)),
        ("media", "media/attachment/*", Some(Ssl::Any)),
        ("logon", "logon", Some(Ssl::Https)),
        ("language", "$/about", None),
    ];
    let module = [
        ("overview", "#", None),
        ("admin", "admin/#", Some(Ssl::Https)),
        ("admin_edit", "admin/#/edit/{id}", Some(Ssl::Https)),
        ("api", "api/#/*", Some(Ssl::Any)),
        ("page", "#/{id}/{slug}", None),
        ("number", "#/item/<^[0-9]+$>", None),
        ("archive", "#/archive/<^[0-9]{4}$>/<^[0-9]{2}$>", None),
        ("feed", "#/feed/*", Some(Ssl::Http)),
    ];
    let last = [("short", "<^[0-9]+$>", None), ("two", "{category}/{id}/view", None)];
    let modules = rules.saturating_sub(first.len() + last.len());
    let mut list: Vec<Rule> = first.iter().map(|&(name, path, ssl)| rule(name, path, 0, ssl)).collect();
    list.extend((0..modules).map(|number| {
        let (name, path, ssl) = module[number % module.len()];
        rule(name, path, number / module.len(), ssl)
    }));
    list.extend(last.iter().map(|&(name, path, ssl)| rule(name, path, 0, ssl)));
    list.truncate(rules);
    let site = SiteRules {
        name: "example".into(),
        hosts: vec!["example.com".into(), "*.shop.example.com".into()],
        aliases: vec!["www.example.com".into()],
        alias: Alias::Redirect,
        ssl: true,
        is_secure: true,
        is_ssl: false,
        is_permanent: false,
        languages: vec!["en".into(), "nl".into(), "de".into()],
        unmatched: Unmatched::Forward,
        rules: list.into(),
        tls_policy: 0,
    };
    let ports = Ports { http: Some(80), https: Some(443) };
    Sites::compile(vec![site], ports).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Requests to such a site: most of them early and late rules, some languages, escapes, no match.
pub fn targets(rules: usize) -> Vec<String> {
    let last = rules.saturating_sub(9) / 8;
    let middle = last / 2;
    [
        "/".to_owned(),
        "/logon?page=%2Fadmin".to_owned(),
        "/lib/css/site.css~jquery.js?v=63871234567".to_owned(),
        "/image/2024/05/17/photo%281%29.jpg%2839x40%29.jpg".to_owned(),
        format!("/module{middle}"),
        format!("/admin/module{last}/edit/4711?lang=en"),
        format!("/api/module{middle}/search/items/first?limit=20&offset=40"),
        format!("/module{last}/1234/a-title-of-a-page-as-they-are"),
        format!("/en/module{middle}/1234/a-title"),
        format!("/module{middle}/item/123456"),
        format!("/module{last}/archive/2024/05"),
        format!("/module{last}/feed/atom.xml"),
        "/123456".to_owned(),
        "/nl/about".to_owned(),
        "/no/rule/has/this/path".to_owned(),
        format!("/module{middle}/caf%C3%A9/../1234/una+ma%C3%B1ana"),
    ]
    .into()
}

/// `#` is the module, `{x}` a variable, `<x>` a pattern, `$` a language.
fn rule(name: &str, path: &str, module: usize, ssl: Option<Ssl>) -> Rule {
    let elements = path.split('/').filter(|element| !element.is_empty()).map(|element| match element {
        "*" => Element::Rest,
        "$" => Element::Language,
        "#" => Element::Literal(format!("module{module}").into_bytes()),
        _ if element.starts_with('{') => Element::Variable(element[1..element.len() - 1].into()),
        _ if element.starts_with('<') => {
            Element::Pattern { name: "id".into(), pattern: element[1..element.len() - 1].into() }
        }
        _ => Element::Literal(element.as_bytes().into()),
    });
    let place = Place { file: Arc::from(Path::new("dispatch")), line: 1, column: 1 };
    Rule { name: format!("{name}{module}"), path: elements.collect(), ssl, place }
}
