//! TLS of the clients: one version, one cipher suite and one group, so that every server does the same work.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption, Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};

use crate::workload::Arrival;

const TICKETS_MAX: usize = 1024;

/// The configuration for one way of arriving at a server with this certificate.
///
/// # Errors
/// rustls has no such combination.
pub fn config(
    arrival: Arrival,
    certificate: &CertificateDer<'static>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let group = match arrival {
        Arrival::FullHandshakePostQuantum => kx_group::X25519MLKEM768,
        _ => kx_group::X25519,
    };
    // What browsers ask for first.
    let (version, suite) = match arrival {
        Arrival::ResumedByIdTls12 => {
            (&rustls::version::TLS12, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
        }
        _ => (&rustls::version::TLS13, cipher_suite::TLS13_AES_128_GCM_SHA256),
    };
    let provider = CryptoProvider {
        cipher_suites: vec![suite],
        // In TLS 1.2 the list says, too, of which curve a certificate may be (RFC 8422 §5.1.1).
        kx_groups: match arrival {
            Arrival::ResumedByIdTls12 => vec![group, kx_group::SECP256R1],
            _ => vec![group],
        },
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Known(certificate.clone())))
        .with_no_client_auth();
    if matches!(arrival, Arrival::Http2 { .. }) {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    config.resumption = match arrival {
        Arrival::ResumedHandshake => Resumption::store(Arc::new(Tickets::default())),
        Arrival::ResumedByIdTls12 => {
            Resumption::in_memory_sessions(1).tls12_resumption(Tls12Resumption::SessionIdOnly)
        }
        _ => Resumption::disabled(),
    };
    Ok(Arc::new(config))
}

/// Takes the certificate of the run and no other. Signatures are not checked: the client's work is not what is measured.
#[derive(Debug)]
struct Known(CertificateDer<'static>);

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.0.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// TLS 1.3 tickets of one server, each used once, the oldest first.
///
/// rustls's own store keeps eight a server: too few for many connections at a time.
#[derive(Debug, Default)]
struct Tickets(Mutex<VecDeque<Tls13ClientSessionValue>>);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
