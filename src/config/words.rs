//! The words of every message: what happened, what stands beside the mark, what to do.

use std::io::ErrorKind;

use crate::config::address::{BadHost, BadListen, BadUpstream};
use crate::config::amount::Amount;
use crate::config::message::{BadStore, CertificateForm, Expected, What};
use crate::dispatch::{LITERAL_BYTES_MAX, Place, RULE_ELEMENTS_MAX};
use crate::http::BadNetwork;

/// The parts of a message; `label` and `advice` may be empty.
pub(super) struct Words {
    pub message: String,
    pub label: String,
    pub advice: String,
}

fn words(message: impl Into<String>, label: impl Into<String>, advice: impl Into<String>) -> Words {
    Words { message: message.into(), label: label.into(), advice: advice.into() }
}

/// A place as it stands in a sentence; flags have no line.
pub(super) fn show_place(place: &Place) -> String {
    let file = place.file.display();
    if place.line == 0 { file.to_string() } else { format!("{file}:{}", place.line) }
}

/// `a, b or c`
fn either(list: &[&str]) -> String {
    match list {
        [] => String::new(),
        [one] => format!("\"{one}\""),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{} or \"{last}\"", most.join(", "))
        }
    }
}

impl What {
    pub(super) fn words(&self) -> Words {
        match self {
            Self::FileUnreadable { path, cause } => words(
                format!("cannot read {}: {}", path.display(), io_cause(*cause)),
                "",
                match cause {
                    ErrorKind::NotFound => {
                        "check the path; one in a file is relative to the directory of that file"
                    }
                    ErrorKind::PermissionDenied => "let the user that starts Portcullis read it",
                    ErrorKind::IsADirectory => "name the files in it, such as \"directory/*.toml\"",
                    _ => "check the file and the disk it is on",
                },
            ),
            Self::NotUtf8 {} => words(
                "the file is not UTF-8",
                "from here on",
                "save it as UTF-8; a certificate or an archive named by mistake looks like this too",
            ),
            Self::FileTooLarge { path } => words(
                format!("{} is larger than 16MiB", path.display()),
                "",
                "check that it is the right file; split one that is",
            ),
            Self::MatchesNothing { key, pattern, path } => words(
                format!("`{key}` matches no file: \"{pattern}\""),
                format!("looked for {path}"),
                "check the path, which is relative to the directory of this file, or remove the entry",
            ),
            Self::BadGlob { pattern } => words(
                format!("\"{pattern}\" is not a pattern"),
                "`*` and `**` stand alone between slashes or in a name, `[` is closed by `]`",
                "write `[*]` for a star and `[[]` for a bracket in a name",
            ),
            Self::IncludedTwice { path, first } => words(
                format!("{} is read already", path.display()),
                first.as_ref().map_or_else(
                    || "it is the file that Portcullis was started with".to_owned(),
                    |first| format!("first named at {}", show_place(first)),
                ),
                "name each file once, or write a pattern that leaves it out",
            ),
            Self::IncludeTooDeep {} => words(
                "`include` inside `include` goes more than 8 files deep",
                "not followed",
                "name the files in the first file, with a pattern such as \"sites/*.toml\"",
            ),
            Self::IncludeNotSites { key } => words(
                format!("`{key}` in an included file"),
                "an included file holds `[[site]]` and `include` only",
                "move it to the file that Portcullis is started with",
            ),
            Self::TooMany { what, most } => words(
                format!("more than {most} {what}"),
                "this one and those after it are left out",
                "split them over several sites or processes",
            ),
            Self::Syntax { message, expected } => words(
                message.clone(),
                expected.as_ref().map_or_else(String::new, |expected| format!("expected {expected}")),
                "this is not TOML (https://toml.io): a line is `key = value`, text stands in quotes, a table is `[name]`",
            ),
            Self::KeyTwice { key, first } => words(
                format!("`{key}` is written twice"),
                first.map_or_else(|| "the second time".to_owned(), |line| format!("first in line {line}")),
                "keep one of them",
            ),
            Self::UnknownKey { key, table, near, elsewhere, known } => {
                let place = if table.is_empty() {
                    "at the top of the file".to_owned()
                } else {
                    format!("in {table}")
                };
                let message = format!("unknown key `{key}` {place}");
                match (near, elsewhere) {
                    (Some(near), _) => words(message, "no key has this name", format!("write `{near}`")),
                    (None, Some("")) => words(
                        message,
                        "it is a key of the top",
                        format!("move `{key}` to the top of the file, above the first `[table]`"),
                    ),
                    (None, Some(table)) => {
                        words(message, format!("it is a key of {table}"), format!("move `{key}` to {table}"))
                    }
                    (None, None) => words(
                        message,
                        "no key has this name",
                        format!("remove it; the keys here are {}", known.join(", ")),
                    ),
                }
            }
            Self::Unavailable { key } => words(
                format!("`{key}` is not available in this version of Portcullis"),
                "nothing would enforce it",
                "remove it, or run a version that has it",
            ),
            Self::MissingKey { key, table } => {
                words(format!("`{key}` is missing in {table}"), "", format!("add {}", example(table, key)))
            }
            Self::WrongType { key, expected, found } => {
                let (kind, advice) = expected.words(key);
                words(format!("`{key}` must be {kind}"), format!("this is {found}"), advice)
            }
            Self::BadDuration { text, why } => words(
                format!("\"{text}\" is not a duration"),
                amount(*why, "d, h, m, s and ms"),
                match why {
                    Amount::NoUnit => {
                        format!("write \"{text}s\" for seconds, or \"{text}m\", \"{text}h\", \"{text}d\"")
                    }
                    _ => "write a whole number with a unit, such as \"30s\", \"5m\" or \"1h30m\"".to_owned(),
                },
            ),
            Self::BadSize { text, why } => words(
                format!("\"{text}\" is not a size"),
                amount(*why, "B, KiB, MiB, GiB, TiB and kB, MB, GB, TB"),
                match why {
                    Amount::NoUnit => format!(
                        "write \"{text}B\" for octets, or \"{text}KiB\", \"{text}MiB\", \"{text}GiB\""
                    ),
                    _ => "write a whole number with a unit, such as \"64KiB\" or \"1GiB\"".to_owned(),
                },
            ),
            Self::NotANumber { text } => {
                words(format!("\"{text}\" is not a whole number"), "", "write it in digits, such as 1000")
            }
            Self::WholeSeconds { text } => words(
                format!("\"{text}\" is not a number of whole seconds"),
                "clients are told this time in seconds",
                "leave the milliseconds out",
            ),
            Self::OutOfRange { key, text, least, most } => words(
                format!("`{key}` cannot be {text}"),
                format!("from {least} to {most}"),
                format!("write at least {least} and at most {most}"),
            ),
            Self::UnknownWord { key, text, words: known, near } => words(
                format!("`{key}` cannot be \"{text}\""),
                "no such word",
                near.map_or_else(|| format!("write {}", either(known)), |near| format!("write \"{near}\"")),
            ),
            Self::Empty { key } => {
                words(format!("`{key}` is empty"), "nothing is named here", format!("write {}", filled(key)))
            }
            Self::ListedTwice { key, text, first } => words(
                format!("\"{text}\" is listed twice in `{key}`"),
                format!("first at {}", show_place(first)),
                "keep one of them",
            ),
            Self::BadListenAddress { text, why } => listen(text, *why),
            Self::BadNetworkAddress { text, why } => {
                let (label, advice) = match why {
                    BadNetwork::NotAnAddress => (
                        "an IP address belongs here, with or without the length of a prefix",
                        "write \"10.0.0.0/8\" for a network, \"192.0.2.7\" for one address".to_owned(),
                    ),
                    BadNetwork::Prefix => (
                        "after `/` stands the number of bits that count",
                        "write at most 32 for IPv4, such as \"10.0.0.0/8\", and at most 128 for IPv6"
                            .to_owned(),
                    ),
                    BadNetwork::BitsBehind(network) => (
                        "the address has bits behind its prefix",
                        format!("write \"{network}\" for the whole network, or the address alone"),
                    ),
                };
                words(format!("\"{text}\" is not a network"), label, advice)
            }
            Self::ListenBoth { text, first } => words(
                format!("\"{text}\" is an address for http and for https"),
                format!("first at {}", show_place(first)),
                "give each its own port, such as 80 and 443",
            ),
            Self::NothingListens {} => words(
                "neither `http` nor `https` has an address",
                "nothing would be served",
                "write http = [\"[::]:80\"], or leave one of them out for its default",
            ),
            Self::AdminToken {} => words(
                "`listen` in [admin] without `token_file`",
                "anybody who reaches the address could reload and drain",
                "add token_file = \"admin.token\", a file with a token: openssl rand -hex 32",
            ),
            Self::BadName { text } => words(
                format!("\"{text}\" is not a name for a site"),
                "1 to 64 letters, digits, `-`, `_` and `.`, the first no `.`",
                "choose a short name: it stands in logs, metrics and file names, visitors do not see it",
            ),
            Self::NameTwice { name, first } => words(
                format!("two sites have the name \"{name}\""),
                format!("first at {}", show_place(first)),
                "give each site its own name",
            ),
            Self::BadHostName { text, why } => {
                let (label, advice) = host(text, *why);
                words(format!("\"{text}\" is not a host"), label, advice)
            }
            Self::HostTwice { host, site, first } => words(
                format!("\"{host}\" is claimed twice"),
                format!("first by site \"{site}\" at {}", show_place(first)),
                "leave each host to one site, once, in `hosts` or in `aliases`",
            ),
            Self::AliasWithoutCanonical { first } => words(
                format!("aliases have no host to redirect to: the first of `hosts` is \"{first}\""),
                "a redirect needs one name",
                "put the canonical name first in `hosts`, or write alias = \"serve\"",
            ),
            Self::BadLanguage { text } => words(
                format!("\"{text}\" is not a language code"),
                "2 or 3 letters, then parts of letters and digits after `-`",
                "write codes as they stand in URLs, such as \"en\", \"nl\" or \"zh-hant\"",
            ),
            Self::BadCookieName { text } => words(
                format!("\"{text}\" is not the name of a cookie"),
                "letters, digits and !#$%&'*+-.^_`|~ (RFC 6265)",
                "write the name alone, without `=` and value",
            ),
            Self::BadUpstreamAddress { text, why } => upstream(text, *why),
            Self::CertificateForm { why } => {
                let (message, label) = match why {
                    CertificateForm::Nothing => ("source \"files\" names no file", ""),
                    CertificateForm::Both => {
                        ("`directory` beside `certificate` or `key`", "one or the other")
                    }
                    CertificateForm::NoKey => ("`certificate` without its `key`", ""),
                    CertificateForm::NoCertificate => ("`key` without its `certificate`", ""),
                };
                words(
                    message,
                    label,
                    "write certificate = \"chain.pem\", key = \"key.pem\", or directory = \"tls/example\"",
                )
            }
            Self::SourceKey { key, source } => words(
                format!("`{key}` is no setting of source \"{source}\""),
                "nothing would read it",
                match *source {
                    "files" => "source \"files\" has `certificate`, `key` and `ocsp`, or `directory`",
                    "command" => "source \"command\" has `run` and `timeout`",
                    "http" => "source \"http\" has `url`, `timeout` and `ca`",
                    _ => {
                        "source \"self_signed\" has `key`, a file; for a certificate of your own write source = \"files\""
                    }
                },
            ),
            Self::FleetSecret {} => words(
                "`fleet_secret_file` has no meaning: sessions are not kept in tickets, and there is no `store`",
                "only tickets and what lies in the store are sealed with it",
                "write mode = \"tickets\", or remove `fleet_secret_file`",
            ),
            Self::NoSuite { version } => words(
                format!("`cipher_suites` has none for TLS {version}"),
                "`tls_versions` has that version",
                format!("add a suite of TLS {version}, or take \"{version}\" out of `tls_versions`"),
            ),
            Self::BadSourceUrl { text, why } => {
                let label = match why {
                    BadUpstream::Path => "a path has ASCII letters and no spaces".to_owned(),
                    BadUpstream::UnknownScheme => "schemes are http, https and unix".to_owned(),
                    why => upstream(text, *why).label,
                };
                words(
                    format!("\"{text}\" is not a URL to ask"),
                    label,
                    "write \"http://127.0.0.1:9000/certificate\", an https URL, \"unix:/run/certificates.sock\" or \"unix:/run/certificates.sock:/path\"",
                )
            }
            Self::BadFieldName { text } => words(
                format!("\"{text}\" is not the name of a field of your own"),
                "letters, digits and `-`; not one that HTTP or a front end uses",
                "write a name such as \"X-Client-Identity\"",
            ),
            Self::BadStore { why } => {
                let label = match why {
                    BadStore::Scheme => "schemes are redis, and rediss with TLS",
                    BadStore::Credentials => {
                        "a `%` stands before two hexadecimal digits; write `%25` for itself"
                    }
                    BadStore::Host => "one host: a name, an IPv4 address, or an IPv6 address in brackets",
                    BadStore::Port => "a port is a number from 1 to 65535",
                    BadStore::Database => "the number of a database follows the host, and nothing else",
                    BadStore::Rest => {
                        "no query, fragment, space or letter outside ASCII: write those as `%20`"
                    }
                };
                words(
                    "this is not the URL of a store",
                    label,
                    "write \"redis://store.internal\", or in full \"rediss://user:password@store.internal:6379/0\"",
                )
            }
            Self::StorePassword {} => words(
                "the store has two passwords",
                "one is in `url`",
                "leave it to the file: whoever reads this configuration then does not know it",
            ),
            Self::StoreSecret {} => words(
                "`store` without `fleet_secret_file`: keys are never put there unsealed",
                "",
                "write fleet_secret_file = \"/etc/portcullis/fleet.secret\" in [session_cache], the same 32 bytes or more on every machine",
            ),
            Self::StoreUnused {} => words(
                "nothing is shared by way of `store`: no site orders certificates",
                "only certificates of source \"acme\" are",
                "write certificate = [{ source = \"acme\" }], or remove `store`",
            ),
            Self::StoreWithoutTls {} => words(
                "`ca` is for a store with TLS",
                "this one is asked without",
                "write a `rediss://` url, or take `ca` out",
            ),
            Self::Preload {} => words(
                "`preload` without what browsers ask for it",
                "they want `include_subdomains` and a `max_age` of at least 365d",
                "write include_subdomains = true, max_age = \"365d\", or leave `preload` out",
            ),
            Self::WithoutTls { key } => words(
                format!("`{key}` is for upstreams with TLS"),
                "this one has none",
                format!("write an `https://` or `h2s://` url, or take `{key}` out"),
            ),
            Self::BadServerName { text } => words(
                format!("\"{text}\" is not a name a certificate could have"),
                "",
                "write a host such as \"app.internal\"",
            ),
            Self::BadTarget { text } => words(
                format!("\"{text}\" is not a path to ask for"),
                "",
                "write visible ASCII that begins with `/`, such as \"/health\"",
            ),
            Self::BadAuthority { text } => words(
                format!("\"{text}\" is not a host"),
                "",
                "write a name or an address, with or without a port, such as \"example.com\"",
            ),
            Self::EjectionOrder {} => words(
                "`ejection` is longer than `ejection_max`",
                "",
                "let the first pause be no longer than the longest",
            ),
            Self::BurstWithoutRate {} => words(
                "`requests_burst_per_address` means nothing without `requests_per_address`",
                "",
                "write how many requests a second an address has, too",
            ),
            Self::BadDirectoryUrl { text } => words(
                format!("\"{text}\" is not the URL of a directory"),
                "https://, a host and a path (RFC 8555 §7.1.1)",
                "write the URL that the CA gives, such as \"https://acme-v02.api.letsencrypt.org/directory\"",
            ),
            Self::BadContact { text } => words(
                format!("\"{text}\" is not a contact"),
                "an e-mail address, with or without `mailto:`",
                "write contact = [\"you@example.com\"]",
            ),
            Self::AcmeDns { has_command: false } => words(
                "challenge \"dns-01\" without the program that sets records",
                "",
                "write dns = { run = [\"/usr/local/bin/set-record\"] }, or another `challenge`",
            ),
            Self::AcmeDns { has_command: true } => words(
                "`dns` has no meaning without challenge = \"dns-01\"",
                "no record would be set",
                "write challenge = \"dns-01\", or leave `dns` out",
            ),
            Self::AcmeNames { site } => words(
                format!("site \"{site}\" has no host that a certificate can be ordered for"),
                "wildcards need challenge = \"dns-01\", and `*` is no name",
                "add the hosts by name, or write challenge = \"dns-01\" with its `dns`",
            ),
            Self::AcmeNotOrdered { host } => words(
                format!("no certificate will be ordered for \"{host}\""),
                "wildcards need challenge = \"dns-01\", and `*` is no name",
                "add the hosts by name, or write challenge = \"dns-01\" with its `dns`; or have another source for them",
            ),
            Self::NoHttpsListener { site } => words(
                format!("site \"{site}\" has HTTPS, but nothing listens for it"),
                "`https` in [listen] is empty",
                "add an address to `https` in [listen], or write ssl = false",
            ),
            Self::WithoutSsl { key, site } => words(
                format!("`{key}` has no meaning: site \"{site}\" has ssl = false"),
                "only for HTTPS",
                format!("remove `{key}`, or write ssl = true"),
            ),
            Self::SealedWithoutSecure { site } => words(
                format!("`session_protection` has no meaning: site \"{site}\" has is_secure = false"),
                "session cookies are not kept to HTTPS there",
                "write is_secure = true, or leave `session_protection` out",
            ),
            Self::SealsNothing { site } => words(
                format!("site \"{site}\" has no `session_cookies` to seal"),
                "nothing is protected",
                "write session_cookies = [\"z_sid\"] with the names of its cookies",
            ),
            Self::RuleWithoutSsl { rule, site } => words(
                format!("rule \"{rule}\" wants HTTPS, but site \"{site}\" has ssl = false"),
                "there is nowhere to redirect to",
                "write ssl = true for the site, or ssl = \"any\" for the rule",
            ),
            Self::HttpRuleUnderHsts { rule, site } => words(
                format!("rule \"{rule}\" wants HTTP, but site \"{site}\" has `hsts`"),
                "browsers go back to HTTPS, in an endless loop",
                "write ssl = \"any\" for the rule, or remove `hsts`",
            ),
            Self::BadPath { why } => {
                // The other room says both in one line, "what; what to do".
                let text = why.to_string();
                let (label, advice) = text.split_once("; ").unwrap_or((&text, ""));
                words("this path cannot be read", label, advice)
            }
            Self::BadPattern { rule, pattern, why } => words(
                format!("rule \"{rule}\" has a regular expression that cannot be read: \"{pattern}\""),
                why.message(),
                "write it in the syntax of Erlang's `re` (PCRE), on bytes",
            ),
            Self::PathTooLong { rule } => words(
                format!("the path of rule \"{rule}\" has more than {RULE_ELEMENTS_MAX} elements"),
                "",
                "end it with \"*\"",
            ),
            Self::LiteralTooLong { rule } => words(
                format!("the path of rule \"{rule}\" has a segment of more than {LITERAL_BYTES_MAX} octets"),
                "",
                "shorten it, or put a variable in its place",
            ),
            Self::DispatchFile { why } => {
                let text = why.to_string();
                let (message, advice) = text.split_once("; ").unwrap_or((&text, ""));
                words(message, "", advice)
            }
        }
    }
}

