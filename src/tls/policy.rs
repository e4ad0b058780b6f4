//! How a site talks TLS: versions, protocols, client certificates; and what ties a session to it.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, SupportedCipherSuite};

use super::TlsProblem;

/// The versions of TLS a site speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.3 and TLS 1.2: every browser of the last ten years.
    #[default]
    Tls12And13,
    Tls13,
    Tls12,
}

impl Versions {
    pub(super) fn supported(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        use rustls::SupportedProtocolVersion as Version;
        use rustls::version::{TLS12, TLS13};
        static BOTH: [&Version; 2] = [&TLS13, &TLS12];
        static ONLY_13: [&Version; 1] = [&TLS13];
        static ONLY_12: [&Version; 1] = [&TLS12];
        match self {
            Versions::Tls12And13 => &BOTH,
            Versions::Tls13 => &ONLY_13,
            Versions::Tls12 => &ONLY_12,
        }
    }
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuthMode {
    /// The handshake fails without a certificate that verifies.
    Require,
    /// A certificate is asked for; one that is shown must verify, none is fine.
    Request,
}

/// The rules for client certificates, ready for use.
///
/// A resumed session keeps the identity of its full handshake without asking again: a certificate that
/// ended meanwhile is let in for the session lifetime at most. New revocation lists are other rules, so that
/// sessions from before do not resume.
#[derive(Clone)]
pub struct ClientAuth {
    mode: ClientAuthMode,
    verifier: Arc<dyn ClientCertVerifier>,
    // Of authorities and revocation lists.
    rules: [u8; 32],
}

impl ClientAuth {
    /// `authorities`: certificates (DER) of those who may issue client certificates. `revoked`: their
    /// revocation lists (DER, RFC 5280 §5); an authority without a list revokes nothing, a list that is past
    /// its `nextUpdate` still revokes what it names.
    ///
    /// # Errors
    /// `ClientAuthorities`: none was given, or one does not parse. `RevocationLists`: one does not parse.
    pub fn new(
        mode: ClientAuthMode,
        authorities: Vec<CertificateDer<'static>>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientAuth, TlsProblem> {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(&digest_of_all(authorities.iter().map(|der| &**der)));
        all.update(&digest_of_all(revoked.iter().map(|der| &**der)));
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|_| TlsProblem::ClientAuthorities)?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if !revoked.is_empty() {
            builder = builder.with_crls(revoked).allow_unknown_revocation_status();
        }
        let builder = match mode {
            ClientAuthMode::Require => builder,
            ClientAuthMode::Request => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| match error {
            rustls::server::VerifierBuilderError::InvalidCrl(_) => TlsProblem::RevocationLists,
            _ => TlsProblem::ClientAuthorities,
        })?;
        Ok(ClientAuth { mode, verifier, rules: sha256(all.finish()) })
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// What a policy is made of.
#[derive(Clone, Default)]
pub struct PolicySettings {
    pub versions: Versions,
    /// Protocol names, the preferred one first; none switches ALPN off.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites by their IANA names, see [`cipher_suites`]; empty: all of them.
    pub cipher_suites: Vec<String>,
    pub client_auth: Option<ClientAuth>,
    /// Chains are sent compressed to clients that take them so (RFC 8879).
    pub compression: bool,
}

/// How a site talks TLS. Two sites with equal policies may share a connection (RFC 9110 §15.5.20).
///
/// Made once and shared (`Arc<Policy>`): the verifier of client certificates in it is the costly part.
#[derive(Clone)]
pub struct Policy {
    settings: PolicySettings,
    // `None`: that of all sites.
    provider: Option<Arc<CryptoProvider>>,
    fingerprint: [u8; 32],
}

impl Policy {
    /// `provider`: the cryptography to choose suites from.
    ///
    /// # Errors
    /// `AlpnName`: a name is empty or longer than 255 bytes. `CipherSuite`: one is not known. `Versions`: a
    /// version has no suite.
    pub fn new(settings: PolicySettings, provider: &Arc<CryptoProvider>) -> Result<Policy, TlsProblem> {
        let suites = suites(&settings, provider)?;
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(b"portcullis policy 2");
        all.update(&[match settings.versions {
            Versions::Tls12And13 => 1,
            Versions::Tls13 => 2,
            Versions::Tls12 => 3,
        }]);
        for name in &settings.alpn {
            let length = u8::try_from(name.len()).map_err(|_| TlsProblem::AlpnName)?;
            if length == 0 {
                return Err(TlsProblem::AlpnName);
            }
            all.update(&[length]);
            all.update(name);
        }
        // A zero ends the names: no name is empty.
        all.update(&[0, u8::from(settings.compression)]);
        match &settings.client_auth {
            None => all.update(&[0]),
            Some(auth) => {
                all.update(&[match auth.mode {
                    ClientAuthMode::Require => 1,
                    ClientAuthMode::Request => 2,
                }]);
                all.update(&auth.rules);
            }
        }
        for suite in suites.iter().flatten() {
            all.update(&u16::from(suite.suite()).to_be_bytes());
        }
        let fingerprint = sha256(all.finish());
        let provider =
            suites.map(|cipher_suites| Arc::new(CryptoProvider { cipher_suites, ..(**provider).clone() }));
        Ok(Policy { settings, provider, fingerprint })
    }

