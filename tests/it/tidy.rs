//! What the compiler does not check: who names whom, what the core leaves alone, that documents are true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may name whom. A new arrow is a change to this table, reviewed as design; one that is gone is taken out.
const ARROWS: &[(&str, &[&str])] = &[
    // Core.
    ("http", &[]),
    ("http1", &["http"]),
    ("dispatch", &["http"]),
    ("tls", &[]),
    ("limits", &[]),
    ("proxy_protocol", &[]),
    ("metrics", &[]),
    ("access_log", &["http"]),
    ("sealing", &["http"]),
    ("config", &["access_log", "dispatch", "http", "limits", "proxy_protocol", "sealing", "tls"]),
    // Shell.
    ("net", &["tls"]),
    ("spool", &["access_log"]),
    ("upstream", &["config", "http", "http1", "net"]),
    ("proxy", &["config", "http", "http1", "metrics", "net", "proxy_protocol", "upstream"]),
    (
        "downstream",
        &[
            "access_log",
            "config",
            "dispatch",
            "http",
            "http1",
            "limits",
            "metrics",
            "net",
            "proxy",
            "proxy_protocol",
            "sealing",
            "spool",
            "tls",
            "upstream",
        ],
    ),
    ("sandbox", &[]),
    ("worker", &["config", "downstream", "http", "metrics", "net", "sandbox", "spool"]),
    ("certs", &["http", "http1", "tls"]),
    ("admin", &["certs", "config", "dispatch", "http", "http1", "metrics", "tls"]),
    (
        "control",
        &[
            "access_log",
            "admin",
            "certs",
            "config",
            "dispatch",
            "http",
            "limits",
            "metrics",
            "net",
            "sandbox",
            "sealing",
            "spool",
            "tls",
            "worker",
        ],
    ),
    // The demo is the program with a configuration and a site server of its own, so it starts what `cli` starts.
    ("demo", &["cli", "config", "control", "http", "http1", "worker"]),
    ("cli", &["admin", "certs", "config", "control", "demo", "dispatch", "http", "tls", "worker"]),
];

const CORE: &[&str] = &[
    "access_log",
    "http",
    "http1",
    "dispatch",
    "tls",
    "limits",
    "metrics",
    "proxy_protocol",
    "sealing",
    "config",
];

/// Words that belong to the shell.
const NOT_IN_CORE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "async fn",
    "async move",
    ".await",
    "monoio",
    "tracing::",
    "println!",
    "eprintln!",
];

/// The rooms that know the TLS library.
const KNOW_RUSTLS: &[&str] = &["tls", "net", "certs"];
/// The rooms that know the runtime.
const KNOW_MONOIO: &[&str] = &["net", "upstream", "proxy", "downstream", "worker"];

/// Lines a file of the program may have. A file past it holds two things.
const LINES_MAX: usize = 700;
/// With the reason. Tests are not counted: a table of cases may be long.
const LONGER: &[(&str, &str)] = &[];

/// One file of `src`, without its tests and comments.
struct Source {
    /// From the root of the repository.
    path: String,
    room: String,
    lines: usize,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("readable").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
}

/// All files of the rooms. Modules behind `#[cfg(test)]` are left out, in files of their own or inside.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join("src"), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let texts: Vec<(PathBuf, String)> =
        paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).expect("text"))).collect();
    let tests: Vec<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test =
        |path: &Path| tests.iter().any(|test| path == test.with_extension("rs") || path.starts_with(test));
    let mut sources = Vec::new();
    for (path, text) in &texts {
        let path_text = relative(path);
        if is_test(path) || ["src/lib.rs", "src/main.rs"].contains(&path_text.as_str()) {
            continue;
        }
        let room = path_text.trim_start_matches("src/").split('/').next().expect("a room");
        sources.push(Source {
            room: room.trim_end_matches(".rs").to_owned(),
            lines: text.lines().count(),
            code: code(text),
            path: path_text,
        });
    }
    assert!(sources.len() > 50, "the sources are found");
    sources
}

/// Files and directories (without `.rs`) of the modules a file declares for tests alone.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let parent = path.parent().expect("a directory");
    let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let inside = if stem == "mod" { parent.to_owned() } else { parent.join(stem) };
    let mut modules = Vec::new();
    let mut for_tests = false;
    let mut named: Option<PathBuf> = None;
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            for_tests = true;
        } else if let Some(name) = line.strip_prefix("#[path = \"") {
            named = Some(parent.join(name.trim_end_matches(".rs\"]")));
        } else if !line.starts_with("#[") {
            let declared = line.split("mod ").nth(1).and_then(|rest| rest.strip_suffix(';'));
            if let Some(name) = declared.filter(|_| for_tests) {
                modules.push(named.take().unwrap_or_else(|| inside.join(name)));
            }
            for_tests = false;
            named = None;
        }
    }
    modules
}

/// Without comments, and without the tests at the end of the file.
fn code(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].ends_with('{')
    });
    let kept =
        lines[..tests.unwrap_or(lines.len())].iter().filter(|line| !line.trim_start().starts_with("//"));
    kept.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The rooms a text names: `crate::room` and `crate::{room, other::Thing}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let word = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut at_start = true;
        for (position, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if at_start && is_word(c) => {
                    named.insert(word(&list[position..]));
                    at_start = false;
                }
                _ => {}
            }
        }
    }
    named
}

fn has_word(code: &str, wanted: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    code.match_indices(wanted).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + wanted.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn rooms_name_only_those_they_may() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for source in sources() {
        assert!(rooms.contains(source.room.as_str()), "{}: a room that is not in the table", source.path);
        let allowed = ARROWS.iter().find(|(room, _)| *room == source.room).expect("it is there").1;
        for named in rooms_named(&source.code) {
            if named == source.room || !rooms.contains(named.as_str()) {
                continue;
            }
            if !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{}` may not name `{named}`", source.path, source.room));
            }
            arrows.entry(source.room.clone()).or_default().insert(named);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nA new arrow is a change of design: see ARCHITECTURE.md.");
    for (room, allowed) in ARROWS {
        for to in *allowed {
            let used = arrows.get(*room).is_some_and(|named| named.contains(*to));
            assert!(used, "`{room}` does not name `{to}` any more: take the arrow out of the table");
        }
    }
}

