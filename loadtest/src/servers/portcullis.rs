//! Portcullis with its default limits and a site's worth of rules.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::process::Command;

use super::Setting;

/// Rules as a site has them: name, path, `ssl` as TOML writes it. The measured paths come to the last ones.
const RULES: &[(&str, &str, Option<&str>)] = &[
    ("home", "/", None),
    ("secure", "/secure/*", Some("true")),
    ("logon", "/logon", Some("true")),
    ("logon_reset", "/logon/reset/{secret}", Some("true")),
    ("logoff", "/logoff", None),
    ("signup", "/signup", Some("true")),
    ("signup_confirm", "/signup/confirm/{key}", Some("true")),
    ("admin", "/admin/*", Some("true")),
    ("api", "/api/{module}/{method}", Some(r#""any""#)),
    ("lib", "/lib/*", Some(r#""any""#)),
    ("image", "/image/*", Some(r#""any""#)),
    ("media", "/media/{id:^[0-9]+$}", Some(r#""any""#)),
    ("media_inline", "/media/inline/{id:^[0-9]+$}", Some(r#""any""#)),
    ("article", "/article/{id:^[0-9]+$}/{slug}", None),
    ("category", "/category/{name}", None),
    ("archive", "/archive/{year:^(19|20)[0-9][0-9]$}/{month:^[01][0-9]$}", None),
    ("feed", "/feed/{type:^(rss|atom)$}/{category}", None),
    ("search", "/search", None),
    ("sitemap", "/sitemap.xml", None),
    ("robots", "/robots.txt", Some(r#""any""#)),
    ("head", "/head", Some(r#""any""#)),
    ("bytes", "/bytes/{size:^[0-9]+$}", Some(r#""any""#)),
];

pub fn prepare(setting: &Setting<'_>, command: &mut Command) -> io::Result<()> {
    let state = setting.directory.join("state");
    fs::create_dir_all(&state)?;
    let file = setting.directory.join("portcullis.toml");
    fs::write(&file, configuration(setting))?;
    command.arg("run").arg("-c").arg(file);
    Ok(())
}

fn configuration(setting: &Setting<'_>) -> String {
    let mut rules = String::new();
    for (name, path, ssl) in RULES {
        let ssl = ssl.map(|ssl| format!(", ssl = {ssl}")).unwrap_or_default();
        // String takes every write. Literal strings: nothing in a pattern is an escape.
        let _ = writeln!(rules, "  {{ name = '{name}', path = '{path}'{ssl} }},");
    }
    format!(
        r#"workers = {workers}
state_directory = "{state}"
log = "warn"

[listen]
http = ["{http}"]
https = ["{https}"]

[[site]]
name = "bench"
hosts = ["{host}"]
certificate = [{{ source = "files", certificate = "{certificate}", key = "{key}" }}]
upstream = ["http://{upstream}"]
dispatch = [
{rules}]
"#,
        host = crate::HOST,
        workers = setting.workers,
        state = setting.directory.join("state").display(),
        http = setting.http,
        https = setting.https,
        certificate = setting.pair.certificate.display(),
        key = setting.pair.key.display(),
        upstream = setting.upstream,
    )
}
