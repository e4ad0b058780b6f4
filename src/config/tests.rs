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
            .map(|path| path.strip_prefix(&self.0).expect("globbed below it").to_owned())
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
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("# flags: ")) else {
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
        eprintln!("--- {}\nexpected:\n{expected}\nfound:\n{text}", golden.display());
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
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("names are UTF-8").to_owned();
        let (directory, root) = if path.is_dir() {
            (path.clone(), "portcullis.toml".to_owned())
        } else if path.extension().is_some_and(|extension| extension == "toml") {
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
        let about = problems.iter().any(|problem| stem.starts_with(problem.code()));
        assert!(
            about || stem.starts_with("all-"),
            "{stem}: the file is named after its message, found {problems:?}"
        );
        let mut shown: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        if stem.starts_with("all-") {
            let json: serde_json::Value = problems.iter().map(Problem::to_json).collect();
            shown.push_str(&format!("{json:#}\n"));
        }
        wrong += usize::from(!compare(&data().join("bad").join(format!("{stem}.txt")), &shown));
    }
    // With all features there is nothing that is not there.
    let is_all = |code: &str| code == "unavailable" && cfg!(feature = "acme");
    let missing: Vec<_> = What::CODES.iter().filter(|code| !seen.contains(*code) && !is_all(code)).collect();
    assert!(missing.is_empty(), "messages without a golden file: {missing:?}");
    assert_eq!(wrong, 0, "UPDATE_GOLDEN=1 takes them over");
}

#[test]
fn a_site_needs_three_keys_and_the_rest_has_defaults() {
    let config = read_text(SITE).expect("it is good");
    assert_eq!(config.workers, Workers::PerCore);
    assert_eq!(config.listen.http[0].address, "[::]:80".parse().expect("an address"));
    assert_eq!(config.listen.https[0].address, "[::]:443".parse().expect("an address"));
    assert_eq!(config.listen.outside_https_port.number(0), Some(443));
    assert_eq!(config.session_cache.lifetime, Duration::from_secs(300));
    assert_eq!(config.limits.request_head_bytes_max, 32 * 1024);
    assert_eq!(config.warnings.len(), 0);
    assert_eq!(config.files, [PathBuf::from("portcullis.toml")]);
    let site = &config.sites[0];
    assert_eq!((site.ssl, site.is_secure, site.is_ssl, site.is_permanent), (true, true, false, false));
    assert_eq!(site.canonical_host(), Some("a.example"));
    assert_eq!(site.certificate.len(), 1);
    assert!(matches!(site.certificate[0].source, Source::SelfSigned { key: SelfSignedKey::Ours }));
    assert_eq!((site.place.line, site.place.column), (1, 1));
    assert_eq!(site.request_body_bytes_max, config.limits.request_body_bytes_max);
    assert!(site.rules().is_empty());
}

