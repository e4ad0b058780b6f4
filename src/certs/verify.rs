//! The last proof before a certificate is served: a handshake with it, in memory.

use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{
    ActiveKeyExchange, CipherSuiteCommon, CryptoProvider, SharedSecret, SupportedKxGroup,
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, ServerConfig,
    ServerConnection, SignatureScheme, SupportedCipherSuite, Tls13CipherSuite,
};

use crate::tls::{CertificateSet, ServedCertificate, ServerConfigs};

/// Flights of a handshake; a retry takes three each way.
const ROUNDS_MAX: usize = 8;

/// Both sides of the proof, made once: ten thousand certificates are proved at a start.
static SIDES: OnceLock<Result<Sides, Error>> = OnceLock::new();

/// Whether a client can finish a handshake with `certificate`: the chain is read and the
/// signature of its key checked. Who signed it is not looked at, and neither are dates and names.
///
/// # Errors
/// What rustls says on the side that gave up.
pub fn verify(certificate: &ServedCertificate, configs: &ServerConfigs) -> Result<(), Error> {
    let sides = SIDES.get_or_init(|| Sides::new(configs.provider())).as_ref().map_err(Error::clone)?;
    let mut server = ServerConfig::clone(&sides.server);
    server.cert_resolver = Arc::new(CertificateSet::from(certificate.clone()));
    let name = ServerName::try_from("localhost").expect("localhost is a name");
    handshake(ClientConnection::new(Arc::clone(&sides.client), name)?, &Arc::new(server))
}

/// The proof is about certificate and key. Of the rest both sides have what costs least.
struct Sides {
    client: Arc<ClientConfig>,
    // Has no certificate.
    server: ServerConfig,
}

impl Sides {
    fn new(provider: &CryptoProvider) -> Result<Sides, Error> {
        let mut provider = CryptoProvider::clone(provider);
        provider.kx_groups = vec![&NoSecret];
        provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
        provider.cipher_suites.iter_mut().for_each(without_key_schedule);
        let provider = Arc::new(provider);
        let verifier = Arc::new(AnyIssuer(provider.signature_verification_algorithms));
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        client.cert_decompressors = Vec::new();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.cert_compressors = Vec::new();
        Ok(Sides { client: Arc::new(client), server })
    }
}

/// The key exchange of the proof: nobody listens in memory, so what is agreed on is known.
#[derive(Debug)]
struct NoSecret;

impl SupportedKxGroup for NoSecret {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(NoSecret))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for NoSecret {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[0; 32][..]))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }

    fn pub_key(&self) -> &[u8] {
        &[0; 32]
    }
}

/// One of each process: see [`SIDES`].
fn without_key_schedule(suite: &mut SupportedCipherSuite) {
    if let SupportedCipherSuite::Tls13(whole) = *suite {
        let common = CipherSuiteCommon {
            suite: whole.common.suite,
            hash_provider: whole.common.hash_provider,
            confidentiality_limit: whole.common.confidentiality_limit,
        };
        *suite = SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common,
            hkdf_provider: &NoSchedule,
            aead_alg: whole.aead_alg,
            quic: None,
        })));
    }
}

/// The key schedule of the proof: what follows from a secret that is known need not be derived, for each of
/// thousands of sites. The signature is over the hash of the handshake, which is made as ever.
struct NoSchedule;

const HASH_BYTES: usize = 32;

impl Hkdf for NoSchedule {
    fn extract_from_zero_ikm(&self, _: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        Box::new(NoSchedule)
    }

    fn extract_from_secret(&self, _: Option<&[u8]>, _: &[u8]) -> Box<dyn HkdfExpander> {
        Box::new(NoSchedule)
    }

    fn expander_for_okm(&self, _: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(NoSchedule)
    }

    fn hmac_sign(&self, _: &OkmBlock, _: &[u8]) -> Tag {
        Tag::new(&[0; HASH_BYTES])
    }
}

impl HkdfExpander for NoSchedule {
    fn expand_slice(&self, _: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        output.fill(0);
        Ok(())
    }

    fn expand_block(&self, _: &[&[u8]]) -> OkmBlock {
        OkmBlock::new(&[0; HASH_BYTES])
    }

    fn hash_len(&self) -> usize {
        HASH_BYTES
    }
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
