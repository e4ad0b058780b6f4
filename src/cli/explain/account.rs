//! All there is to tell about one request, gathered before it is shown.

use std::net::IpAddr;

use super::certificate::{self, InUse, SourceSeen};
use super::decider::Decider;
use super::url::{Header, Url};
use crate::config::{
    self, Choice as _, HostPattern, Listen, ListenAddress, OutsidePort, PathReading, WrittenAt,
};
use crate::dispatch::{
    Action, Binding, Explanation, Found, FoundBy, Handshake, Host, Place, Question, RedirectReason, Refusal,
    SiteId, WantedBy, write_normalized,
};
use crate::http::{self, BadTold, Scheme, Told};

/// What is asked: a URL and what a client may say beside it.
#[derive(Clone, Debug)]
pub struct Request {
    pub url: Url,
    pub method: String,
    /// In place of the URL's host.
    pub host: Option<String>,
    /// In place of the name a client takes from the URL; empty: it sends none.
    pub sni: Option<String>,
    /// Who connects.
    pub peer: Option<IpAddr>,
    /// What it says of the visitor behind it.
    pub forwarded: Vec<Header>,
}

impl Request {
    /// `Host`, as the request has it.
    pub fn authority(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.url.authority)
    }

    /// The name in the ClientHello; clients send none for an address (RFC 6066 §3).
    fn server_name(&self) -> Option<&str> {
        let authority = &self.url.authority;
        match &self.sni {
            Some(name) => Some(name.strip_suffix('.').unwrap_or(name)).filter(|name| !name.is_empty()),
            None => {
                let host = Host::parse(authority.as_bytes()).ok()?.name;
                let name = std::str::from_utf8(host).ok()?;
                let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
                (!is_address).then_some(name)
            }
        }
    }
}

/// See the module.
pub struct Account<'a> {
    pub request: &'a Request,
    pub listener: Listener<'a>,
    /// Where the keys of `[listen]` are written.
    pub written_listen: &'a WrittenAt,
    /// Who connects, when that was asked.
    pub peer: Option<PeerSeen<'a>>,
    /// The one it is decided for: the listener's, or what a trusted peer says.
    pub scheme: Scheme,
    /// Likewise.
    pub authority: &'a str,
    /// None on http.
    pub handshake: Option<&'a HandshakeSeen<'a>>,
    /// None when the handshake fails and no request is read, or when what a trusted peer says is refused.
    pub explanation: Option<Explanation<'a>>,
    /// The host's site, when there is one.
    pub site: Option<SiteSeen<'a>>,
    /// Of the rule that matched.
    pub bindings: Vec<Binding>,
    /// The settings that took part, each with its value.
    pub settings: Vec<Setting<'a>>,
}

/// Where the connection comes in.
pub enum Listener<'a> {
    /// `outside`: visitors come by the outside port, which is another one.
    Found { listener: &'a ListenAddress, outside: bool },
    /// No address of the scheme has the URL's port; decided as at the first of them.
    OtherPort { listener: &'a ListenAddress },
    /// Nothing listens for the scheme.
    Nowhere,
}

/// Whether the word of who connects counts.
pub struct PeerSeen<'a> {
    pub address: IpAddr,
    pub trusted: bool,
    /// Of `trusted_proxies`; none: nobody is trusted, by default.
    pub place: Option<&'a Place>,
    /// What it says; nothing of a stranger.
    pub told: Result<(Option<Scheme>, Option<&'a str>), BadTold>,
}

/// What the TLS handshake comes to.
pub struct HandshakeSeen<'a> {
    /// As the client sends it.
    pub name: Option<&'a str>,
    /// Nobody has the name, or its site has no https.
    pub site: Result<&'a config::Site, Option<&'a config::Site>>,
    pub sources: Vec<SourceSeen<'a>>,
    /// With the number of `site`, when there is one.
    chosen: Option<(SiteId, InUse)>,
}

impl Account<'_> {
    /// The target that the site server gets, where it is not the one that came.
    pub fn normalized(&self) -> Option<String> {
        let site = self.site.as_ref()?.config;
        if site.path_reading == PathReading::Raw {
            return None;
        }
        let mut target = Vec::new();
        // ASCII, since all else is escaped; but for the query, which is as it came.
        write_normalized(self.request.url.target.as_bytes(), &mut target)
            .then(|| String::from_utf8_lossy(&target).into_owned())
    }
}

