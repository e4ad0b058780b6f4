//! An account for people: one block for each step, in the order the server takes them.

use std::fmt::{self, Display, Formatter};

use super::account::{Account, HandshakeSeen, Listener, PeerSeen, SiteSeen};
use super::certificate::{self, Answer, SourceSeen, SourceState};
use super::{servers, words};
use crate::dispatch::{Action, Binding, Bound, Explanation, FoundBy, RuleId};
use crate::http::Scheme;

/// Rules of a site that are shown before the one that matches; of more, the first and the last ones.
const RULES_SHOWN_MAX: usize = 200;

impl Display for Account<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let url = &self.request.url;
        let scheme = url.scheme.as_str();
        row(
            f,
            "request",
            format_args!("{} {scheme}://{}{}", self.request.method, url.authority, url.target),
        )?;
        if let Some(host) = &self.request.host {
            row(f, "", format_args!("Host: {host}"))?;
        }
        self.listener(f)?;
        self.peer(f)?;
        if let Some(handshake) = self.handshake {
            self.handshake(f, handshake)?;
        }
        if let Some(PeerSeen { told: Err(bad), .. }) = &self.peer {
            let said = words::bad_told(*bad);
            return row(f, "decision", format_args!("refuse 400 {}: {said}", bad.reason()));
        }
        let Some(explanation) = &self.explanation else {
            return row(f, "decision", "no request is read: the handshake fails with unrecognized_name");
        };
        self.host(f, explanation)?;
        if let Some(site) = &self.site {
            path(f, explanation)?;
            self.rules(f, site, explanation)?;
            self.scheme(f, site, explanation)?;
        }
        self.decision(f, explanation)?;
        self.servers(f, explanation)
    }
}

/// A line of a block; only its first has the label.
fn row(f: &mut Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{label:<12}{text}")
}

