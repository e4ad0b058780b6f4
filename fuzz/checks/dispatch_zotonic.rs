//! Rules out of a Zotonic dispatch file mean the same once they are lines of our configuration.

use std::path::Path;

use portcullis::config::{self, FilesInMemory, Level, Overrides};
use portcullis::dispatch::{written_path, zotonic};

const SITE: &str =
    "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:8000\"]\n";

/// Patterns and paths that do not compile.
const REFUSED: &[&str] = &["bad-pattern", "path-too-long", "literal-too-long"];

pub fn check(bytes: &[u8]) {
    let rules = match zotonic::rules(bytes, Path::new("dispatch").into()) {
        Ok(rules) => rules,
        Err(problems) => {
            assert!(!problems.is_empty());
            return problems.iter().for_each(|problem| assert!(!problem.to_string().is_empty()));
        }
    };
    let text = format!("{SITE}{}", zotonic::to_toml(&rules));
    let mut files = FilesInMemory::default().with("portcullis.toml", text.as_str());
    match config::read(Path::new("portcullis.toml"), &mut files, &Overrides::default()) {
        Ok(config) => {
            let site = config.sites.first().expect("the site is written");
            let found: Vec<_> = site.rules().iter().map(|rule| (rule.name, rule.path, rule.ssl)).collect();
            let name = |name: &str| if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() };
            // The others are comments there.
            let expected: Vec<_> = rules
                .iter()
                .filter(|rule| written_path::write(&rule.path).is_some())
                .map(|rule| (name(&rule.name), rule.path.clone(), rule.ssl))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
        // The configuration refuses what a rule may not say, never how it is written.
        Err(problems) => {
            for problem in problems.all().iter().filter(|problem| problem.level() == Level::Error) {
                assert!(REFUSED.contains(&problem.code()), "{problem}\n{text}");
            }
        }
    }
}
