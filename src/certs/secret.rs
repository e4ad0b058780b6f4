//! The fleet's secret: read whole, and for the eyes of its owner only.

use std::path::Path;

use zeroize::Zeroizing;

use super::{CertificateProblem, CertificateTrouble, pem};

/// All bytes of the file. A file that everybody can read is no secret.
///
/// # Errors
/// What the system says; `ReadableSecret`.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateProblem> {
    let file = pem::read(path)?;
    if file.readable_by_all {
        return Err(CertificateProblem::new(path, CertificateTrouble::ReadableSecret));
    }
    Ok(file.bytes)
}
