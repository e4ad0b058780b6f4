//! How a site talks TLS: versions, protocols, client certificates; and what ties a session to it.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::TlsProblem;

/// The versions of TLS a site speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// The handshake fails without a certificate that verifies.
    Require,
    /// A certificate is asked for; one that is shown must verify, none is fine.
    Request,
}

/// The rules for client certificates, ready for use.
///
/// A resumed session keeps the identity of its full handshake without asking again: one that was
/// revoked or ended meanwhile is let in for the session lifetime at most.
#[derive(Clone)]
pub struct ClientAuth {
    mode: ClientAuthMode,
    verifier: Arc<dyn ClientCertVerifier>,
    authorities: [u8; 32],
}

impl ClientAuth {
    /// `authorities`: certificates (DER) of those who may issue client certificates.
    ///
    /// # Errors
    /// `ClientAuthorities`: none was given, or one does not parse.
    pub fn new(
        mode: ClientAuthMode,
        authorities: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientAuth, TlsProblem> {
        let mut digests: Vec<_> =
            authorities.iter().map(|der| digest::digest(&digest::SHA256, der)).collect();
        // The order of the file does not change who is let in.
        digests.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        let mut all = digest::Context::new(&digest::SHA256);
        for one in &digests {
            all.update(one.as_ref());
        }
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|_| TlsProblem::ClientAuthorities)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match mode {
            ClientAuthMode::Require => builder,
            ClientAuthMode::Request => builder.allow_unauthenticated(),
        };
        Ok(ClientAuth {
            mode,
            verifier: builder.build().map_err(|_| TlsProblem::ClientAuthorities)?,
            authorities: sha256(all.finish()),
        })
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

/// How a site talks TLS. Two sites with equal policies may share a connection (RFC 9110 §15.5.20).
///
/// Made once and shared (`Arc<Policy>`) by all sites that want the same: the verifier of client
/// certificates in it is the costly part.
#[derive(Clone)]
pub struct Policy {
    versions: Versions,
    alpn: Vec<Vec<u8>>,
    client_auth: Option<ClientAuth>,
    fingerprint: [u8; 32],
}

impl Policy {
    /// `alpn`: protocol names, the preferred one first; none switches ALPN off.
    ///
    /// # Errors
    /// `AlpnName`: a name is empty or longer than 255 bytes.
    pub fn new(
        versions: Versions,
        alpn: Vec<Vec<u8>>,
        client_auth: Option<ClientAuth>,
    ) -> Result<Policy, TlsProblem> {
        let mut all = digest::Context::new(&digest::SHA256);
        all.update(b"portcullis policy 1");
        all.update(&[match versions {
            Versions::Tls12And13 => 1,
            Versions::Tls13 => 2,
            Versions::Tls12 => 3,
        }]);
        for name in &alpn {
            let length = u8::try_from(name.len()).map_err(|_| TlsProblem::AlpnName)?;
            if length == 0 {
                return Err(TlsProblem::AlpnName);
            }
            all.update(&[length]);
            all.update(name);
        }
        // A zero ends the names: no name is empty.
        all.update(&[0]);
        match &client_auth {
            None => all.update(&[0]),
            Some(auth) => {
                all.update(&[match auth.mode {
                    ClientAuthMode::Require => 1,
                    ClientAuthMode::Request => 2,
                }]);
                all.update(&auth.authorities);
            }
        }
        Ok(Policy { versions, alpn, client_auth, fingerprint: sha256(all.finish()) })
    }

    pub fn versions(&self) -> Versions {
        self.versions
    }

    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }

    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.client_auth.as_ref()
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
    /// TLS 1.3 and 1.2, `http/1.1`, no client certificates.
    fn default() -> Policy {
        Policy::new(Versions::default(), vec![b"http/1.1".to_vec()], None)
            .expect("http/1.1 is a protocol name")
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

fn sha256(digest: digest::Digest) -> [u8; 32] {
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(versions: Versions, alpn: &[&str]) -> Policy {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Policy::new(versions, alpn, None).unwrap()
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
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a.number() == b.number(), i == j, "{i} {j}");
                assert_eq!(a == b, i == j);
                assert_eq!(Binding::of("s", a) == Binding::of("s", b), i == j);
            }
            assert_ne!(Binding::of("one", a), Binding::of("two", a));
        }
        assert_eq!(Policy::default().number(), all[0].number());
    }

    #[test]
    fn refuses_protocol_names_out_of_bounds() {
        for name in [vec![], vec![b'a'; 256]] {
            let policy = Policy::new(Versions::default(), vec![name], None);
            assert_eq!(policy.err(), Some(TlsProblem::AlpnName));
        }
    }
}