impl Account<'_> {
    fn listener(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let scheme = self.request.url.scheme;
        let place = |place: &crate::dispatch::Place| match place.line {
            0 => place.file.display().to_string(),
            _ => words::at(place),
        };
        let said = match &self.listener {
            Listener::Nowhere => {
                return row(
                    f,
                    "listener",
                    format_args!("nothing listens for {}; decided as if it did", scheme.as_str()),
                );
            }
            Listener::Found { listener, .. } | Listener::OtherPort { listener } => {
                let address = listener.address;
                if self.is_written(scheme) {
                    format!("{} {address} ({})", scheme.as_str(), place(&listener.place))
                } else {
                    format!("{} {address} (default)", scheme.as_str())
                }
            }
        };
        row(f, "listener", said)?;
        match &self.listener {
            Listener::Found { outside: true, .. } => row(f, "", "reached by the outside port"),
            Listener::OtherPort { listener } if listener.address.port() == 0 => row(
                f,
                "",
                "port 0: the system chooses one when it listens; redirects are shown with it as it is",
            ),
            Listener::OtherPort { .. } => {
                row(f, "", "no address has the port of this URL; decided as if it came in here")
            }
            Listener::Found { .. } | Listener::Nowhere => Ok(()),
        }
    }

    fn peer(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(peer) = &self.peer else { return Ok(()) };
        let place = peer.place.map_or_else(|| "default".to_owned(), words::at);
        if !peer.trusted {
            let text =
                format!("{} is not in trusted_proxies ({place}): what it forwards is dropped", peer.address);
            return row(f, "peer", text);
        }
        row(f, "peer", format_args!("{} is in trusted_proxies ({place})", peer.address))?;
        for field in &self.request.forwarded {
            row(f, "", format_args!("{}: {}", field.name, field.value))?;
        }
        match &peer.told {
            Ok((None, None)) => row(f, "", "→ it says neither scheme nor host"),
            Ok((scheme, host)) => {
                let scheme = scheme.map(|scheme| format!("came by {}", scheme.as_str()));
                let host = host.as_ref().map(|host| format!("asked for {host}"));
                let said: Vec<String> = [scheme, host].into_iter().flatten().collect();
                row(f, "", format_args!("→ the visitor {}", said.join(" and ")))
            }
            Err(_) => Ok(()),
        }
    }

    fn is_written(&self, scheme: Scheme) -> bool {
        self.written_listen.get(scheme.as_str()).is_some()
    }

    fn handshake(&self, f: &mut Formatter<'_>, handshake: &HandshakeSeen<'_>) -> fmt::Result {
        let asked = match handshake.name {
            Some(name) => format!("asks for \"{name}\""),
            None => "asks for no name, so the fallback site answers".to_owned(),
        };
        match handshake.site {
            Ok(site) => row(
                f,
                "handshake",
                format_args!("{asked} → site \"{}\" ({})", site.name, words::at(&site.place)),
            )?,
            Err(None) => return row(f, "handshake", format_args!("{asked}: no site has it")),
            Err(Some(site)) => {
                let place = site.written.get("ssl").unwrap_or(&site.place);
                let text = format!(
                    "{asked}: site \"{}\" has no https, ssl = false ({})",
                    site.name,
                    words::at(place)
                );
                return row(f, "handshake", text);
            }
        }
        for (index, source) in handshake.sources.iter().enumerate() {
            certificate_row(f, if index == 0 { "certificate" } else { "" }, source)?;
        }
        if handshake.is_supposed() && self.is_of_another_site() {
            row(f, "", "not looked at: taken to cover the site's hosts and aliases, a wildcard one label")?;
        }
        Ok(())
    }

    /// The host's site is not the one the handshake chose.
    fn is_of_another_site(&self) -> bool {
        match (self.handshake.as_ref().map(|handshake| handshake.site), &self.site) {
            (Some(Ok(chosen)), Some(site)) => chosen.name != site.config.name,
            _ => false,
        }
    }

    fn host(&self, f: &mut Formatter<'_>, explanation: &Explanation<'_>) -> fmt::Result {
        let Some(host) = &explanation.host else {
            return row(f, "host", format_args!("\"{}\" is no host", self.authority));
        };
        let Some(site) = &self.site else {
            return row(
                f,
                "host",
                format_args!("{host}: no site has it, and there is no fallback site \"*\""),
            );
        };
        let config = site.config;
        row(f, "host", format_args!("{host} → site \"{}\" ({})", config.name, words::at(&config.place)))?;
        if let Some(entry) = site.entry {
            let by = words::found_by(site.found.by);
            let list = if site.is_alias { "aliases" } else { "hosts" };
            let pattern = match site.found.by {
                FoundBy::Exact => String::new(),
                _ => format!(" \"{}\"", entry.pattern),
            };
            row(f, "", format_args!("by {by}{pattern} in {list} ({})", words::at(&entry.place)))?;
        }
        if self.is_of_another_site() {
            row(
                f,
                "",
                "not the site the handshake chose: served when the certificate covers it and the TLS policies are equal",
            )?;
        }
        Ok(())
    }

    fn rules(
        &self,
        f: &mut Formatter<'_>,
        site: &SiteSeen<'_>,
        explanation: &Explanation<'_>,
    ) -> fmt::Result {
        let tried = &explanation.rules;
        if tried.is_empty() && explanation.wanted.is_none() {
            // Refused before rules were asked.
            return Ok(());
        }
        if tried.is_empty() {
            row(f, "rules", "the site has none")?;
        }
        let paths: Vec<String> = tried.iter().map(|rule| self.rule_path(site, rule.rule)).collect();
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).min(40);
        let names = widest(&mut tried.iter().map(|rule| rule.name.chars().count()));
        let path_width = widest(&mut paths.iter().map(|path| path.chars().count()));
        let hidden = tried.len().saturating_sub(RULES_SHOWN_MAX);
        for (index, (rule, path)) in tried.iter().zip(&paths).enumerate() {
            let label = if index == 0 { "rules" } else { "" };
            if hidden > 0 && (RULES_SHOWN_MAX / 2..RULES_SHOWN_MAX / 2 + hidden).contains(&index) {
                if index == RULES_SHOWN_MAX / 2 {
                    row(f, label, format_args!("… {hidden} more that do not match: --json has them all"))?;
                }
                continue;
            }
            let said = match (rule.outcome, site.config.rules().get(rule.rule.index())) {
                (Err(why), Some(written)) => {
                    format!("no: {}", words::mismatch(&written, why, &explanation.segments))
                }
                _ => "matches".to_owned(),
            };
            let name = &rule.name;
            row(
                f,
                label,
                format_args!("{name:<names$}  {path:<path_width$}  {}: {said}", words::at(&rule.place)),
            )?;
        }
        if explanation.decision.rule.is_none() && !tried.is_empty() {
            row(f, "", "none matches")?;
        }
        if !self.bindings.is_empty() {
            let shown: Vec<String> = self.bindings.iter().map(binding).collect();
            row(f, "variables", shown.join(", "))?;
        }
        Ok(())
    }

    fn rule_path(&self, site: &SiteSeen<'_>, rule: RuleId) -> String {
        site.config.rules().get(rule.index()).as_ref().map(words::path).unwrap_or_default()
    }

    fn scheme(
        &self,
        f: &mut Formatter<'_>,
        site: &SiteSeen<'_>,
        explanation: &Explanation<'_>,
    ) -> fmt::Result {
        if let Some(wanted) = explanation.wanted {
            let why =
                words::wanted_why(wanted.by, explanation.decision.rule.is_some(), site.config.unmatched);
            row(f, "scheme", why)?;
            let came = self.scheme;
            let said = match wanted.scheme {
                _ if wanted.unavailable => {
                    format!("→ as it came, {}: the other scheme is not served here", came.as_str())
                }
                None => format!("→ as it came, {}", came.as_str()),
                Some(scheme) if scheme == came => format!("→ {}, as it came", scheme.as_str()),
                Some(scheme) => format!("→ {}", scheme.as_str()),
            };
            row(f, "", said)?;
        }
        for (index, setting) in self.settings.iter().enumerate() {
            let place = setting.place.map_or_else(|| "default".to_owned(), words::at);
            let label = if index == 0 { "settings" } else { "" };
            row(f, label, format_args!("{} = {} ({place})", setting.key, setting.value))?;
        }
        Ok(())
    }

    fn decision(&self, f: &mut Formatter<'_>, explanation: &Explanation<'_>) -> fmt::Result {
        let request = self.request;
        match &explanation.decision.action {
            Action::Forward => row(f, "decision", "forward"),
            Action::NotFound => row(f, "decision", "404 not found: no rule matches"),
            Action::Refuse(refusal) => {
                let (status, reason) = (refusal.status(), refusal.reason());
                row(f, "decision", format_args!("refuse {status} {reason}: {}", words::refusal(*refusal)))
            }
            Action::Redirect(redirect) => {
                let mut location = Vec::new();
                redirect.write_location(&mut location);
                let location = String::from_utf8_lossy(&location);
                row(f, "decision", format_args!("redirect {} to {location}", redirect.status))?;
                row(f, "", format_args!("because {}", words::redirect_why(redirect, self.scheme)))?;
                row(f, "", words::redirect_status_why(redirect, &request.method))?;
                if redirect.port == Some(0) {
                    row(f, "", "port 0 stands for the port the system chooses when it listens")?;
                }
                Ok(())
            }
        }
    }

    fn servers(&self, f: &mut Formatter<'_>, explanation: &Explanation<'_>) -> fmt::Result {
        let (Action::Forward, Some(site)) = (&explanation.decision.action, &self.site) else { return Ok(()) };
        if let Some(target) = self.normalized() {
            row(f, "", format_args!("as {target}"))?;
        }
        servers::rows(site.config).into_iter().try_for_each(|(label, text)| row(f, label, text))
    }
}