impl Expected {
    /// What it is called, and what to do.
    fn words(self, key: &str) -> (&'static str, String) {
        match self {
            Self::Duration => ("a duration, in quotes", format!("write {key} = \"30s\"")),
            Self::Size => ("a size, in quotes", format!("write {key} = \"64KiB\"")),
            Self::SizeOrUnlimited => ("a size, in quotes", format!("write {key} = \"10MiB\", or \"unlimited\"")),
            Self::Count(example) => ("a whole number, without quotes", format!("write {key} = {example}")),
            Self::Text => ("text, in quotes", format!("write {key} = \"text\"")),
            Self::Flag => ("true or false, without quotes", format!("write {key} = true, or false")),
            Self::Texts(example) => ("an array of texts", format!("write {key} = [{example}]")),
            Self::Table(example) => ("a table", format!("write {example}")),
            Self::Tables(example) => ("an array of tables", format!("write {example}")),
            Self::Workers => ("\"auto\" or a whole number", "write workers = \"auto\", or workers = 4".to_owned()),
            Self::Store => (
                "the URL of a store, or a table with it",
                "store = \"redis://store.internal\", or store = { url = \"rediss://store.internal\", password_file = \"store.password\" }".to_owned(),
            ),
            Self::Listeners(example) => (
                "an array of addresses",
                format!("write {key} = [\"{example}\"], or {key} = [{{ address = \"{example}\", … }}]"),
            ),
            Self::Upstreams(example) => (
                "an array of texts or tables",
                format!("write {key} = [{example}], or {key} = [{{ url = {example}, weight = 2 }}]"),
            ),
            Self::Ssl => ("true, false, \"any\" or \"keep\"", "write ssl = true, or leave it out".to_owned()),
            Self::Path => (
                "a path, or an array of its segments",
                "write path = \"/page/{id}\", or path = [\"page\", \"{id}\"]".to_owned(),
            ),
            Self::Sources => (
                "an array of sources",
                "write certificate = [{ source = \"files\", certificate = \"chain.pem\", key = \"key.pem\" }]".to_owned(),
            ),
        }
    }
}