#[test]
fn the_core_names_no_room_of_the_shell_and_arrows_make_no_circle() {
    for (room, allowed) in ARROWS.iter().filter(|(room, _)| CORE.contains(room)) {
        assert!(allowed.iter().all(|to| CORE.contains(to)), "{room}");
    }
    // `demo` starts the log as `cli` does, and `cli` starts `demo`: one circle, between two front doors.
    let mut known: BTreeSet<&str> = BTreeSet::from(["cli"]);
    for (room, allowed) in ARROWS {
        assert!(allowed.iter().all(|to| known.contains(to)), "{room} stands before what it uses");
        known.insert(room);
    }
}

#[test]
fn the_core_opens_nothing_awaits_nothing_and_reads_no_clock() {
    let mut wrong = Vec::new();
    for source in sources() {
        if CORE.contains(&source.room.as_str()) {
            let words = NOT_IN_CORE.iter().filter(|word| source.code.contains(**word));
            wrong.extend(words.map(|word| format!("{}: {word}", source.path)));
        }
        for (library, rooms) in [("rustls", KNOW_RUSTLS), ("monoio", KNOW_MONOIO)] {
            if has_word(&source.code, library) && !rooms.contains(&source.room.as_str()) {
                wrong.push(format!("{}: {library} is known to {rooms:?} alone", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_is_in_net_alone_and_says_why() {
    for source in sources() {
        let text = std::fs::read_to_string(root().join(&source.path)).expect("text");
        if has_word(&source.code, "unsafe") {
            assert_eq!(source.room, "net", "{}", source.path);
            assert!(text.contains("// SAFETY: "), "{}: no reason is given", source.path);
        }
    }
}

#[test]
fn files_open_with_their_purpose_and_stay_readable() {
    for source in sources() {
        let text = std::fs::read_to_string(root().join(&source.path)).expect("text");
        assert!(text.starts_with("//! "), "{}: the first line says what it is for", source.path);
        let longer = LONGER.iter().any(|(path, _)| *path == source.path);
        assert!(source.lines <= LINES_MAX || longer, "{}: {} lines", source.path, source.lines);
    }
}

/// All documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(root()).expect("the root") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files_below(&path, &mut documents);
        } else {
            documents.push(path);
        }
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.retain(|path| !path.components().any(|part| part.as_os_str() == "target"));
    documents
}

/// Paths of the repository a document names: in links, and in backticks when the first part is a directory of ours.
fn paths_named(text: &str) -> Vec<(String, bool)> {
    let mut named = Vec::new();
    for (at, _) in text.match_indices("](") {
        let target: String = text[at + 2..].chars().take_while(|c| *c != ')' && *c != '#').collect();
        if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
            named.push((target, true));
        }
    }
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let words = line.split('`').skip(1).step_by(2);
            named.extend(words.map(|word| (word.split(' ').next().unwrap_or_default().to_owned(), false)));
        }
    }
    named
}

#[test]
fn every_path_a_document_names_exists() {
    const OURS: &[&str] = &["src", "tests", "benches", "docs", "examples", "loadtest", "fuzz", "dist", ".ci"];
    let mut wrong = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).expect("text");
        for (path, link) in paths_named(&text) {
            let path = path.trim_end_matches([',', '.', ';']);
            let first = path.split('/').next().unwrap_or_default();
            let is_file_of_the_root = !path.contains('/') && path.ends_with(".md");
            let ours = OURS.contains(&first) && path.contains('/') || is_file_of_the_root;
            if !link && (!ours || path.contains(['*', '{', '<', '…'])) {
                continue;
            }
            // What a run of the load test writes is not kept.
            if path.starts_with("loadtest/results") {
                continue;
            }
            let beside = document.parent().expect("a directory").join(path);
            if !beside.exists() && !root().join(path).exists() {
                wrong.push(format!("{}: {path}", relative(&document)));
            }
        }
    }
    assert!(wrong.is_empty(), "documents name what is not there: {wrong:#?}");
}

#[test]
fn every_option_is_documented_with_its_default() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).expect("the reference");
    let mut count = 0;
    for setting in portcullis::config::settings() {
        let row = format!("| `{}` | {} |", setting.key, setting.default);
        assert!(text.contains(&row), "docs/configuration.md lacks the row {row}… of {}", setting.table);
        count += 1;
    }
    assert!(count > 40);
}

#[test]
fn the_lines_of_the_demo_are_those_of_the_readme() {
    let demo = std::fs::read_to_string(root().join("src/demo/mod.rs")).expect("text");
    let readme = std::fs::read_to_string(root().join("README.md")).expect("text");
    let mut count = 0;
    for line in demo.lines().map(str::trim).filter(|line| line.starts_with("curl ")) {
        let line = line.replace("{http}", "8080").replace("{https}", "8443").replace("\\\"", "\"");
        assert!(readme.contains(&line), "README.md lacks {line}");
        count += 1;
    }
    assert_eq!(count, 7);
}