    /// These versions with these protocols, everything else as it is by default: for tests and benches.
    #[doc(hidden)]
    pub fn speaking(versions: Versions, alpn: &[&str]) -> Policy {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let settings = PolicySettings { versions, alpn, ..PolicySettings::default() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Policy::new(settings, &provider).expect("names of protocols")
    }

    pub fn settings(&self) -> &PolicySettings {
        &self.settings
    }

    pub(super) fn provider(&self) -> Option<&Arc<CryptoProvider>> {
        self.provider.as_ref()
    }

    pub fn versions(&self) -> Versions {
        self.settings.versions
    }

    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.settings.alpn
    }

    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.settings.client_auth.as_ref()
    }

    /// Equal for equal policies, different for different ones, the same on every machine: what
    /// dispatch compares. The first eight bytes of a SHA-256 over what the policy says.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.fingerprint[..8]);
        u64::from_be_bytes(bytes)
    }
}

impl Default for Policy {
    /// TLS 1.3 and 1.2, `http/1.1`, no client certificates: what certificates are tried with.
    fn default() -> Policy {
        Policy::speaking(Versions::default(), &["http/1.1"])
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Policy {}

/// What a session is bound to: it resumes only where its binding is the same.
///
/// A digest of the site's name and its policy; nothing of one machine is in it, so that tickets
/// of a fleet open everywhere. The certificate is not in it: a renewal does not end sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; 16]);

impl Binding {
    /// `site`: the name of the site as configured, unique among sites.
    pub fn of(site: &str, policy: &Policy) -> Binding {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(b"portcullis binding 1");
        all.update(&policy.fingerprint);
        all.update(site.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&sha256(all.finish())[..16]);
        Binding(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As another process had it.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Binding {
        Binding(bytes)
    }
}

/// The suites there are, by their IANA names, in the order of preference: those of TLS 1.3 first.
pub fn cipher_suites() -> Vec<(&'static str, Versions)> {
    let all = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
    all.iter().map(|suite| (name(suite), version(suite))).collect()
}

fn name(suite: &SupportedCipherSuite) -> &'static str {
    let written = suite.suite().as_str().unwrap_or("");
    // The library writes TLS13_… where the registry has TLS_….
    match written {
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        written => written,
    }
}

fn version(suite: &SupportedCipherSuite) -> Versions {
    if suite.tls13().is_some() { Versions::Tls13 } else { Versions::Tls12 }
}

/// Those named, in the order of the library; `None`: all of them.
fn suites(
    settings: &PolicySettings,
    provider: &CryptoProvider,
) -> Result<Option<Vec<SupportedCipherSuite>>, TlsProblem> {
    let wanted = &settings.cipher_suites;
    if wanted.is_empty() {
        return Ok(None);
    }
    let known = |wanted: &String| provider.cipher_suites.iter().any(|suite| name(suite) == wanted);
    if !wanted.iter().all(known) {
        return Err(TlsProblem::CipherSuite);
    }
    let chosen: Vec<SupportedCipherSuite> = provider
        .cipher_suites
        .iter()
        .filter(|suite| wanted.iter().any(|wanted| wanted == name(suite)))
        .copied()
        .collect();
    let has = |of| chosen.iter().any(|suite| version(suite) == of);
    let served = match settings.versions {
        Versions::Tls12And13 => has(Versions::Tls12) && has(Versions::Tls13),
        one => has(one),
    };
    if served { Ok(Some(chosen)) } else { Err(TlsProblem::Versions) }
}

/// The same for any order: that of a file does not change who is let in.
fn digest_of_all<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut digests: Vec<_> = parts.map(|der| digest::digest(&digest::SHA256, der)).collect();
    digests.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    let mut all = digest::Context::new(&digest::SHA256);
    for one in &digests {
        all.update(one.as_ref());
    }
    sha256(all.finish())
}

fn sha256(digest: digest::Digest) -> [u8; 32] {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(versions: Versions, alpn: &[&str]) -> Policy {
        Policy::speaking(versions, alpn)
    }

    fn with(settings: PolicySettings) -> Result<Policy, TlsProblem> {
        Policy::new(settings, &Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
    }

    fn suites(names: &[&str], versions: Versions) -> Result<Policy, TlsProblem> {
        let cipher_suites = names.iter().map(|name| name.to_string()).collect();
        let alpn = vec![b"http/1.1".to_vec()];
        with(PolicySettings { cipher_suites, versions, alpn, ..PolicySettings::default() })
    }

    #[test]
    fn numbers_tell_policies_apart() {
        let all = [
            policy(Versions::Tls12And13, &["http/1.1"]),
            policy(Versions::Tls12And13, &["h2", "http/1.1"]),
            policy(Versions::Tls12And13, &["http/1.1", "h2"]),
            policy(Versions::Tls12And13, &[]),
            policy(Versions::Tls13, &["http/1.1"]),
            policy(Versions::Tls12, &["http/1.1"]),
            suites(&["TLS_AES_128_GCM_SHA256"], Versions::Tls13).unwrap(),
            suites(&["TLS_AES_256_GCM_SHA384"], Versions::Tls13).unwrap(),
            with(PolicySettings { compression: true, ..PolicySettings::default() }).unwrap(),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.number() == b.number(), i == j, "{i} {j}");
                assert_eq!(a == b, i == j);
                assert_eq!(Binding::of("s", a) == Binding::of("s", b), i == j);
            }
            assert_ne!(Binding::of("one", a), Binding::of("two", a));
        }
    }

    #[test]
    fn refuses_protocol_names_out_of_bounds() {
        for name in [vec![], vec![b'a'; 256]] {
            let policy = with(PolicySettings { alpn: vec![name], ..PolicySettings::default() });
            assert_eq!(policy.err(), Some(TlsProblem::AlpnName));
        }
    }

    #[test]
    fn every_version_needs_a_suite() {
        let both = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        assert!(suites(&both, Versions::Tls12And13).is_ok());
        assert_eq!(suites(&both[..1], Versions::Tls12And13).err(), Some(TlsProblem::Versions));
        assert_eq!(suites(&both[..1], Versions::Tls12).err(), Some(TlsProblem::Versions));
        assert!(suites(&both[1..], Versions::Tls12).is_ok());
        assert_eq!(
            suites(&["TLS_RSA_WITH_RC4_128_MD5"], Versions::Tls12).err(),
            Some(TlsProblem::CipherSuite)
        );
        let all = cipher_suites();
        assert_eq!(all.len(), rustls::crypto::aws_lc_rs::default_provider().cipher_suites.len());
        assert!(all.iter().all(|(name, _)| name.starts_with("TLS_") && !name.starts_with("TLS13")));
    }
}
