//! Which of the cipher suites that both sides have is used.
//!
//! Ours is the order: all suites are sound, so that it is about cost, and AES-128 costs both sides least. Except for a
//! client that puts ChaCha20 first: it has no AES instructions, and ChaCha20 is five times as fast for it. Its order is
//! followed.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;

/// Puts AES-128 before AES-256; the rest as the library has it.
pub(super) fn put_in_order(provider: &mut CryptoProvider) {
    let rank = |suite: CipherSuite| match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 1,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => 2,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => 3,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 4,
        _ => 5,
    };
    provider.cipher_suites.sort_by_key(|suite| rank(suite.suite()));
}

/// Whether the first suite a client offers is one of ChaCha20. Allocates nothing.
pub fn is_chacha20_first(hello: &ClientHello<'_>) -> bool {
    // Values of GREASE (RFC 8701) are there to be skipped.
    let is_grease = |suite: &CipherSuite| u16::from(*suite) & 0x0f0f == 0x0a0a;
    let first = hello.cipher_suites().iter().find(|suite| !is_grease(suite));
    first.is_some_and(|suite| {
        matches!(
            suite,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        )
    })
}
