//! The answers of the original.

use serde_json::Value;

use super::*;

const VECTORS: &str = include_str!("../../../tests/vectors/match.jsonl");

pub(in crate::dispatch) struct Vector {
    pub(in crate::dispatch) site: SiteRules,
    pub(in crate::dispatch) target: String,
    rule: Option<String>,
    bindings: Vec<Binding>,
    is_dir: bool,
}

pub(in crate::dispatch) fn all() -> impl Iterator<Item = Vector> {
    VECTORS.lines().map(|line| {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();
        let mut site = site("vectors", &["example.com"]);
        site.languages = list(&vector["languages"]).iter().map(text).collect();
        let rules = list(&vector["rules"]).into_iter().map(|written| {
            let path = list(&written[1])
                .iter()
                .map(|element| match element[0].as_str().expect("a kind") {
                    "lit" => literal(&text(&element[1])),
                    "var" => variable(&text(&element[1])),
                    "re" => pattern(&text(&element[1]), &text(&element[2])),
                    "lang" => Element::Language,
                    "star" => Element::Rest,
                    other => panic!("unknown element {other}"),
                })
                .collect();
            rule(&text(&written[0]), path, None)
        });
        site.rules = rules.collect();
        let bindings = list(&vector["bindings"])
            .iter()
            .map(|binding| Binding {
                name: text(&binding[0]),
                value: match &binding[1] {
                    Value::Array(rest) => Bound::Rest(rest.iter().map(text).collect()),
                    one => Bound::Segment(text(one)),
                },
            })
            .collect();
        Vector {
            site,
            target: text(&vector["path"]),
            rule: vector["rule"].as_str().map(str::to_owned),
            bindings,
            is_dir: vector["is_dir"].as_bool().expect("a bool"),
        }
    })
}

#[test]
fn answers_as_the_original_does() {
    let mut count = 0;
    for vector in all() {
        let about = format!("{:?} {:?}", vector.target, vector.site.rules);
        let sites = Sites::compile(vec![vector.site], PORTS).expect(&about);
        let site = SiteId(0);
        let matched = sites.matches(site, vector.target.as_bytes());
        let name = matched.and_then(|rule| sites.site(site).rule(rule)).map(|rule| rule.name.clone());
        assert_eq!(name, vector.rule, "{about}");
        let mut bindings = Vec::new();
        if let Some(rule) = matched {
            sites.bindings(site, rule, vector.target.as_bytes(), &mut bindings);
        }
        assert_eq!(bindings, vector.bindings, "{about}");
        assert_eq!(is_dir(vector.target.as_bytes()), vector.is_dir, "{about}");
        count += 1;
    }
    assert_eq!(count, 4436);
}