fn io_cause(cause: ErrorKind) -> String {
    match cause {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        other => other.to_string(),
    }
}

fn amount(why: Amount, units: &str) -> String {
    match why {
        Amount::NoNumber => "a whole number belongs here".to_owned(),
        Amount::NoUnit => "a unit is missing".to_owned(),
        Amount::UnknownUnit => format!("the units are {units}"),
        Amount::UnitsOutOfOrder => "each unit once, the longest first".to_owned(),
        Amount::TooLarge => "too large to count".to_owned(),
    }
}

fn listen(text: &str, why: BadListen) -> Words {
    let (label, advice) = match why {
        BadListen::NoPort => ("the port is missing", format!("write \"{text}:443\" with the port you mean")),
        BadListen::BadPort => ("a port is a number from 0 to 65535", "write an address such as \"[::]:443\"".to_owned()),
        BadListen::PortAlone => ("this is a port alone", format!("write \"[::]:{text}\" for all addresses")),
        BadListen::NoBrackets => (
            "an IPv6 address stands in brackets before its port",
            "write an address such as \"[::1]:443\"".to_owned(),
        ),
        BadListen::NotAnAddress => (
            "an IP address and a port belong here",
            "write \"[::]:443\" for all addresses, \"0.0.0.0:443\" for IPv4 alone, \"127.0.0.1:443\" for this machine"
                .to_owned(),
        ),
        BadListen::Url => ("this is a URL", "write the address and the port alone, such as \"[::]:443\"".to_owned()),
    };
    words(format!("\"{text}\" is not an address to listen on"), label, advice)
}

