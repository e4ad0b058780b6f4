//! Certificates of the cases' own, and digests to know content by.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
};

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

    /// Puts others in the place of both files, as renewers do.
    pub fn replace(&self, directory: &Path, name: &str) {
        for (ending, text) in [("pem", &self.certificate), ("key", &self.key)] {
            let beside = directory.join(format!("{name}.new"));
            std::fs::write(&beside, text).expect("a writable directory");
            std::fs::rename(&beside, directory.join(format!("{name}.{ending}"))).expect("the same directory");
        }
    }

    /// What a source answers with.
    pub fn answer(&self, more: &str) -> String {
        let text = |pem: &str| pem.replace('\n', "\\n");
        format!("{{\"certificate\":\"{}\",\"key\":\"{}\"{more}}}", text(&self.certificate), text(&self.key))
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

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// One that issues certificates to clients and servers.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each its own name: of two with the same one a client's certificate could be the other's by its issuer.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a P-256 key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// To a client with this common name and serial number.
    pub fn issue(&self, common_name: &str, serial: u64) -> Issued {
        let key = KeyPair::generate().expect("a P-256 key");
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(serial.into());
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// A list that revokes these serial numbers, as PEM.
    pub fn revoking(&self, serials: &[u64]) -> String {
        let date = |year| rcgen::date_time_ymd(year, 1, 1);
        let revoked_certs = serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: (*serial).into(),
                revocation_time: date(2024),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let params = CertificateRevocationListParams {
            this_update: date(2024),
            next_update: date(2124),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("a list").pem().expect("PEM")
    }
}

/// Of all pieces, one behind the other.
pub fn sha256(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    pieces.into_iter().for_each(|piece| digest.update(&piece));
    digest.finish().as_ref().to_vec()
}
