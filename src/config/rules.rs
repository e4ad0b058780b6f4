//! The rules of a site: inline ones first, then those of its dispatch files.

use std::path::PathBuf;

use crate::config::config::{Hsts, Site};
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::{Node, Spot, Value};
use crate::dispatch::written_path::{PathError, parse_path, parse_segments};
use crate::dispatch::{Element, Ports, Rule, RuleProblem, RuleProblemKind, Rules, Sites, Ssl};

/// What of the site its rules are held against.
pub(super) struct SiteFacts<'a> {
    pub name: &'a str,
    pub ssl: bool,
    pub hsts: Option<Hsts>,
}

impl Reader<'_> {
    pub(super) fn rules(&mut self, site: Section<'_>, facts: &SiteFacts<'_>) -> Rules {
        let mut rules: Vec<(Rule, Spot)> = Vec::new();
        self.inline_rules(site, &mut rules);
        self.imported_rules(site, &mut rules);
        for (rule, at) in &rules {
            self.rule_fits(rule, *at, facts);
        }
        rules.into_iter().map(|(rule, _)| rule).collect()
    }

    fn inline_rules(&mut self, site: Section<'_>, rules: &mut Vec<(Rule, Spot)>) {
        const EXAMPLE: &str = "dispatch = [{ name = \"page\", path = \"/page/{id}\" }]";
        let Some(node) = site.get("dispatch") else {
            return;
        };
        let Value::Array(items) = &node.value else {
            self.wrong_type(node.at, "dispatch", Expected::Tables(EXAMPLE), &node.value);
            return;
        };
        for item in items {
            let Value::Table(table) = &item.value else {
                self.wrong_type(item.at, "dispatch", Expected::Tables(EXAMPLE), &item.value);
                continue;
            };
            if rules.len() >= defaults::RULES_MAX {
                self.error(item.at, What::TooMany { what: "rules in one site", most: defaults::RULES_MAX });
                return;
            }
            let section = self.section(table, &keys::DISPATCH);
            let name = self.filled(section, "name");
            if !section.has("name") {
                self.missing(section, "name");
            }
            let path = self.path(section);
            let ssl = self.ssl(section);
            if let (Some((name, _)), Some(path)) = (name, path) {
                let place = self.place(item.at);
                rules.push((Rule { name, path, ssl, place }, item.at));
            }
        }
    }

    fn imported_rules(&mut self, site: Section<'_>, rules: &mut Vec<(Rule, Spot)>) {
        let mut named: Vec<(PathBuf, Spot)> = Vec::new();
        for (pattern, at) in self.texts(site, "dispatch_files", "\"dispatch/*\"") {
            for path in self.expand("dispatch_files", &pattern, at) {
                if let Some((_, first)) = named.iter().find(|(before, _)| *before == path) {
                    let first = Some(self.place(*first));
                    self.error(at, What::IncludedTwice { path, first });
                    continue;
                }
                let imported = self.imported(&path, at);
                named.push((path, at));
                if rules.len() + imported.len() > defaults::RULES_MAX {
                    self.error(at, What::TooMany { what: "rules in one site", most: defaults::RULES_MAX });
                    return;
                }
                for rule in imported.iter() {
                    let at = self.spot(&rule.place).unwrap_or(at);
                    rules.push((rule.clone(), at));
                }
            }
        }
    }

    fn ssl(&mut self, rule: Section<'_>) -> Option<Ssl> {
        let node = rule.get("ssl")?;
        match &node.value {
            Value::Boolean(true) => Some(Ssl::Https),
            Value::Boolean(false) => Some(Ssl::Http),
            Value::Text(word) if word == "any" || word == "keep" => Some(Ssl::Any),
            other => {
                self.wrong_type(node.at, "ssl", Expected::Ssl, other);
                None
            }
        }
    }

    fn path(&mut self, rule: Section<'_>) -> Option<Vec<Element>> {
        let Some(node) = rule.get("path") else {
            self.missing(rule, "path");
            return None;
        };
        match &node.value {
            Value::Text(text) => match parse_path(text) {
                Ok(path) => Some(path),
                Err(error) => {
                    self.bad_path(node, error);
                    None
                }
            },
            Value::Array(_) => {
                let texts = self.texts(rule, "path", "\"page\", \"{id}\"");
                let segments: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
                match parse_segments(&segments) {
                    Ok(path) => Some(path),
                    Err(error) => {
                        let at = texts.get(error.segment).map_or(node.at, |(_, at)| *at);
                        let text = texts.get(error.segment).map_or("", |(text, _)| text);
                        let node = Node { value: Value::Text(text.to_owned()), at };
                        self.bad_path(&node, error);
                        None
                    }
                }
            }
            other => {
                self.wrong_type(node.at, "path", Expected::Path, other);
                None
            }
        }
    }

    /// Marks the part of the text that is wrong, when the text stands in the file as it is: without escapes.
    fn bad_path(&mut self, node: &Node, error: PathError) {
        let mut at = node.at;
        let typed = self.text(at.source).text.get(at.start..at.end).unwrap_or("");
        if let Value::Text(text) = &node.value
            && typed.get(1..typed.len().saturating_sub(1)) == Some(text.as_str())
            && error.offset + error.length <= text.len()
        {
            let start = at.start + 1 + error.offset;
            at = Spot { start, end: start + error.length, ..at };
        }
        self.error(at, What::BadPath { why: error.wrong });
    }

    /// What a rule wants and the site cannot give.
    fn rule_fits(&mut self, rule: &Rule, at: Spot, facts: &SiteFacts<'_>) {
        let names = || (rule.name.clone(), facts.name.to_owned());
        if rule.ssl == Some(Ssl::Https) && !facts.ssl {
            let (rule, site) = names();
            self.error(at, What::RuleWithoutSsl { rule, site });
        }
        // A max-age of zero makes browsers forget, so it sends nobody back.
        if rule.ssl == Some(Ssl::Http) && facts.hsts.is_some_and(|hsts| !hsts.max_age.is_zero()) {
            let (rule, site) = names();
            self.error(at, What::HttpRuleUnderHsts { rule, site });
        }
    }

    /// Compiles the rules as they will be compiled to serve, for what only that finds out.
    pub(super) fn rules_compile(&mut self, sites: &[Site]) {
        let written = sites.iter().map(Site::site_rules).collect();
        // A problem without a rule is one of a site's hosts, and those were checked, more strictly.
        for problem in Sites::compile(written, Ports::default()).err().unwrap_or_default() {
            let RuleProblem { rule: Some((rule, place)), kind, .. } = problem else {
                continue;
            };
            let Some(mut at) = self.spot(&place) else {
                continue;
            };
            let what = match kind {
                RuleProblemKind::TooManyElements => What::PathTooLong { rule },
                RuleProblemKind::LiteralTooLong { .. } => What::LiteralTooLong { rule },
                RuleProblemKind::Pattern { pattern, problem, .. } => {
                    at = self.within(at, &pattern, problem.start, problem.end);
                    What::BadPattern { rule, pattern, why: problem.kind }
                }
                RuleProblemKind::TooMany => {
                    What::TooMany { what: "rules in one site", most: defaults::RULES_MAX }
                }
                RuleProblemKind::NoHost
                | RuleProblemKind::BadHost { .. }
                | RuleProblemKind::HostTwice { .. }
                | RuleProblemKind::NoCanonicalHost => continue,
            };
            self.error(at, what);
        }
    }

    /// The part of a pattern that is wrong, when the pattern stands, as it is, in the line of its rule.
    fn within(&self, rule: Spot, pattern: &str, start: usize, end: usize) -> Spot {
        let rest = self.text(rule.source).text.get(rule.start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        match line.find(pattern) {
            Some(found)
                if !pattern.is_empty()
                    && pattern.is_char_boundary(start)
                    && pattern.is_char_boundary(end) =>
            {
                let first = rule.start + found;
                Spot { start: first + start, end: first + end.max(start), ..rule }
            }
            _ => rule,
        }
    }
}