fn host(text: &str, why: BadHost) -> (String, String) {
    let (label, advice) = match why {
        BadHost::Empty => ("a name is missing", "write a name such as \"example.com\"".to_owned()),
        BadHost::Url => ("this is a URL", "write the name alone, such as \"example.com\"".to_owned()),
        BadHost::Port => {
            ("a host has no port here", "leave out `:` and the port; they belong in [listen]".to_owned())
        }
        BadHost::Path => {
            ("a host has no path", "leave out `/` and what follows; paths belong in `dispatch`".to_owned())
        }
        BadHost::TrailingDot => (
            "without a dot at the end",
            format!("write \"{}\"; requests with the dot are understood too", text.trim_end_matches('.')),
        ),
        BadHost::NotAscii => (
            "names are written as they are in DNS",
            "write its ASCII form, which starts with \"xn--\"".to_owned(),
        ),
        BadHost::Wildcard => (
            "`*` stands alone, or for whole labels at the front",
            "write \"*.example.com\" for every name below example.com, or \"*\" for the fallback site"
                .to_owned(),
        ),
        BadHost::EmptyLabel => {
            ("two dots, or one at the front", "write a name such as \"example.com\"".to_owned())
        }
        BadHost::TooLong => (
            "at most 63 characters between dots and 253 in all (RFC 1035)",
            "no client can ask for such a name; shorten it".to_owned(),
        ),
        BadHost::Hyphen => {
            ("`-` stands inside a label only", "write a name such as \"my-site.example.com\"".to_owned())
        }
        BadHost::Character(bad) => {
            return (
                format!("{bad:?} is no character of a name"),
                "names hold letters, digits, `-`, `_` and dots".to_owned(),
            );
        }
        BadHost::BadIpv4 => (
            "it ends in a number, so clients read an IPv4 address",
            "write four numbers from 0 to 255, or a name".to_owned(),
        ),
        BadHost::BadIpv6 => ("no IPv6 address", "write an address such as \"[2001:db8::1]\"".to_owned()),
        BadHost::NoBrackets => ("an IPv6 address stands in brackets", format!("write \"[{text}]\"")),
    };
    (label.to_owned(), advice)
}

