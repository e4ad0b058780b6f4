//! The room as a whole: good files, a golden file for every message, the reference, broken input.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::What;
use super::*;
use crate::dispatch::{Element, Ssl};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config")
}

/// Files of a directory under names relative to it, so that messages are the same everywhere.
struct Under(PathBuf);

impl Files for Under {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("forbidden.toml") => Err(io::ErrorKind::PermissionDenied.into()),
            Some("large.toml") => Ok(vec![b'\n'; 16 * 1024 * 1024 + 1]),
            _ => fs::read(self.0.join(path)),
        }
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let full = self.0.join(pattern);
        let full = full.to_str().expect("the path of the tests is UTF-8");
        let mut found: Vec<PathBuf> = glob::glob(full)
            .expect("the reader checked the pattern")
            .filter_map(Result::ok)
            .filter(|path| path.is_file())
            .map(|path| {
                path.strip_prefix(&self.0)
                    .expect("globbed below it")
                    .to_owned()
            })
            .collect();
        found.sort();
        Ok(found)
    }
}

fn read_text(text: &str) -> Result<Config, Problems> {
    read_with(text, &Overrides::default())
}

fn read_with(text: &str, overrides: &Overrides) -> Result<Config, Problems> {
    let mut files = FilesInMemory::default().with("portcullis.toml", text);
    read(Path::new("portcullis.toml"), &mut files, overrides)
}

const SITE: &str =
    "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:8000\"]\n";

/// `# flags: --workers 0 --http :80` in the first line of a file.
fn flags(text: &str) -> Overrides {
    let mut overrides = Overrides::default();
    let Some(line) = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# flags: "))
    else {
        return overrides;
    };
    let words: Vec<&str> = line.split(' ').collect();
    for pair in words.chunks(2) {
        let value = pair[1].to_owned();
        match pair[0] {
            "--workers" => overrides.workers = Some(value),
            "--session-cache-size" => overrides.session_cache_size = Some(value),
            "--session-lifetime" => overrides.session_lifetime = Some(value),
            "--session-mode" => overrides.session_mode = Some(value),
            "--http" => overrides.http.push(value),
            "--https" => overrides.https.push(value),
            "--log" => overrides.log = Some(value),
            other => panic!("no flag {other}"),
        }
    }
    overrides
}

fn problems_of(result: Result<Config, Problems>) -> Vec<Problem> {
    match result {
        Ok(config) => config.warnings,
        Err(problems) => problems.all().to_vec(),
    }
}

fn compare(golden: &Path, text: &str) -> bool {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, text).expect("the golden file can be written");
        return true;
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    if expected != text {
        eprintln!(
            "--- {}\nexpected:\n{expected}\nfound:\n{text}",
            golden.display()
        );
    }
    expected == text
}

/// `UPDATE_GOLDEN=1` writes what is found; read the difference before committing it.
#[test]
fn every_message_has_its_golden_file() {
    let mut seen = BTreeSet::new();
    let mut wrong = 0;
    let mut entries: Vec<PathBuf> = fs::read_dir(data().join("bad"))
        .expect("the data is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    entries.sort();
    for path in entries {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("names are UTF-8")
            .to_owned();
        let (directory, root) = if path.is_dir() {
            (path.clone(), "portcullis.toml".to_owned())
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            (data().join("bad"), format!("{stem}.toml"))
        } else {
            continue;
        };
        let bytes = fs::read(directory.join(&root)).unwrap_or_default();
        let overrides = flags(&String::from_utf8_lossy(&bytes));
        let result = read(Path::new(&root), &mut Under(directory), &overrides);
        let problems = problems_of(result);
        assert!(!problems.is_empty(), "{stem}: nothing is wrong with it");
        seen.extend(problems.iter().map(Problem::code));
        let about = problems
            .iter()
            .any(|problem| stem.starts_with(problem.code()));
        assert!(
            about || stem.starts_with("all-"),
            "{stem}: the file is named after its message, found {problems:?}"
        );
        let mut shown: String = problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect();
        if stem.starts_with("all-") {
            let json: serde_json::Value = problems.iter().map(Problem::to_json).collect();
            shown.push_str(&format!("{json:#}\n"));
        }
        wrong += usize::from(!compare(
            &data().join("bad").join(format!("{stem}.txt")),
            &shown,
        ));
    }
    let missing: Vec<_> = What::CODES
        .iter()
        .filter(|code| !seen.contains(*code))
        .collect();
    assert!(
        missing.is_empty(),
        "messages without a golden file: {missing:?}"
    );
    assert_eq!(wrong, 0, "UPDATE_GOLDEN=1 takes them over");
}
