//! Certificates of the cases' own, and digests to know content by.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

/// A self-signed certificate and its key, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Issued {
    pub fn for_names(names: &[&str]) -> Issued {
        let key = KeyPair::generate().expect("a P-256 key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names of DNS");
        let certificate = params.self_signed(&key).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// Writes both files and returns the entry of `certificate` that names them.
    pub fn write(&self, directory: &Path, name: &str) -> String {
        let certificate = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}.key"));
        std::fs::write(&certificate, &self.certificate).expect("a writable directory");
        std::fs::write(&key, &self.key).expect("a writable directory");
        format!("certificate = [{{ source = \"files\", certificate = {certificate:?}, key = {key:?} }}]\n")
    }
}

/// Of all pieces, one behind the other.
pub fn sha256(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    pieces.into_iter().for_each(|piece| digest.update(&piece));
    digest.finish().as_ref().to_vec()
}