fn upstream(text: &str, why: BadUpstream) -> Words {
    const FORMS: &str =
        "write \"http://127.0.0.1:8000\", \"https://app.example:443\" or \"unix:/run/app.sock\"";
    let (label, advice) = match why {
        BadUpstream::NoScheme if text.starts_with('/') => {
            ("a scheme is missing", format!("write \"unix:{text}\""))
        }
        BadUpstream::NoScheme if !text.is_empty() && !text.contains(char::is_whitespace) => {
            ("a scheme is missing", format!("write \"http://{text}\""))
        }
        BadUpstream::NoScheme => ("a scheme is missing", FORMS.to_owned()),
        BadUpstream::UnknownScheme => (
            "schemes are http, https and unix; for HTTP/2, as gRPC needs it, h2, h2s and h2+unix",
            FORMS.to_owned(),
        ),
        BadUpstream::Path => (
            "an upstream has no path",
            "leave out what follows the host and port: requests keep their own target".to_owned(),
        ),
        BadUpstream::User => ("an upstream has no user", "leave out what is before `@`".to_owned()),
        BadUpstream::BadPort => ("a port is a number from 1 to 65535", FORMS.to_owned()),
        BadUpstream::Host(why) => {
            let (label, _) = host(text, why);
            return words(format!("\"{text}\" is not an upstream"), label, FORMS);
        }
        BadUpstream::UnixRelative => (
            "the path of a socket starts with `/`",
            "write it in full, such as \"unix:/run/app.sock\"".to_owned(),
        ),
        BadUpstream::UnixUrl => {
            let (scheme, path) = text.split_once(':').unwrap_or(("unix", text));
            ("one `/` after `unix:`", format!("write \"{scheme}:/{}\"", path.trim_start_matches('/')))
        }
        BadUpstream::UnixTooLong => (
            "the path of a socket has at most 107 octets, none of them zero (unix(7))",
            "choose a shorter directory".to_owned(),
        ),
    };
    words(format!("\"{text}\" is not an upstream"), label, advice)
}

