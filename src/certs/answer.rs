//! The question a source is asked, and its answer, as JSON.
//!
//! ```text
//! {"server_name": "a.example", "site": "shop"}
//! {"certificate": PEM, "key": PEM, "options": {…}, "lifetime": seconds}    or {} for none
//! ```

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::ask_failure::AskFailure;
use crate::tls::{
    ClientAuth, ClientAuthMode, Policy, PolicySettings, ServedCertificate, SourceWord, Versions,
};

/// Octets of an answer: a chain with its key takes some 10 KiB.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What a source may say; longer is cut to it.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn question(name: &str, site: &str) -> Vec<u8> {
    let mut question = serde_json::json!({ "server_name": name, "site": site }).to_string();
    question.push('\n');
    question.into_bytes()
}

/// What a source has for a name.
pub struct NameAnswer {
    pub certificate: ServedCertificate,
    /// What stands in place of the site's policy; `None`: nothing.
    pub options: Option<Options>,
    /// In place of the configured one.
    pub lifetime: Option<Duration>,
}

/// `options`
#[derive(Default)]
pub struct Options {
    versions: Option<Versions>,
    alpn: Option<Vec<Vec<u8>>>,
    client_auth: Option<Option<ClientAuth>>,
}

impl Options {
    /// The policy for the name.
    ///
    /// # Errors
    /// What does not go together.
    pub fn over(self, policy: &Policy, provider: &Arc<CryptoProvider>) -> Result<Policy, AskFailure> {
        let mut settings: PolicySettings = policy.settings().clone();
        if let Some(versions) = self.versions {
            settings.versions = versions;
        }
        if let Some(alpn) = self.alpn {
            settings.alpn = alpn;
        }
        if let Some(client_auth) = self.client_auth {
            settings.client_auth = client_auth;
        }
        Policy::new(settings, provider).map_err(|problem| AskFailure::Policy(problem.to_string()))
    }
}

/// Reads an answer; `None`: the source has no certificate. `alpn`: the protocols `options` may name.
///
/// # Errors
/// What is wrong with it. Names and dates are not judged here.
pub fn parse(
    bytes: &[u8],
    source: SourceWord,
    alpn: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<NameAnswer>, AskFailure> {
    let answer: Value = serde_json::from_slice(bytes).map_err(|_| AskFailure::NotJson)?;
    let Value::Object(mut answer) = answer else {
        return Err(AskFailure::Shape("it is no JSON object"));
    };
    if answer.is_empty() {
        return Ok(None);
    }
    let certificate =
        text(&mut answer, "certificate")?.ok_or(AskFailure::Shape("`certificate` is missing"))?;
    // Wiped when dropped. The parser's copy is this one.
    let key = Zeroizing::new(text(&mut answer, "key")?.ok_or(AskFailure::Shape("`key` is missing"))?);
    let options = match answer.remove("options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(self::options(options, alpn, provider)?),
        Some(_) => return Err(AskFailure::Shape("`options` is no object")),
    };
    let lifetime = match answer.remove("lifetime") {
        None | Some(Value::Null) => None,
        Some(Value::Number(seconds)) => match seconds.as_u64() {
            Some(seconds @ 1..) => Some(Duration::from_secs(seconds).min(LIFETIME_MAX)),
            _ => return Err(AskFailure::Shape("`lifetime` is no number of seconds from 1 on")),
        },
        Some(_) => return Err(AskFailure::Shape("`lifetime` is no number of seconds from 1 on")),
    };
    if let Some(unknown) = answer.keys().next() {
        return Err(AskFailure::UnknownKey(unknown.chars().take(40).collect()));
    }
    let chain = chain(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| AskFailure::Shape("`key` is no private key in PEM"))?;
    let certificate = ServedCertificate::new(chain, key, source, provider).map_err(AskFailure::Flaw)?;
    Ok(Some(NameAnswer { certificate, options, lifetime }))
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, AskFailure> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(AskFailure::Shape("`certificate` is no chain in PEM")),
    }
}

fn text(object: &mut Map<String, Value>, key: &'static str) -> Result<Option<String>, AskFailure> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AskFailure::Shape(match key {
            "certificate" => "`certificate` is no text",
            "key" => "`key` is no text",
            "ca" => "`ca` is no text",
            _ => "a value is no text",
        })),
    }
}

fn options(
    mut options: Map<String, Value>,
    known_alpn: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Options, AskFailure> {
    let mut read = Options::default();
    if let Some(versions) = options.remove("versions").filter(|value| !value.is_null()) {
        let (mut tls12, mut tls13) = (false, false);
        for version in texts(versions, "`versions` is no array of \"1.2\" and \"1.3\"")? {
            match version.as_str() {
                "1.2" => tls12 = true,
                "1.3" => tls13 = true,
                _ => return Err(AskFailure::Shape("`versions` is no array of \"1.2\" and \"1.3\"")),
            }
        }
        read.versions = Some(match (tls12, tls13) {
            (true, true) => Versions::Tls12And13,
            (true, false) => Versions::Tls12,
            (false, true) => Versions::Tls13,
            (false, false) => return Err(AskFailure::Shape("`versions` is empty")),
        });
    }
    if let Some(alpn) = options.remove("alpn").filter(|value| !value.is_null()) {
        let alpn: Vec<Vec<u8>> =
            texts(alpn, "`alpn` is no array of names")?.into_iter().map(String::into_bytes).collect();
        // What is agreed on must be spoken.
        if !alpn.iter().all(|name| known_alpn.contains(name)) {
            return Err(AskFailure::Shape("`alpn` names a protocol that is not spoken"));
        }
        read.alpn = Some(alpn);
    }
    match options.remove("client_auth") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(false)) => read.client_auth = Some(None),
        Some(Value::Object(auth)) => read.client_auth = Some(Some(client_auth(auth, provider)?)),
        Some(_) => return Err(AskFailure::Shape("`client_auth` is neither false nor an object")),
    }
    match options.keys().next() {
        Some(unknown) => Err(AskFailure::UnknownKey(unknown.chars().take(40).collect())),
        None => Ok(read),
    }
}

fn client_auth(
    mut auth: Map<String, Value>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientAuth, AskFailure> {
    let ca = text(&mut auth, "ca")?.ok_or(AskFailure::Shape("`client_auth` has no `ca`"))?;
    let mode = match text(&mut auth, "mode")?.as_deref() {
        None | Some("require") => ClientAuthMode::Require,
        Some("request") => ClientAuthMode::Request,
        Some(_) => return Err(AskFailure::Shape("`mode` is neither \"require\" nor \"request\"")),
    };
    if let Some(unknown) = auth.keys().next() {
        return Err(AskFailure::UnknownKey(unknown.chars().take(40).collect()));
    }
    let authorities = chain(ca.as_bytes()).map_err(|_| AskFailure::Shape("`ca` is no PEM certificate"))?;
    ClientAuth::new(mode, authorities, Vec::new(), provider)
        .map_err(|problem| AskFailure::Policy(problem.to_string()))
}

fn texts(value: Value, wrong: &'static str) -> Result<Vec<String>, AskFailure> {
    let Value::Array(items) = value else { return Err(AskFailure::Shape(wrong)) };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => Ok(text),
            _ => Err(AskFailure::Shape(wrong)),
        })
        .collect()
}
