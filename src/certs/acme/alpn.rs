//! What answers a tls-alpn-01 validation (RFC 8737): a certificate with the digest of the key authorization.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::failure::OrderFailure;
use crate::tls::SharedServerConfig;
use crate::tls::challenges::ALPN;

/// For the validation of `host`, a host name or an address. `digest`: SHA-256 of the key authorization.
pub(super) fn config(host: &str, digest: &[u8]) -> Result<SharedServerConfig, OrderFailure> {
    let failed = |what: &str| OrderFailure::Internal(format!("no certificate for tls-alpn-01: {what}"));
    let key = KeyPair::generate().map_err(|error| failed(&error.to_string()))?;
    let mut params =
        CertificateParams::new(vec![host.to_owned()]).map_err(|error| failed(&error.to_string()))?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(|error| failed(&error.to_string()))?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|error| failed(&error.to_string()))?;
    // Not checked against each other: the extension is critical and of no meaning to anybody but the CA.
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The name a CA asks for when it validates `host`: addresses have their name of the reverse tree (RFC 8738 §6).
pub(super) fn server_name(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Err(_) => host.to_ascii_lowercase(),
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let mut name = String::with_capacity(72);
            for octet in address.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
            name + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_name_of_the_reverse_tree() {
        for (host, name) in [
            ("A.example", "a.example"),
            ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
            ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
        ] {
            assert_eq!(server_name(host), name);
        }
    }

    #[test]
    fn the_configuration_speaks_the_protocol_of_validations_alone() {
        for host in ["a.example", "192.0.2.1", "2001:db8::1"] {
            let config = config(host, &[7; 32]).expect("a certificate");
            assert_eq!(config.alpn_protocols, [b"acme-tls/1".to_vec()]);
        }
    }
}
