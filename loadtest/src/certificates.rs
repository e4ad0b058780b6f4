//! Self-signed certificates of one run, made anew, as every server wants them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::CertificateDer;

use crate::workload::Certificate;

/// One key with its certificate on disk.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate and key in one file.
    pub combined: PathBuf,
    pub der: CertificateDer<'static>,
}

pub struct Certificates {
    pub p256: Pair,
    pub rsa2048: Pair,
}

impl Certificates {
    /// Writes both pairs below `directory`.
    pub fn make(directory: &Path) -> io::Result<Certificates> {
        let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
        let rsa2048 =
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(io::Error::other)?;
        Ok(Certificates {
            p256: write(directory, "p256", &p256)?,
            rsa2048: write(directory, "rsa2048", &rsa2048)?,
        })
    }

    pub fn pair(&self, which: Certificate) -> &Pair {
        match which {
            Certificate::P256 => &self.p256,
            Certificate::Rsa2048 => &self.rsa2048,
        }
    }
}

fn write(directory: &Path, name: &str, key: &KeyPair) -> io::Result<Pair> {
    let certificate = CertificateParams::new(vec![crate::HOST.to_owned()])
        .and_then(|params| params.self_signed(key))
        .map_err(io::Error::other)?;
    let pair = Pair {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
        combined: directory.join(format!("{name}.both.pem")),
        der: certificate.der().clone(),
    };
    fs::write(&pair.certificate, certificate.pem())?;
    fs::write(&pair.key, key.serialize_pem())?;
    fs::write(&pair.combined, certificate.pem() + &key.serialize_pem())?;
    Ok(pair)
}
