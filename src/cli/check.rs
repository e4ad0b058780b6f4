//! `portcullis check`: everything that is wrong with a configuration, read or proved, before it serves.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::files::OnDisk;
use super::read;
use crate::config::{Config, Files, Level, Overrides, Problem, Remark};
use crate::control;
use crate::dispatch::proof::{self, Finding, Proved, Severity, SiteFacts};
use crate::dispatch::{Place, Sites};

/// Exit 0: good, with or without warnings; 1: not.
pub fn main(path: &Path, json: bool) -> ExitCode {
    let config = match read(path, &Overrides::default()) {
        Ok(config) => config,
        Err(problems) => {
            show(problems.all(), json);
            return ExitCode::FAILURE;
        }
    };
    let (mut on_disk, mut texts) = (OnDisk, Texts::default());
    let mut problems = match problems(&config, &mut on_disk, &mut texts) {
        Ok(problems) => problems,
        Err(failure) => return failed(&failure),
    };
    let verified = control::verify(config);
    if let Ok((_, warnings)) = &verified {
        for warning in warnings {
            problems.push(about_certificate(warning, texts.line(&warning.place, &mut on_disk)));
        }
    }
    show(&problems, json);
    match verified {
        Err(failure) => failed(&failure),
        Ok(_) if problems.iter().any(|problem| problem.level() == Level::Error) => ExitCode::FAILURE,
        Ok((summary, _)) => {
            if !json {
                println!("{}: good: {summary}", path.display());
            }
            ExitCode::SUCCESS
        }
    }
}

/// The lines of the files that problems are in. Each file is read and cut once: with a warning for each of ten
/// thousand sites, all of it for each would take minutes.
#[derive(Default)]
struct Texts(HashMap<Arc<Path>, Vec<String>>);

impl Texts {
    fn line(&mut self, place: &Place, files: &mut dyn Files) -> Option<&str> {
        let lines = self.0.entry(place.file.clone()).or_insert_with(|| {
            let bytes = files.read(&place.file).unwrap_or_default();
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
        });
        lines.get((place.line as usize).checked_sub(1)?).map(String::as_str)
    }
}

fn show(problems: &[Problem], json: bool) {
    if json {
        println!("{}", problems.iter().map(Problem::to_json).collect::<serde_json::Value>());
    } else {
        problems.iter().for_each(|problem| eprintln!("{problem}"));
    }
}

fn about_certificate(found: &control::SiteWarning, line: Option<&str>) -> Problem {
    let remark = Remark {
        code: "certificate",
        message: format!("site \"{}\": {}", found.site, found.warning),
        label: String::new(),
        advice: found.warning.remedy().to_owned(),
    };
    Problem::elsewhere(Level::Warning, remark, &found.place, line)
}

fn failed(failure: &control::StartFailure) -> ExitCode {
    eprintln!("portcullis: {failure}");
    ExitCode::FAILURE
}

/// The warnings of reading, then what can be proved of a configuration without errors.
fn problems(
    config: &Config,
    files: &mut dyn Files,
    texts: &mut Texts,
) -> Result<Vec<Problem>, control::StartFailure> {
    let mut problems = config.warnings.clone();
    let sites = control::sites(config, config.listen.ports(0, 0))?;
    problems.extend(proved_in(config, &sites, files, texts));
    Ok(problems)
}

/// What can be proved of a configuration without errors; `sites`: as it is served.
pub fn proved(config: &Config, sites: &Sites, files: &mut dyn Files) -> Vec<Problem> {
    proved_in(config, sites, files, &mut Texts::default())
}

fn proved_in(config: &Config, sites: &Sites, files: &mut dyn Files, texts: &mut Texts) -> Vec<Problem> {
    let facts: Vec<SiteFacts<'_>> = config
        .sites
        .iter()
        .map(|site| SiteFacts {
            place: site.place.clone(),
            // A max-age of zero makes browsers forget, so it sends nobody back.
            hsts: site
                .hsts
                .filter(|hsts| !hsts.max_age.is_zero())
                .map(|hsts| proof::Hsts { include_subdomains: hsts.include_subdomains }),
            session_cookies: &site.session_cookies,
        })
        .collect();
    let mut problems = Vec::new();
    for finding in proof::prove(sites, &facts) {
        // Two ports that the system chooses are two ports.
        if finding.proved == (Proved::OnePort { port: 0 }) {
            continue;
        }
        problems.push(problem(&finding, texts.line(&finding.place, files)));
    }
    problems
}