/// How a missing key is written.
fn example(table: &str, key: &str) -> String {
    match (table, key) {
        ("[[site]]", "name") => "name = \"example\"".to_owned(),
        ("[[site]]", "hosts") => {
            "hosts = [\"example.com\"], or hosts = [\"*\"] for the fallback site".to_owned()
        }
        ("[[site]]", "upstream") => "upstream = [\"http://127.0.0.1:8000\"]".to_owned(),
        ("`store`", _) => "url = \"redis://store.internal\"".to_owned(),
        (_, "address") => "address = \"[::]:443\"".to_owned(),
        ("`certificate`", "run") => "run = [\"/usr/local/bin/site-cert\"]".to_owned(),
        ("`certificate`", "url") => "url = \"http://127.0.0.1:9000/certificate\"".to_owned(),
        ("`client_auth`", _) => "ca = \"clients.pem\"".to_owned(),
        ("`eab`", "key_id") => "key_id = \"kid-1\", the name of the key".to_owned(),
        ("`eab`", _) => "key_file = \"eab.key\", a file with the key in base64url".to_owned(),
        ("`dns`", _) => "run = [\"/usr/local/bin/set-record\"]".to_owned(),
        ("`certificate`", _) => "source = \"files\" or source = \"self_signed\"".to_owned(),
        ("[access_log]", _) => "to = \"/var/log/portcullis/access.log\", \"stdout\" or \"syslog\"".to_owned(),
        ("`dispatch`", "name") => "name = \"page\"".to_owned(),
        ("`dispatch`", _) => "path = \"/page/{id}\"".to_owned(),
        _ => "[[site]] with `name`, `hosts` and `upstream`, or `include` the files that have it".to_owned(),
    }
}

/// How an empty list or text is written.
fn filled(key: &str) -> String {
    match key {
        "hosts" => "hosts = [\"example.com\"], or hosts = [\"*\"] for the fallback site".to_owned(),
        "upstream" => "upstream = [\"http://127.0.0.1:8000\"]".to_owned(),
        "to" => "to = \"/var/log/portcullis/access.log\", \"stdout\" or \"syslog\"".to_owned(),
        "certificate" => "certificate = [{ source = \"self_signed\" }], or leave it out".to_owned(),
        "run" => "run = [\"/usr/local/bin/program\"]".to_owned(),
        "cipher_suites" => "cipher_suites = [\"TLS_AES_128_GCM_SHA256\"], or leave it out".to_owned(),
        "tls_versions" => "tls_versions = [\"1.2\", \"1.3\"], or leave it out".to_owned(),
        _ => "a value, or leave it out".to_owned(),
    }
}