#[test]
fn every_file_in_examples_and_good_reads_without_a_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for directory in [root.join("examples"), data().join("good")] {
        for entry in fs::read_dir(&directory).expect("the directory is there") {
            let path = entry.expect("readable").path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let name = path.file_name().expect("it has an extension");
            match read(Path::new(name), &mut Under(directory.clone()), &Overrides::default()) {
                Ok(config) => assert!(config.warnings.is_empty(), "{:?}", config.warnings),
                Err(problems) => panic!("{problems}"),
            }
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn what_is_written_is_what_is_meant() {
    let result = read(Path::new("all-keys.toml"), &mut Under(data().join("good")), &Overrides::default());
    let config = result.expect("it is good");
    assert_eq!(config.workers, Workers::Count(std::num::NonZeroU16::MIN));
    assert_eq!(config.state_directory, Path::new("/srv/portcullis"));
    assert_eq!(config.log, LogLevel::Debug);
    assert_eq!(config.listen.http.len(), 2);
    assert!(config.listen.http[0].only_v6 && !config.listen.https[0].only_v6);
    assert_eq!(config.listen.outside_https_port.number(1), Some(8443));
    let trusts =
        |listener: &ListenAddress, peer: &str| listener.settings.trusts(peer.parse().expect("an address"));
    // Those of `[listen]`, and an entry's own in their place.
    assert!(trusts(&config.listen.http[0], "::ffff:10.1.2.3"));
    assert!(!trusts(&config.listen.http[0], "192.0.2.7"));
    assert!(trusts(&config.listen.https[0], "2001:db8::5") && !trusts(&config.listen.https[0], "10.1.2.3"));
    let written =
        |listener: &ListenAddress| listener.settings.written.get("trusted_proxies").map(|place| place.line);
    assert!(written(&config.listen.http[0]) != written(&config.listen.https[0]));
    assert_eq!(config.session_cache.mode, SessionMode::Tickets);
    assert_eq!(config.timeouts.keep_alive, Duration::ZERO);
    assert_eq!(config.limits.request_body_bytes_max, u64::MAX);
    assert_eq!(config.upstream_pool.idle_per_worker, 8);
    let names: Vec<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(names, ["example", "fallback", "one", "two"]);

    let site = &config.sites[0];
    assert_eq!(site.hosts[1].pattern, HostPattern::Wildcard("shop.example.com".to_owned()));
    assert_eq!(site.alias, Alias::Serve);
    assert_eq!(site.unmatched, Unmatched::NotFound);
    assert_eq!(site.tls_versions, TlsVersions::Tls13);
    assert_eq!(site.request_body_bytes_max, 10 << 20);
    assert_eq!(config.sites[1].hsts.map(|hsts| hsts.max_age), Some(Duration::from_secs(365 * 86_400)));
    let http2 = site.upstream.iter().map(|upstream| upstream.protocol == UpstreamProtocol::Http2);
    assert_eq!(http2.collect::<Vec<_>>(), [false, false, false, true, true, true]);
    let Source::Files { certificate, .. } = &site.certificate[0].source else { panic!("files come first") };
    assert_eq!(certificate, Path::new("tls/example.pem"));

    let rules: Vec<_> = site.rules().iter().collect();
    let ssl: Vec<Option<Ssl>> = rules.iter().take(5).map(|rule| rule.ssl).collect();
    assert_eq!(ssl, [Some(Ssl::Https), Some(Ssl::Any), Some(Ssl::Http), None, Some(Ssl::Any)]);
    assert_eq!(rules[0].path, [Element::Literal(b"logon".to_vec())]);
    assert_eq!(
        rules[3].path,
        [
            Element::Literal(b"page".to_vec()),
            Element::Variable("id".to_owned()),
            Element::Variable("slug".to_owned()),
        ]
    );
    let line =
        |rule: usize| (rules[rule].place.file.to_str(), rules[rule].place.line, rules[rule].place.column);
    assert_eq!(line(1).0, Some("all-keys.toml"));
    assert_eq!(line(1).1, line(0).1 + 1);

    // Imported rules come after those, whatever their file's name.
    let imported: Vec<&str> = rules[5..].iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(imported, ["blog", "article", "contact"]);
    assert_eq!(line(6), (Some("dispatch/blog"), 4, 3));

    // Dispatch takes the sites in the same order, and what redirects are built with.
    let sites = crate::dispatch::Sites::compile(config.site_rules(), config.listen.ports(0, 0));
    let sites = sites.map_err(|problems| problems.len()).expect("the reader compiled them");
    assert_eq!(sites.len(), config.sites.len());
    assert_eq!(sites.ports(), crate::dispatch::Ports { http: Some(80), https: Some(8443) });

    // Paths of an included file are relative to it.
    let Source::Directory { directory } = &config.sites[2].certificate[0].source else {
        panic!("a directory")
    };
    assert_eq!(directory, Path::new("sites/tls"));
}

#[test]
fn flags_go_through_the_same_checks_and_win() {
    let overrides = Overrides {
        workers: Some("3".to_owned()),
        session_cache_size: Some("5".to_owned()),
        session_lifetime: Some("1h".to_owned()),
        session_mode: Some("off".to_owned()),
        certificate_cache_size: Some("7".to_owned()),
        certificate_cache_lifetime: Some("5m".to_owned()),
        http: vec!["127.0.0.1:0".to_owned()],
        https: vec!["127.0.0.1:0".to_owned(), "[::1]:8443".to_owned()],
        log: Some("error".to_owned()),
    };
    let text = format!("workers = 1\n[session_cache]\nsize = 1\n{SITE}");
    let config = read_with(&text, &overrides).expect("it is good");
    assert_eq!(config.workers, Workers::Count(std::num::NonZeroU16::new(3).expect("not zero")));
    assert_eq!(
        config.session_cache,
        SessionCache {
            mode: SessionMode::Off,
            size: 5,
            lifetime: Duration::from_secs(3600),
            fleet_secret_file: None
        }
    );
    let cache = config.certificate_cache;
    assert_eq!((cache.size, cache.lifetime), (7, Duration::from_secs(300)));
    assert_eq!(config.listen.http.len(), 1);
    assert_eq!(config.listen.outside_http_port, OutsidePort::AsBound);
    assert_eq!(config.listen.outside_http_port.number(4321), Some(4321));
    assert_eq!(config.log, LogLevel::Error);
    assert_eq!(config.files.len(), 1, "flags are no files");
}

/// A key in `keys.rs` that nothing reads would be accepted in silence.
#[test]
fn every_key_is_read() {
    const ACME: &str = "`certificate` with source = \"acme\"";
    for setting in settings() {
        let key = setting.key;
        let wrong = format!("{key} = 1979-05-27\n");
        let text = match setting.table {
            "" => format!("{wrong}{SITE}"),
            "[[site]]" => format!("{}{wrong}", SITE.replace(key, "#")),
            "an entry of `http` or `https`" if key == "address" => {
                format!("[listen]\nhttps = [{{ {key} = 1979-05-27 }}]\n{SITE}")
            }
            "an entry of `http` or `https`" => {
                format!("[listen]\nhttps = [{{ address = \":443\", {key} = 1979-05-27 }}]\n{SITE}")
            }
            "`hsts`" => format!("{SITE}[site.hsts]\n{wrong}"),
            "`health_check`" => format!("{SITE}[site.health_check]\n{wrong}"),
            "`upstream`" => format!(
                "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\n[[site.upstream]]\n{}{wrong}",
                if key == "url" { "" } else { "url = \"https://127.0.0.1\"\n" }
            ),
            "`certificate`" if key == "source" => format!("{SITE}[[site.certificate]]\n{wrong}"),
            "`certificate`" => {
                let source = match key {
                    "run" => "command",
                    "url" | "ca" => "http",
                    "timeout" => "http\"\nurl = \"http://a",
                    _ => "files",
                };
                format!("{SITE}[[site.certificate]]\nsource = \"{source}\"\n{wrong}")
            }
            "`client_auth`" => format!("{SITE}[site.client_auth]\n{wrong}"),
            ACME if key == "source" => continue,
            ACME => format!("{SITE}[[site.certificate]]\nsource = \"acme\"\n{wrong}"),
            "`eab`" | "`dns`" | "`on_demand`" => {
                let table = setting.table.trim_matches('`');
                format!("{SITE}[[site.certificate]]\nsource = \"acme\"\n[site.certificate.{table}]\n{wrong}")
            }
            "`store`" => format!("[store]\n{wrong}{SITE}"),
            "`dispatch`" => format!("{SITE}[[site.dispatch]]\n{wrong}"),
            table => format!("{table}\n{wrong}{SITE}"),
        };
        let problems = problems_of(read_text(&text));
        let said = format!("`{key}` must be ");
        let found = problems
            .iter()
            .any(|problem| problem.code() == "wrong-type" && problem.to_string().contains(&said));
        assert!(found, "{} {key} is not read: {problems:?}", setting.table);
    }
}

/// The defaults the reference shows, written out, change nothing.
/// What `explain` shows: where a setting is written, or that it is not.
#[test]
fn keys_have_a_place_where_they_are_written() {
    let config = read_text(&format!("{SITE}ssl = true\n")).expect("it is good");
    let written = &config.sites[0].written;
    let line = SITE.lines().count() as u32 + 1;
    assert_eq!(written.get("ssl").map(|place| (place.line, place.column)), Some((line, 1)));
    assert_eq!(written.get("is_secure"), None);
    assert_eq!(config.listen.written.get("http"), None);
}

#[test]
fn defaults_can_be_written_as_they_are_shown() {
    let mut text = String::new();
    let mut site = String::new();
    let mut table = "";
    for setting in settings() {
        let Some(value) = setting.default.strip_prefix('`').and_then(|value| value.strip_suffix('`')) else {
            continue;
        };
        // Off until it is there, so that no default is written for it.
        if setting.table == "[access_log]" {
            continue;
        }
        if setting.table == "[[site]]" {
            site.push_str(&format!("{} = {value}\n", setting.key));
        } else if setting.table.is_empty() || setting.table.starts_with('[') {
            if table != setting.table {
                table = setting.table;
                text.push_str(&format!("{table}\n"));
            }
            text.push_str(&format!("{} = {value}\n", setting.key));
        }
    }
    let written = read_text(&format!("{text}{SITE}{site}")).unwrap_or_else(|problems| panic!("{problems}"));
    let left_out = read_text(SITE).expect("it is good");
    // Places differ, and nothing else.
    let strip = |config: &Config| {
        let mut config = config.clone();
        config.listen.written = WrittenAt::default();
        for listener in config.listen.http.iter_mut().chain(&mut config.listen.https) {
            std::sync::Arc::make_mut(&mut listener.settings).written = WrittenAt::default();
        }
        config.sites.iter_mut().for_each(|site| site.written = WrittenAt::default());
        let text = format!("{config:?}");
        let mut kept = String::new();
        for part in text.split("place: Place {") {
            kept.push_str(part.split_once('}').map_or(part, |(_, rest)| rest));
        }
        kept
    };
    assert_eq!(strip(&written).len(), strip(&left_out).len());
    assert_eq!(strip(&written), strip(&left_out));
}

/// The reference has a row for every key, under the heading of its table, with the right numbers.
#[test]
fn the_reference_lists_every_key_and_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).expect("the reference is there");
    let heading = |table: &str| match table {
        "" => "## The top of the file".to_owned(),
        table if table.starts_with('`') => format!("### {table}"),
        "an entry of `http` or `https`" => "### An entry of `http` or `https`".to_owned(),
        table => format!("## `{table}`"),
    };
    let mut wrong = Vec::new();
    let mut rows = 0;
    for setting in settings() {
        let heading = heading(setting.table);
        let section =
            text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no heading {heading:?}"));
        let section =
            section.split("\n## ").next().and_then(|section| section.split("\n### ").next()).unwrap_or("");
        let row = section.lines().find(|line| line.starts_with(&format!("| `{}` |", setting.key)));
        let cells: Vec<&str> =
            row.unwrap_or("").split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let default = cells.get(1) == Some(&setting.default.as_str());
        let allowed = setting
            .allowed
            .as_deref()
            .is_none_or(|allowed| cells.get(2).is_some_and(|cell| cell.contains(allowed)));
        if !default || !allowed {
            wrong.push(format!(
                "{heading}: | `{}` | {} | {} | {row:?}",
                setting.key,
                setting.default,
                setting.allowed.as_deref().unwrap_or("(words)")
            ));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (_, planned) = text.split_once("\n## Not in this version\n").expect("it says what is not there yet");
    for word in
        super::keys::TABLES.iter().flat_map(|table| table.unavailable).chain(super::keys::SOURCES_UNAVAILABLE)
    {
        assert!(
            planned.contains(&format!("`{word}`")),
            "{word} is not available, and the reference does not say so"
        );
    }
    let written = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(written, rows, "rows of keys that do not exist");
}

/// Broken in any way, a file gets an answer: never a panic, and places within its text.
#[test]
fn no_mutation_of_a_file_panics() {
    let good = fs::read(data().join("good/all-keys.toml")).expect("the data is there");
    let pieces: &[&[u8]] = &[
        b"[",
        b"]",
        b"[[",
        b"]]",
        b"{",
        b"}",
        b"\"",
        b"'''",
        b"\"\"\"",
        b"=",
        b".",
        b",",
        b"\n",
        b"\r\n",
        b"\0",
        b"#",
        b"\\u0000",
        b"\xff",
        "\u{1f512}".as_bytes(),
        b"site",
        b"[[site]]\n",
        b"[listen]\n",
        b"a.b.c = 1\n",
        b"1979-05-27",
        b"99999999999999999999",
        b"-1",
        b"0x",
        b"inf",
        b"\t",
    ];
    // A linear congruential generator (Knuth's constants): the same cases in every run.
    let mut state: u64 = 1;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % bound.max(1)
    };
    for round in 0..1_500 {
        let mut bytes = good.clone();
        for _ in 0..=random(4) {
            let at = random(bytes.len() + 1);
            match random(4) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                2 => drop(bytes.splice(at..at, pieces[random(pieces.len())].iter().copied())),
                _ => {
                    let from = random(bytes.len() + 1);
                    let copy = bytes[from..(from + random(200)).min(bytes.len())].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
        let lines = bytes.split(|byte| *byte == b'\n').count();
        let mut files = FilesInMemory::default().with("a.toml", bytes).with("sites/one.toml", SITE);
        if let Err(problems) = read(Path::new("a.toml"), &mut files, &Overrides::default()) {
            assert!(problems.all().iter().any(|problem| problem.level() == Level::Error), "{round}");
            assert!(!problems.to_string().is_empty());
            for place in problems.all().iter().filter_map(Problem::place) {
                assert!(
                    place.line >= 1 && place.column >= 1 && place.line as usize <= lines,
                    "{round}: {place:?}"
                );
            }
            assert!(problems.to_json().is_array());
        }
    }
}

/// The reader ignores what dispatch says about hosts, which holds as long as it lets nothing pass that dispatch
/// refuses.
#[test]
fn dispatch_takes_every_host_that_is_read() {
    use crate::dispatch::{Ports, Sites};

    let pieces = [
        "a",
        "A9",
        "*",
        ".",
        "-",
        "_",
        "[",
        "]",
        ":",
        "::1",
        "1",
        "255",
        "127.0.0.1",
        "2001:db8::",
        "xn--",
        "é",
    ];
    let mut taken = 0;
    for number in 0..pieces.len().pow(4) {
        let text: String =
            (0..4).map(|place| pieces[number / pieces.len().pow(place) % pieces.len()]).collect();
        let Ok(pattern) = super::address::host(&text) else {
            continue;
        };
        taken += 1;
        if taken % 7 != 0 {
            continue;
        }
        let config = read_text(&SITE.replace("a.example", &pattern.to_string()));
        let config = config.unwrap_or_else(|problems| panic!("{text}: {problems}"));
        let compiled = Sites::compile(config.site_rules(), Ports::default());
        assert!(compiled.is_ok(), "{text}: {:?}", compiled.err());
    }
    assert!(taken > 100, "{taken}");
}

#[test]
fn a_flood_of_problems_is_cut_and_stays_an_error() {
    let rules = "{ name = \"a\", path = \"a\" },\n".repeat(3_000);
    let text = format!("{SITE}dispatch = [\n{rules}]\n");
    let problems = read_text(&text).expect_err("no path starts with a slash");
    assert_eq!(problems.all().len(), 1_000);
}