impl HandshakeSeen<'_> {
    /// The certificate was not looked at.
    pub fn is_supposed(&self) -> bool {
        matches!(self.chosen, Some((_, InUse::Supposed(_))))
    }
}

pub struct SiteSeen<'a> {
    pub config: &'a config::Site,
    pub found: Found,
    /// The entry of `hosts` or `aliases` that took the host.
    pub entry: Option<&'a config::Host>,
    pub is_alias: bool,
}

/// A setting, as it would be written.
pub struct Setting<'a> {
    pub key: &'static str,
    pub value: String,
    /// None: not written, this is the default.
    pub place: Option<&'a Place>,
}

/// Decides the request as the server would, and gathers what led there. `handshake`: what [`shake`] says.
pub fn account<'a>(
    decider: &'a Decider,
    request: &'a Request,
    handshake: Option<&'a HandshakeSeen<'a>>,
) -> Account<'a> {
    let config = &decider.config;
    let listener = listener(&config.listen, request);
    let peer = peer(&listener, request);
    let (scheme, host) = match peer.as_ref().map(|peer| &peer.told) {
        Some(Ok(told)) => *told,
        _ => (None, None),
    };
    let mut account = Account {
        request,
        listener,
        scheme: scheme.unwrap_or(request.url.scheme),
        authority: host.unwrap_or(request.authority()),
        peer,
        written_listen: &config.listen.written,
        handshake,
        explanation: None,
        site: None,
        bindings: Vec::new(),
        settings: Vec::new(),
    };
    let handshake = match handshake {
        None => None,
        Some(HandshakeSeen { chosen: Some((site, certificate)), .. }) => {
            Some(Handshake { site: Some(*site), certificate })
        }
        Some(_) => return account,
    };
    if matches!(&account.peer, Some(PeerSeen { told: Err(_), .. })) {
        return account;
    }
    let question = Question {
        scheme: account.scheme,
        handshake,
        authority: account.authority.as_bytes(),
        method: request.method.as_bytes(),
        target: request.url.target.as_bytes(),
    };
    let explanation = decider.sites.explain(&question);
    account.site = site_seen(decider, &explanation);
    if let (Some(site), Some(rule)) = (explanation.decision.site, explanation.decision.rule) {
        decider.sites.bindings(site, rule, question.target, &mut account.bindings);
    }
    if let Some(site) = &account.site {
        account.settings = settings(&config.listen, site, &explanation);
    }
    account.explanation = Some(explanation);
    account
}

/// What the handshake comes to; `None` on http.
pub fn shake<'a>(decider: &'a Decider, request: &'a Request) -> Option<HandshakeSeen<'a>> {
    if request.url.scheme == Scheme::Http {
        return None;
    }
    let name = request.server_name();
    let found = match name {
        Some(name) => decider.sites.find(name.as_bytes()),
        None => decider.sites.fallback(),
    };
    let config = found.and_then(|site| decider.config.sites.get(site.index()));
    let site = config.filter(|site| site.ssl).ok_or(config);
    let sources = site.map(|site| certificate::sources(site, &decider.config.state_directory));
    let sources = sources.unwrap_or_default();
    let chosen = found.zip(site.ok()).map(|(number, site)| (number, InUse::of(site, &sources)));
    Some(HandshakeSeen { name, site, sources, chosen })
}

fn peer<'a>(listener: &Listener<'a>, request: &'a Request) -> Option<PeerSeen<'a>> {
    let address = request.peer?;
    let settings = match listener {
        Listener::Found { listener, .. } | Listener::OtherPort { listener } => Some(&*listener.settings),
        Listener::Nowhere => None,
    };
    let trusted = settings.is_some_and(|settings| settings.trusts(address));
    let fields = request.forwarded.iter();
    let fields: Vec<http::Header<'a>> =
        fields.map(|field| http::Header { name: field.name, value: field.value.as_bytes() }).collect();
    let told = if trusted { Told::read(&fields) } else { Ok(Told::default()) };
    // A part of text, cut at commas and the like, is text.
    let told = told.map(|told| (told.scheme, told.host.and_then(|host| std::str::from_utf8(host).ok())));
    let place = settings.and_then(|settings| settings.written.get("trusted_proxies"));
    Some(PeerSeen { address, trusted, place, told })
}

