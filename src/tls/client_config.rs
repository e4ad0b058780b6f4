//! What rustls is told about site servers behind HTTPS: who may vouch for them, and that they must be vouched for.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::TlsProblem;

/// How connections to a site server are made; shared by all of them.
pub type SharedClientConfig = Arc<ClientConfig>;

/// The name a site server's certificate must cover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamName(ServerName<'static>);

impl UpstreamName {
    /// A host name or an address; no brackets around IPv6. `None`: it is neither.
    pub fn new(text: &str) -> Option<UpstreamName> {
        ServerName::try_from(text.to_owned()).ok().map(UpstreamName)
    }

    /// As rustls takes it.
    pub fn server_name(&self) -> ServerName<'static> {
        self.0.clone()
    }
}

/// A configuration that trusts the given authorities alone. `authorities`: certificates as DER; what cannot be read is
/// left out, as every TLS library does with the oddities of system stores.
///
/// # Errors
/// `Authorities`: none of them is usable. `Versions`: never with the cryptography we use.
pub fn client_config(
    authorities: impl IntoIterator<Item = CertificateDer<'static>>,
    alpn: &[&[u8]],
) -> Result<SharedClientConfig, TlsProblem> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(authorities);
    if usable == 0 {
        return Err(TlsProblem::Authorities);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsProblem::Versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// The certificates of a PEM file, which may hold several.
///
/// # Errors
/// `Authorities`: it is not PEM, or holds no certificate.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsProblem::Authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_and_addresses() {
        for (text, good) in [
            ("app.internal", true),
            ("10.0.0.2", true),
            ("::1", true),
            ("[::1]", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(UpstreamName::new(text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn without_an_authority_there_is_no_configuration() {
        assert_eq!(client_config([], &[b"http/1.1"]).err(), Some(TlsProblem::Authorities));
        assert_eq!(authorities(b"not PEM at all").err(), Some(TlsProblem::Authorities));
        let key = rcgen::KeyPair::generate().unwrap();
        let pem =
            rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let config = client_config(authorities(pem.as_bytes()).unwrap(), &[b"http/1.1"]).unwrap();
        assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    }
}
