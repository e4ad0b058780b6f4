//! Any bytes are a configuration or problems that can be shown; never a panic.

use std::path::Path;

use portcullis::config::{self, FilesInMemory, Overrides};
use portcullis::dispatch::Sites;

pub fn check(bytes: &[u8]) {
    // The same bytes as configuration, as what it may include, and as a dispatch file.
    let mut files = FilesInMemory::default()
        .with("portcullis.toml", bytes)
        .with("sites/a.toml", bytes)
        .with("dispatch/a", bytes);
    match config::read(Path::new("portcullis.toml"), &mut files, &Overrides::default()) {
        Ok(config) => {
            config.warnings.iter().for_each(shows);
            assert!(!config.sites.is_empty());
            let compiled = Sites::compile(config.site_rules(), config.listen.ports(80, 443));
            if let Err(problems) = compiled {
                panic!("accepted, and not to be compiled: {problems:?}");
            }
        }
        Err(problems) => {
            assert!(problems.all().iter().any(|problem| problem.level() == config::Level::Error));
            assert!(!problems.to_string().is_empty());
            problems.all().iter().for_each(shows);
        }
    }
}

fn shows(problem: &config::Problem) {
    let text = problem.to_string();
    assert!(!text.is_empty() && !problem.code().is_empty());
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "bytes for the terminal: {text:?}");
    assert!(problem.to_json().is_object());
}
