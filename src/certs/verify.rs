//! The last proof before a certificate is served: a handshake with it, in memory.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, ServerConfig,
    ServerConnection, SignatureScheme,
};

use crate::tls::{Binding, Policy, ServedCertificate, ServerConfigs, Sessions};

/// Flights of a handshake; a retry takes three each way.
const ROUNDS_MAX: usize = 8;

/// Whether a client can finish a handshake with `certificate`: the chain is read and the
/// signature of its key checked. Who signed it is not looked at, and neither are dates and names.
///
/// # Errors
/// What rustls says on the side that gave up.
pub fn verify(certificate: &ServedCertificate, configs: &ServerConfigs) -> Result<(), Error> {
    let policy = Policy::default();
    let sessions = Sessions::Off.for_site(Binding::of("verify", &policy));
    let server = configs
        .build(&policy, certificate.clone().into(), sessions)
        .map_err(|problem| Error::General(problem.to_string()))?;
    handshake(client(configs.provider())?, &server)
}

/// The client of the proof. It is about certificate and key: of the rest the client offers what costs least:
/// ten thousand are proved at a start.
fn client(provider: &Arc<CryptoProvider>) -> Result<ClientConnection, Error> {
    let mut provider = CryptoProvider::clone(provider);
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let provider = Arc::new(provider);
    let verifier = Arc::new(AnyIssuer(provider.signature_verification_algorithms));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from("localhost").expect("localhost is a name");
    ClientConnection::new(Arc::new(config), name)
}

fn handshake(mut client: ClientConnection, config: &Arc<ServerConfig>) -> Result<(), Error> {
    let mut server = ServerConnection::new(Arc::clone(config))?;
    let mut flight = Vec::new();
    for _ in 0..ROUNDS_MAX {
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
        let written = |error: std::io::Error| Error::General(error.to_string());
        flight.clear();
        while client.wants_write() {
            client.write_tls(&mut flight).map_err(written)?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).map_err(written)?;
            server.process_new_packets()?;
        }
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(written)?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).map_err(written)?;
            client.process_new_packets()?;
        }
    }
    Err(Error::HandshakeNotComplete)
}

/// Checks that the server has the key of its certificate, and nothing else about it.
#[derive(Debug)]
struct AnyIssuer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
