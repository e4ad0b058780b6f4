//! What was proved, in words.

use std::fmt;

use super::super::SiteId;
use super::super::rule::{Place, Ssl};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Visitors do not get what a rule says.
    Error,
    /// It works, and is hardly meant.
    Warning,
}

/// Something proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub site: SiteId,
    /// Of the rule; of the site where it is about no rule.
    pub place: Place,
    /// Of the other rule or site it is about.
    pub other: Option<Place>,
    pub proved: Proved,
}

/// What was proved; displayed as what happens and what to do. Rules and sites by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proved {
    /// No path reaches the rule; `by` take them all, each of them needed. `ssl`: its own, where another
    /// scheme is wanted by those.
    Shadowed { rule: String, by: Vec<String>, ssl: Option<Ssl> },
    /// A rule wants https, and its site has none.
    SiteWithoutHttps { rule: String, site: String },
    /// A rule wants https, and no listener has it.
    NoHttpsListener { rule: String },
    /// A rule wants http, and no listener has it.
    NoHttpListener { rule: String },
    /// A rule wants http, and HSTS sends browsers back. `of`: the site whose HSTS it is, if another.
    LoopUnderHsts { rule: String, of: Option<String> },
    /// Pages without `ssl` of their own go to http, and HSTS sends browsers back.
    SiteLoopsUnderHsts { site: String, of: Option<String> },
    /// The site has no https, and HSTS of another lets browsers use nothing else there.
    CutOffByHsts { site: String, host: String, of: String },
    /// Pages on http, where the session cookies of https do not come.
    SessionDoesNotReach { rule: String, cookies: Vec<String> },
    /// Redirects between the schemes lead to the same port.
    OnePort { port: u16 },
}

impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own_or = |of: &Option<String>| match of {
            None => "the site's own HSTS".to_owned(),
            Some(site) => format!("HSTS of site {site:?}, which includes subdomains,"),
        };
        match self {
            Self::Shadowed { rule, by, ssl } => {
                write!(f, "rule {rule:?} is never reached: ")?;
                match by.as_slice() {
                    [by] => write!(f, "rule {by:?} before it takes every path it matches")?,
                    by => {
                        f.write_str("the rules ")?;
                        for (index, name) in by.iter().enumerate() {
                            let before = match index {
                                0 => "",
                                _ if index + 1 == by.len() => " and ",
                                _ => ", ",
                            };
                            write!(f, "{before}{name:?}")?;
                        }
                        f.write_str(" before it together take every path it matches")?;
                    }
                }
                match ssl {
                    None => {}
                    Some(Ssl::Https) => f.write_str(", and its ssl = true does nothing")?,
                    Some(Ssl::Http) => f.write_str(", and its ssl = false does nothing")?,
                    Some(Ssl::Any) => f.write_str(", and its ssl = \"any\" does nothing")?,
                }
                f.write_str("; move it up, or remove it")
            }
            Self::SiteWithoutHttps { rule, site } => write!(
                f,
                "rule {rule:?} wants https, and site {site:?} has ssl = false: its pages stay on http; \
                 write ssl = true for the site, or take ssl from the rule"
            ),
            Self::NoHttpsListener { rule } => write!(
                f,
                "rule {rule:?} wants https, and nothing listens for it: its pages stay on http; \
                 add listen.https, or take ssl from the rule"
            ),
            Self::NoHttpListener { rule } => write!(
                f,
                "rule {rule:?} wants http, and nothing listens for it: its pages stay on https; \
                 add listen.http, or write ssl = \"any\""
            ),
            Self::LoopUnderHsts { rule, of } => write!(
                f,
                "rule {rule:?} sends visitors to http, and {} sends their browsers back to https, for ever; \
                 write ssl = \"any\" for the rule, or remove hsts",
                own_or(of)
            ),
            Self::SiteLoopsUnderHsts { site, of } => write!(
                f,
                "site {site:?} sends pages without ssl of their own to http (is_secure and is_ssl are off), and {} \
                 sends browsers back to https, for ever; write is_secure = true, or remove hsts",
                own_or(of)
            ),
            Self::CutOffByHsts { site, host, of } => write!(
                f,
                "site {site:?} has ssl = false, and browsers that were at site {of:?} use https alone for {host:?}, \
                 because hsts includes subdomains there; write ssl = true, or include_subdomains = false for {of:?}"
            ),
            Self::SessionDoesNotReach { rule, cookies } => write!(
                f,
                "the pages of rule {rule:?} are on http alone, where sessions begun on https do not come \
                 ({} kept to https by is_secure): visitors look logged off there; write ssl = \"any\" if they need the session",
                match cookies.as_slice() {
                    [one] => format!("{one} is"),
                    all => format!("{} are", all.join(" and ")),
                }
            ),
            Self::OnePort { port } => write!(
                f,
                "redirects to http and to https both lead to port {port}, which can be only one of them; \
                 write outside_http_port and outside_https_port as visitors see them"
            ),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place: &Place| format!("{}:{}:{}", place.file.display(), place.line, place.column);
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: {}", place(&self.place), self.proved)?;
        match &self.other {
            Some(other) => write!(f, " (see {})", place(other)),
            None => Ok(()),
        }
    }
}