fn path(f: &mut Formatter<'_>, explanation: &Explanation<'_>) -> fmt::Result {
    if explanation.wanted.is_none() {
        // Refused before the path was read.
        return Ok(());
    }
    let segments: Vec<String> = explanation.segments.iter().map(|segment| format!("\"{segment}\"")).collect();
    let shown = if segments.is_empty() { "no segments: \"/\"".to_owned() } else { segments.join(" ") };
    let cut = if explanation.language_cut { " (a language in front is cut)" } else { "" };
    row(f, "path", format_args!("{shown}{cut}"))
}

fn binding(binding: &Binding) -> String {
    match &binding.value {
        Bound::Segment(segment) => format!("{} = \"{segment}\"", binding.name),
        Bound::Rest(segments) => format!("{} = {segments:?}", binding.name),
    }
}

fn certificate_row(f: &mut Formatter<'_>, label: &str, source: &SourceSeen<'_>) -> fmt::Result {
    let told = certificate::describe(source.source);
    let place = words::at(source.place);
    let answer = |f: &mut Formatter<'_>, answer: &Answer| {
        for certificate in answer.set.certificates() {
            let names: Vec<String> = certificate.names().display().collect();
            row(f, "", format_args!("  {} for {}", certificate.key_kind().word(), names.join(", ")))?;
        }
        answer.warnings.iter().try_for_each(|warning| row(f, "", format_args!("  warning: {warning}")))
    };
    match &source.state {
        SourceState::Answers(answers) => {
            row(f, label, format_args!("{told} ({place}): answers"))?;
            answer(f, answers)
        }
        SourceState::Beside(answers) => {
            row(f, label, format_args!("{told} ({place}): answers, too, with another kind of key"))?;
            answer(f, answers)
        }
        SourceState::OutOfDate(answers) => {
            row(f, label, format_args!("{told} ({place}): passed over, out of its dates"))?;
            answer(f, answers)
        }
        SourceState::Fails(why) => row(f, label, format_args!("{told} ({place}): passed over: {why}")),
        SourceState::Made => {
            row(f, label, format_args!("{told} ({place}): answers; made and kept by the server"))
        }
        SourceState::AskedForNames => {
            row(f, label, format_args!("{told} ({place}): asked for the name in the handshake, not here"))
        }
        SourceState::NotAsked => {
            row(f, label, format_args!("{told} ({place}): not asked, one before it answers"))
        }
    }
}