fn listener<'a>(listen: &'a Listen, request: &Request) -> Listener<'a> {
    let (scheme, listeners, outside) = match request.url.scheme {
        Scheme::Http => (Scheme::Http, &listen.http, listen.outside_http_port),
        Scheme::Https => (Scheme::Https, &listen.https, listen.outside_https_port),
    };
    let port = Host::parse(request.url.authority.as_bytes()).ok().and_then(|host| host.port);
    let port = port.unwrap_or(scheme.default_port());
    let Some(first) = listeners.first() else { return Listener::Nowhere };
    match listeners.iter().find(|listener| listener.address.port() == port) {
        Some(listener) => Listener::Found { listener, outside: false },
        None if matches!(outside, OutsidePort::Known(known) if known.get() == port) => {
            Listener::Found { listener: first, outside: true }
        }
        None => Listener::OtherPort { listener: first },
    }
}

fn site_seen<'a>(decider: &'a Decider, explanation: &Explanation<'a>) -> Option<SiteSeen<'a>> {
    let found = explanation.found?;
    let config = decider.config.sites.get(found.site.index())?;
    let host = explanation.host.as_deref().unwrap_or("");
    let takes = |entry: &&config::Host| match (&entry.pattern, found.by) {
        (HostPattern::Exact(name), FoundBy::Exact) => name == host || same_address(name, host),
        (HostPattern::Wildcard(end), FoundBy::Wildcard) => {
            host.strip_suffix(end.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        }
        (HostPattern::Any, FoundBy::Fallback) => true,
        _ => false,
    };
    let length = |entry: &&config::Host| entry.pattern.to_string().len();
    let own = config.hosts.iter().filter(takes).max_by_key(length);
    let alias = config.aliases.iter().filter(takes).max_by_key(length);
    // Of two wildcards the longer one takes the host, whichever list it stands in.
    let is_alias = alias.as_ref().map(length) > own.as_ref().map(length);
    let entry = if is_alias { alias } else { own };
    Some(SiteSeen { config, found, entry, is_alias })
}

fn same_address(a: &str, b: &str) -> bool {
    let address = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok();
    address(a).is_some_and(|a| address(b) == Some(a))
}

/// What the decision went by. The rule's own `ssl` is told with the rule.
fn settings<'a>(listen: &'a Listen, site: &SiteSeen<'a>, explanation: &Explanation<'_>) -> Vec<Setting<'a>> {
    let (config, written) = (site.config, &site.config.written);
    let mut list = Vec::new();
    let mut add = |key: &'static str, value: String, written: &'a WrittenAt| {
        list.push(Setting { key, value, place: written.get(key) });
    };
    if explanation.language_cut {
        add("languages", format!("{:?}", config.languages), written);
    }
    if let Some(wanted) = explanation.wanted {
        if !matches!(wanted.by, WantedBy::Rule(_)) {
            if explanation.decision.rule.is_none() {
                add("unmatched", format!("{:?}", config.unmatched.word()), written);
            }
            if wanted.by != WantedBy::NotFound {
                add("is_ssl", config.is_ssl.to_string(), written);
            }
            if matches!(wanted.by, WantedBy::IsSecure | WantedBy::Neither) {
                add("is_secure", config.is_secure.to_string(), written);
            }
        }
        if wanted.unavailable {
            add("ssl", config.ssl.to_string(), written);
        }
    }
    if matches!(explanation.decision.action, Action::Refuse(Refusal::NoHttps)) {
        add("ssl", config.ssl.to_string(), written);
    }
    if site.is_alias {
        add("alias", format!("{:?}", config.alias.word()), written);
    }
    if explanation.decision.action == Action::Forward && config.path_reading == PathReading::Normalized {
        add("path_reading", format!("{:?}", config.path_reading.word()), written);
    }
    if let Action::Redirect(redirect) = explanation.decision.action {
        if redirect.reason == RedirectReason::Scheme && redirect.scheme == Scheme::Https {
            add("is_permanent", config.is_permanent.to_string(), written);
        }
        let (key, port) = match redirect.scheme {
            Scheme::Http => ("outside_http_port", listen.outside_http_port),
            Scheme::Https => ("outside_https_port", listen.outside_https_port),
        };
        let value = match port {
            OutsidePort::Known(port) => port.to_string(),
            OutsidePort::AsBound => "the one the system chooses".to_owned(),
            OutsidePort::Nowhere => "none".to_owned(),
        };
        add(key, value, &listen.written);
    }
    list
}
