//! Chains and keys out of PEM files: PKCS#1, PKCS#8, SEC1, alone or in one file with the chain.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use memchr::memmem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{CertificateProblem, CertificateTrouble};

/// A chain with its key takes some 10 KiB.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of a file, wiped when dropped; and whether everybody may read it.
pub(super) struct PemFile {
    pub bytes: Zeroizing<Vec<u8>>,
    pub readable_by_all: bool,
}

/// Reads `path`, 1 MiB at most.
pub(super) fn read(path: &Path) -> Result<PemFile, CertificateProblem> {
    let file = File::open(path).map_err(CertificateProblem::io(path))?;
    let metadata = file.metadata().map_err(CertificateProblem::io(path))?;
    // Room for all of it beforehand: a buffer that grows leaves copies of the key behind.
    let room = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(FILE_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(CertificateProblem::io(path))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(CertificateProblem::new(path, CertificateTrouble::TooLarge));
    }
    Ok(PemFile { bytes, readable_by_all: metadata.permissions().mode() & 0o004 != 0 })
}

/// All certificates in `pem`, in its order.
///
/// # Errors
/// `NotPem`, `NoCertificate`; `path` is for the message.
pub(super) fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    // In the room they need: the parser takes more, and sites come by the thousand.
    let exact = |certificate: CertificateDer<'_>| CertificateDer::from(certificate.to_vec());
    let mut chain = CertificateDer::pem_slice_iter(pem)
        .map(|certificate| certificate.map(exact))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| CertificateProblem::new(path, CertificateTrouble::NotPem))?;
    chain.shrink_to_fit();
    if !chain.is_empty() {
        return Ok(chain);
    }
    let trouble = if memmem::find(pem, b"-----BEGIN ").is_some() {
        CertificateTrouble::NoCertificate
    } else {
        CertificateTrouble::NotPem
    };
    Err(CertificateProblem::new(path, trouble))
}

/// The first private key in `pem`.
///
/// # Errors
/// `EncryptedKey`, `NotPem`, `NoKey`; `path` is for the message.
pub(super) fn key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateProblem> {
    let problem = |trouble| Err(CertificateProblem::new(path, trouble));
    // PKCS#8 has a label of its own for it, the older forms a header inside (RFC 1421 §4.6.1.1).
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"4,ENCRYPTED"];
    if encrypted.iter().any(|sign| memmem::find(pem, sign).is_some()) {
        return problem(CertificateTrouble::EncryptedKey);
    }
    match PrivateKeyDer::pem_slice_iter(pem).next() {
        Some(Ok(key)) => Ok(key),
        None if memmem::find(pem, b"-----BEGIN ").is_some() => problem(CertificateTrouble::NoKey),
        Some(Err(_)) | None => problem(CertificateTrouble::NotPem),
    }
}