/// A finding in the layout of the configuration's problems.
fn problem(finding: &Finding, line: Option<&str>) -> Problem {
    let level = match finding.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
    };
    // What happens, then what to do.
    let said = finding.proved.to_string();
    let (message, advice) = said.rsplit_once("; ").unwrap_or((&said, ""));
    let label = finding
        .other
        .as_ref()
        .filter(|other| **other != finding.place)
        .map(|other| format!("see {}:{}:{}", other.file.display(), other.line, other.column));
    let remark = Remark {
        code: code(&finding.proved),
        message: message.to_owned(),
        label: label.unwrap_or_default(),
        advice: advice.to_owned(),
    };
    Problem::elsewhere(level, remark, &finding.place, line)
}

fn code(proved: &Proved) -> &'static str {
    match proved {
        Proved::Shadowed { .. } => "rule-shadowed",
        Proved::SiteWithoutHttps { .. } => "rule-without-ssl",
        Proved::NoHttpsListener { .. } => "rule-without-https-listener",
        Proved::NoHttpListener { .. } => "rule-without-http-listener",
        Proved::LoopUnderHsts { .. } => "http-rule-under-hsts",
        Proved::SiteLoopsUnderHsts { .. } => "http-site-under-hsts",
        Proved::CutOffByHsts { .. } => "site-cut-off-by-hsts",
        Proved::SessionDoesNotReach { .. } => "session-does-not-reach",
        Proved::OnePort { .. } => "one-port",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, FilesInMemory};

    fn check(text: &str) -> Vec<Problem> {
        let mut files = FilesInMemory::default().with("site.toml", text);
        let config = config::read(Path::new("site.toml"), &mut files, &Overrides::default());
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        problems(&config, &mut files, &mut Texts::default()).expect("it compiles")
    }

    const SITE: &str =
        "[[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:8000\"]\n";

    #[test]
    fn findings_are_laid_out_as_problems_are() {
        let text = format!(
            "{SITE}dispatch = [\n  {{ name = \"all\", path = \"/x/*\" }},\n  {{ name = \"one\", path = \"/x/y\", ssl = true }},\n]\n"
        );
        let problems = check(&text);
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected = "site.toml:7:3: warning: rule \"one\" is never reached: rule \"all\" before it takes every path it matches, and its ssl = true does nothing
  7 |   { name = \"one\", path = \"/x/y\", ssl = true },
    |   ^ see site.toml:6:3
  do: move it up, or remove it";
        assert_eq!(shown, [expected]);
        let json = problems[0].to_json();
        assert_eq!((json["code"].as_str(), json["level"].as_str()), (Some("rule-shadowed"), Some("warning")));
        assert_eq!(json["line"], 7);
    }

    #[test]
    fn what_sends_browsers_round_for_ever_is_an_error() {
        let hsts = "is_secure = false\nhsts = { max_age = \"30d\" }\n";
        let problems = check(&format!("{SITE}{hsts}"));
        assert_eq!(problems.iter().map(Problem::code).collect::<Vec<_>>(), ["http-site-under-hsts"]);
        assert_eq!(problems[0].level(), Level::Error);
        assert!(check(&format!("{SITE}is_secure = false\nhsts = {{ max_age = \"0s\" }}\n")).is_empty());
    }

    #[test]
    fn ports_the_system_chooses_are_not_one_port() {
        let listen = |http: &str, https: &str| {
            format!("[listen]\nhttp = [\"127.0.0.1:{http}\"]\nhttps = [\"127.0.0.1:{https}\"]\n{SITE}")
        };
        assert!(check(&listen("0", "0")).is_empty());
        let both = format!("[listen]\noutside_http_port = 443\n{SITE}");
        assert_eq!(check(&both).iter().map(Problem::code).collect::<Vec<_>>(), ["one-port"]);
    }

    #[test]
    fn every_finding_says_what_to_do() {
        let name = || "a; b".to_owned();
        for proved in [
            Proved::Shadowed { rule: name(), by: vec![name()], ssl: None },
            Proved::SiteWithoutHttps { rule: name(), site: "s".to_owned() },
            Proved::NoHttpsListener { rule: name() },
            Proved::NoHttpListener { rule: name() },
            Proved::LoopUnderHsts { rule: name(), of: None },
            Proved::SiteLoopsUnderHsts { site: "s".to_owned(), of: Some("t".to_owned()) },
            Proved::CutOffByHsts { site: "s".to_owned(), host: "h".to_owned(), of: "t".to_owned() },
            Proved::SessionDoesNotReach { rule: name(), cookies: vec!["z_sid".to_owned()] },
            Proved::OnePort { port: 80 },
        ] {
            let said = proved.to_string();
            let (_, advice) = said.rsplit_once("; ").unwrap_or((&said, ""));
            let verbs = ["move ", "write ", "add "];
            assert!(verbs.iter().any(|verb| advice.starts_with(verb)), "{said}");
            assert!(!advice.contains("a; b"), "{said}");
        }
    }
}
