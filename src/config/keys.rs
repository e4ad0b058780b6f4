//! The keys of every table: what the reader accepts, suggests and the reference lists.

use std::time::Duration;

use crate::config::amount;
use crate::config::choice::Choice;
use crate::config::config::ProxyProtocol;
use crate::config::defaults::{self, Bounded};

/// One table of the file.
pub(super) struct Keys {
    /// As written in a file: `[listen]`; the empty string is the top of the file.
    pub table: &'static str,
    pub keys: &'static [Key],
    /// Keys of the product that this version does not have.
    pub unavailable: &'static [&'static str],
}

pub(super) struct Key {
    pub name: &'static str,
    pub shown: Shown,
}

/// What the reference shows as default and as allowed values.
pub(super) enum Shown {
    Duration(&'static Bounded<Duration>),
    Size(&'static Bounded<u64>),
    Count(&'static Bounded<u64>),
    /// Text of the default; the reference says in words what is allowed.
    Text(&'static str),
    Word(fn() -> String),
    Flag(&'static bool),
    /// No default: the key must be written.
    Required,
    /// Off, empty or inherited when not written; the reference says which.
    Absent(&'static str),
}

impl Shown {
    /// The default and the allowed values as the reference shows them; `None` where it needs words.
    pub(super) fn columns(&self) -> (String, Option<String>) {
        let code = |text: &str| format!("`{text}`");
        match self {
            Self::Duration(bounded) => (
                format!("`\"{}\"`", amount::show_duration(bounded.default)),
                Some(format!(
                    "{} to {}",
                    amount::show_duration(bounded.least),
                    amount::show_duration(bounded.most)
                )),
            ),
            Self::Size(bounded) => (
                format!("`\"{}\"`", amount::show_size(bounded.default)),
                Some(format!("{} to {}", amount::show_size(bounded.least), amount::show_size(bounded.most))),
            ),
            Self::Count(bounded) => {
                (code(&bounded.default.to_string()), Some(format!("{} to {}", bounded.least, bounded.most)))
            }
            Self::Text(text) => (code(text), None),
            Self::Word(word) => (format!("`\"{}\"`", word()), None),
            Self::Flag(flag) => (code(&flag.to_string()), None),
            Self::Required => ("required".to_owned(), None),
            Self::Absent(words) => ((*words).to_owned(), None),
        }
    }
}

const fn key(name: &'static str, shown: Shown) -> Key {
    Key { name, shown }
}

pub(super) static TOP: Keys = Keys {
    table: "",
    keys: &[
        key("include", Shown::Absent("none")),
        key("workers", Shown::Text("\"auto\"")),
        key("state_directory", Shown::Word(|| defaults::STATE_DIRECTORY.to_owned())),
        key("user", Shown::Absent("whoever starts it")),
        key("group", Shown::Absent("the user's own")),
        key("pid_file", Shown::Absent("none")),
        key("drain_timeout", Shown::Duration(&defaults::DRAIN_TIMEOUT)),
        key("log", Shown::Word(|| defaults::LOG.word().to_owned())),
        key("listen", Shown::Absent("see below")),
        key("session_cache", Shown::Absent("see below")),
        key("certificate_cache", Shown::Absent("see below")),
        key("limits", Shown::Absent("see below")),
        key("timeouts", Shown::Absent("see below")),
        key("upstream_pool", Shown::Absent("see below")),
        key("sandbox", Shown::Absent("see below")),
        key("access_log", Shown::Absent("off")),
        key("admin", Shown::Absent("see below")),
        key("store", Shown::Absent("none")),
        key("site", Shown::Required),
    ],
    unavailable: &[],
};

pub(super) static LISTEN: Keys = Keys {
    table: "[listen]",
    keys: &[
        key("http", Shown::Text("[\"[::]:80\"]")),
        key("https", Shown::Text("[\"[::]:443\"]")),
        key("outside_http_port", Shown::Absent("the port of the first `http` address")),
        key("outside_https_port", Shown::Absent("the port of the first `https` address")),
        key("trusted_proxies", Shown::Absent("none")),
        key("proxy_protocol", Shown::Absent("none")),
    ],
    unavailable: &[],
};

/// What an address to listen on may be written as, in place of a text.
pub(super) static LISTENER: Keys = Keys {
    table: "an entry of `http` or `https`",
    keys: &[
        key("address", Shown::Required),
        key("trusted_proxies", Shown::Absent("those of `[listen]`")),
        key("proxy_protocol", Shown::Absent("those of `[listen]`")),
    ],
    unavailable: &[],
};

pub(super) static SESSION_CACHE: Keys = Keys {
    table: "[session_cache]",
    keys: &[
        key("mode", Shown::Word(|| defaults::SESSION_MODE.word().to_owned())),
        key("size", Shown::Count(&defaults::SESSION_CACHE_SIZE)),
        key("lifetime", Shown::Duration(&defaults::SESSION_LIFETIME)),
        key("fleet_secret_file", Shown::Absent("none")),
    ],
    unavailable: &[],
};

pub(super) static CERTIFICATE_CACHE: Keys = Keys {
    table: "[certificate_cache]",
    keys: &[
        key("size", Shown::Count(&defaults::CERTIFICATE_CACHE_SIZE)),
        key("lifetime", Shown::Duration(&defaults::CERTIFICATE_CACHE_LIFETIME)),
        key("unknown_names_per_second", Shown::Count(&defaults::UNKNOWN_NAMES_PER_SECOND)),
    ],
    unavailable: &[],
};

pub(super) static STORE: Keys = Keys {
    table: "`store`",
    keys: &[
        key("url", Shown::Required),
        key("password_file", Shown::Absent("that of `url`")),
        key("ca", Shown::Absent("the system's authorities")),
    ],
    unavailable: &[],
};

pub(super) static LIMITS: Keys = Keys {
    table: "[limits]",
    keys: &[
        key("request_head_bytes", Shown::Size(&defaults::REQUEST_HEAD_BYTES)),
        key("headers", Shown::Count(&defaults::HEADERS)),
        key("request_body_bytes", Shown::Size(&defaults::REQUEST_BODY_BYTES)),
        key("response_head_bytes", Shown::Size(&defaults::RESPONSE_HEAD_BYTES)),
        key("response_headers", Shown::Count(&defaults::RESPONSE_HEADERS)),
        key("body_rate", Shown::Size(&defaults::BODY_RATE)),
        key("connections", Shown::Count(&defaults::CONNECTIONS)),
        key("connections_per_address", Shown::Absent("no limit")),
        key("requests_per_address", Shown::Absent("no limit")),
        key("requests_burst_per_address", Shown::Absent("as `requests_per_address`")),
        key("handshakes_per_worker", Shown::Count(&defaults::HANDSHAKES_PER_WORKER)),
    ],
    unavailable: &[],
};

pub(super) static TIMEOUTS: Keys = Keys {
    table: "[timeouts]",
    keys: &[
        key("handshake", Shown::Duration(&defaults::HANDSHAKE)),
        key("request_head", Shown::Duration(&defaults::REQUEST_HEAD)),
        key("body_idle", Shown::Duration(&defaults::BODY_IDLE)),
        key("keep_alive", Shown::Duration(&defaults::KEEP_ALIVE)),
        key("upstream_connect", Shown::Duration(&defaults::UPSTREAM_CONNECT)),
        key("response_head", Shown::Duration(&defaults::RESPONSE_HEAD)),
        key("tunnel_idle", Shown::Duration(&defaults::TUNNEL_IDLE)),
    ],
    unavailable: &[],
};

pub(super) static UPSTREAM_POOL: Keys = Keys {
    table: "[upstream_pool]",
    keys: &[
        key("idle_per_worker", Shown::Count(&defaults::IDLE_PER_WORKER)),
        key("idle_timeout", Shown::Duration(&defaults::IDLE_TIMEOUT)),
        key("eject_after", Shown::Count(&defaults::EJECT_AFTER)),
        key("ejection", Shown::Duration(&defaults::EJECTION)),
        key("ejection_max", Shown::Duration(&defaults::EJECTION_MAX)),
        key("slow_start", Shown::Duration(&defaults::SLOW_START)),
        key("retry_percent", Shown::Count(&defaults::RETRY_PERCENT)),
        key("resolve_interval", Shown::Duration(&defaults::RESOLVE_INTERVAL)),
    ],
    unavailable: &[],
};

pub(super) static ACCESS_LOG: Keys = Keys {
    table: "[access_log]",
    keys: &[
        key("to", Shown::Required),
        key("format", Shown::Word(|| defaults::ACCESS_LOG_FORMAT.word().to_owned())),
        key("buffer", Shown::Size(&defaults::ACCESS_LOG_BUFFER)),
    ],
    unavailable: &[],
};

pub(super) static ADMIN: Keys = Keys {
    table: "[admin]",
    keys: &[
        key("socket", Shown::Absent("`admin.sock` in the state directory")),
        key("socket_access", Shown::Word(|| defaults::SOCKET_ACCESS.word().to_owned())),
        key("listen", Shown::Absent("none")),
        key("token_file", Shown::Absent("none")),
    ],
    unavailable: &[],
};

pub(super) static SANDBOX: Keys = Keys {
    table: "[sandbox]",
    keys: &[
        key("no_new_privileges", Shown::Flag(&defaults::NO_NEW_PRIVILEGES)),
        key("landlock", Shown::Flag(&defaults::LANDLOCK)),
        key("seccomp", Shown::Flag(&defaults::SECCOMP)),
    ],
    unavailable: &[],
};

pub(super) static SITE: Keys = Keys {
    table: "[[site]]",
    keys: &[
        key("name", Shown::Required),
        key("hosts", Shown::Required),
        key("aliases", Shown::Absent("none")),
        key("alias", Shown::Word(|| defaults::ALIAS.word().to_owned())),
        key("ssl", Shown::Flag(&defaults::SSL)),
        key("is_secure", Shown::Flag(&defaults::IS_SECURE)),
        key("is_ssl", Shown::Flag(&defaults::IS_SSL)),
        key("is_permanent", Shown::Flag(&defaults::IS_PERMANENT)),
        key("session_cookies", Shown::Absent("none")),
        key("session_protection", Shown::Word(|| defaults::SESSION_PROTECTION.word().to_owned())),
        key("languages", Shown::Absent("none")),
        key("unmatched", Shown::Word(|| defaults::UNMATCHED.word().to_owned())),
        key("path_reading", Shown::Word(|| defaults::PATH_READING.word().to_owned())),
        key("hsts", Shown::Absent("not sent")),
        key("tls_versions", Shown::Text("[\"1.2\", \"1.3\"]")),
        key("alpn", Shown::Text("[\"h2\", \"http/1.1\"]")),
        key("cipher_suites", Shown::Absent("all of them")),
        key("certificate_compression", Shown::Flag(&defaults::CERTIFICATE_COMPRESSION)),
        key("client_auth", Shown::Absent("not asked for")),
        key("request_body_bytes", Shown::Absent("that of `[limits]`")),
        key("certificate", Shown::Text("[{ source = \"self_signed\" }]")),
        key("upstream", Shown::Required),
        key("balance", Shown::Word(|| defaults::BALANCE.word().to_owned())),
        key("health_check", Shown::Absent("none")),
        key("rewrite_location", Shown::Flag(&defaults::REWRITE_LOCATION)),
        key("dispatch_files", Shown::Absent("none")),
        key("dispatch", Shown::Absent("none")),
    ],
    unavailable: &[],
};

pub(super) static UPSTREAM: Keys = Keys {
    table: "`upstream`",
    keys: &[
        key("url", Shown::Required),
        key("weight", Shown::Count(&defaults::WEIGHT)),
        key("ca", Shown::Absent("the system's authorities")),
        key("server_name", Shown::Absent("the host of `url`")),
        key("proxy_protocol", Shown::Word(|| ProxyProtocol::Off.word().to_owned())),
    ],
    unavailable: &[],
};

pub(super) static HEALTH_CHECK: Keys = Keys {
    table: "`health_check`",
    keys: &[
        key("path", Shown::Required),
        key("host", Shown::Absent("the site's first host")),
        key("interval", Shown::Duration(&defaults::HEALTH_INTERVAL)),
        key("timeout", Shown::Duration(&defaults::HEALTH_TIMEOUT)),
        key("unhealthy_after", Shown::Count(&defaults::UNHEALTHY_AFTER)),
        key("healthy_after", Shown::Count(&defaults::HEALTHY_AFTER)),
    ],
    unavailable: &[],
};

pub(super) static HSTS: Keys = Keys {
    table: "`hsts`",
    keys: &[
        key("max_age", Shown::Duration(&defaults::HSTS_MAX_AGE)),
        key("include_subdomains", Shown::Flag(&defaults::HSTS_INCLUDE_SUBDOMAINS)),
        key("preload", Shown::Flag(&defaults::HSTS_PRELOAD)),
    ],
    unavailable: &[],
};

pub(super) static CERTIFICATE: Keys = Keys {
    table: "`certificate`",
    keys: &[
        key("source", Shown::Required),
        key("certificate", Shown::Absent("none")),
        key("key", Shown::Absent("none")),
        key("directory", Shown::Absent("none")),
        key("ocsp", Shown::Absent("none")),
        key("run", Shown::Absent("none")),
        key("url", Shown::Absent("none")),
        key("ca", Shown::Absent("the system's")),
        key("timeout", Shown::Duration(&defaults::ASK_TIMEOUT)),
    ],
    unavailable: &[],
};

pub(super) static CLIENT_AUTH: Keys = Keys {
    table: "`client_auth`",
    keys: &[
        key("ca", Shown::Required),
        key("mode", Shown::Word(|| defaults::CLIENT_AUTH_MODE.word().to_owned())),
        key("crl", Shown::Absent("none")),
        key("header", Shown::Word(|| defaults::CLIENT_AUTH_HEADER.to_owned())),
        key("identity", Shown::Word(|| defaults::CLIENT_AUTH_IDENTITY.word().to_owned())),
    ],
    unavailable: &[],
};

pub(super) static ACME: Keys = Keys {
    table: "`certificate` with source = \"acme\"",
    keys: &[
        key("source", Shown::Required),
        key("directory_url", Shown::Word(|| defaults::ACME_DIRECTORY_URL.to_owned())),
        key("contact", Shown::Absent("none")),
        key("challenge", Shown::Word(|| defaults::ACME_CHALLENGE.word().to_owned())),
        key("profile", Shown::Absent("the CA's choice")),
        key("eab", Shown::Absent("none")),
        key("ca", Shown::Absent("the roots of the system")),
        key("dns", Shown::Absent("none")),
        key("on_demand", Shown::Absent("off")),
    ],
    unavailable: &[],
};

pub(super) static ACME_EAB: Keys = Keys {
    table: "`eab`",
    keys: &[key("key_id", Shown::Required), key("key_file", Shown::Required)],
    unavailable: &[],
};

pub(super) static ACME_DNS: Keys = Keys {
    table: "`dns`",
    keys: &[key("run", Shown::Required), key("timeout", Shown::Duration(&defaults::ACME_DNS_TIMEOUT))],
    unavailable: &[],
};

pub(super) static ACME_ON_DEMAND: Keys = Keys {
    table: "`on_demand`",
    keys: &[
        key("allow", Shown::Absent("none")),
        key("ask", Shown::Absent("nobody")),
        key("per_hour", Shown::Count(&defaults::ON_DEMAND_PER_HOUR)),
    ],
    unavailable: &[],
};

pub(super) static DISPATCH: Keys = Keys {
    table: "`dispatch`",
    keys: &[
        key("name", Shown::Required),
        key("path", Shown::Required),
        key("ssl", Shown::Absent("the site's switches decide")),
    ],
    unavailable: &[],
};

/// Every table, in the order of the reference.
pub(super) static TABLES: &[&Keys] = &[
    &TOP,
    &LISTEN,
    &LISTENER,
    &SESSION_CACHE,
    &CERTIFICATE_CACHE,
    &STORE,
    &LIMITS,
    &TIMEOUTS,
    &UPSTREAM_POOL,
    &SANDBOX,
    &ACCESS_LOG,
    &ADMIN,
    &SITE,
    &HSTS,
    &UPSTREAM,
    &HEALTH_CHECK,
    &CERTIFICATE,
    &CLIENT_AUTH,
    &ACME,
    &ACME_EAB,
    &ACME_DNS,
    &ACME_ON_DEMAND,
    &DISPATCH,
];

/// Certificate sources of the product that this version does not have.
pub(super) static SOURCES_UNAVAILABLE: &[&str] = if cfg!(feature = "acme") { &[] } else { &["acme"] };

/// One key of the file, for those who list them: the reference, completions, checks of the documentation.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `[listen]`, `[[site]]`, `` `hsts` ``; empty for the top of the file.
    pub table: &'static str,
    pub key: &'static str,
    /// In Markdown: a value as it would be written, or words.
    pub default: String,
    /// "from to" for numbers; `None` where it takes words.
    pub allowed: Option<String>,
}

/// Every key this version has, in the order of the reference.
pub fn settings() -> impl Iterator<Item = Setting> {
    TABLES.iter().flat_map(|table| {
        table.keys.iter().map(|key| {
            let (default, allowed) = key.shown.columns();
            Setting { table: table.table, key: key.name, default, allowed }
        })
    })
}
