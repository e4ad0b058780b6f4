//! The configuration rustls serves a site with; thousands of them share what can be shared.

use std::sync::Arc;

use rustls::compress::CompressionCache;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{KeyLog, NoKeyLog, ServerConfig};

use super::traffic_secrets::Capture;
use super::{CertificateSet, Policy, SiteSessions, TlsProblem};

/// What rustls is told about a site, shared by its connections.
pub type SharedServerConfig = Arc<ServerConfig>;

/// Makes the configurations of all sites; one for the process.
///
/// A configuration takes some 600 bytes and 3 µs beside its certificate: cryptography, verifiers, clock and
/// key log are the same object in all of them.
pub struct ServerConfigs {
    provider: Arc<CryptoProvider>,
    no_client_auth: Arc<dyn ClientCertVerifier>,
    time: Arc<dyn TimeProvider>,
    key_log: Arc<dyn KeyLog>,
    no_compression: Arc<CompressionCache>,
}

impl ServerConfigs {
    /// `key_log`: where the secrets of every connection are written, for debugging; the shell
    /// gives `rustls::KeyLogFile` only when the operator asked for it by name. `None`: nowhere.
    pub fn new(key_log: Option<Arc<dyn KeyLog>>) -> ServerConfigs {
        ServerConfigs {
            // X25519MLKEM768 first: the feature `prefer-post-quantum` of rustls.
            provider: Arc::new(aws_lc_rs::default_provider()),
            no_client_auth: WebPkiClientVerifier::no_client_auth(),
            time: Arc::new(DefaultTimeProvider),
            key_log: Arc::new(Capture { also: key_log.unwrap_or_else(|| Arc::new(NoKeyLog)) }),
            no_compression: Arc::new(CompressionCache::Disabled),
        }
    }

    /// The cryptography all of this program uses.
    pub fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// The configuration of a site: `sessions` from [`Sessions::for_site`](super::Sessions::for_site)
    /// with the binding of the same policy.
    ///
    /// # Errors
    /// `Versions`: the cryptography has no suite for the versions of `policy`.
    pub fn build(
        &self,
        policy: &Policy,
        certificates: CertificateSet,
        sessions: SiteSessions,
    ) -> Result<Arc<ServerConfig>, TlsProblem> {
        self.build_with(policy, Arc::new(certificates), sessions)
    }

    /// The same with a resolver of one's own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with(
        &self,
        policy: &Policy,
        certificates: Arc<dyn ResolvesServerCert>,
        sessions: SiteSessions,
    ) -> Result<Arc<ServerConfig>, TlsProblem> {
        let verifier = match policy.client_auth() {
            Some(auth) => auth.verifier(),
            None => Arc::clone(&self.no_client_auth),
        };
        let provider = policy.provider().unwrap_or(&self.provider);
        let mut config = ServerConfig::builder_with_details(Arc::clone(provider), Arc::clone(&self.time))
            .with_protocol_versions(policy.versions().supported())
            .map_err(|_| TlsProblem::Versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(certificates);
        config.alpn_protocols = policy.alpn().to_vec();
        // The library compresses for everyone it can. Clients' chains are taken as they are: unpacking is
        // work that strangers could order.
        config.cert_decompressors = Vec::new();
        if !policy.settings().compression {
            config.cert_compressors = Vec::new();
            config.cert_compression_cache = Arc::clone(&self.no_compression);
        }
        config.session_storage = sessions.storage;
        config.ticketer = sessions.tickets;
        config.send_tls13_tickets = sessions.tickets_sent;
        config.max_tls13_tickets = sessions.tickets_max;
        config.key_log = Arc::clone(&self.key_log);
        // After the handshake the keys are ours: see `records`.
        config.enable_secret_extraction = true;
        // The client's order of suites: all of ours are sound, and a client without AES
        // instructions puts ChaCha20 first, which is five times as fast for it.
        config.ignore_client_order = false;
        // No 0-RTT: a request could be replayed (RFC 8446 §8).
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}
