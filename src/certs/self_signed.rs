//! Certificates signed by their own key, for sites that have no other: made, kept, renewed.
//!
//! One file for each site, `self_signed/<site>/identity.pem` in the state directory (0600 in a
//! directory of 0700), holds key and certificate, so that they cannot part. Beside it lies
//! `certificate.pem`, the certificate alone, for clients that are to trust it. A file that does
//! not begin with our line is somebody else's and stays as it is.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::{CertificateProblem, CertificateTrouble, keep, pem};
use crate::tls::{CertificateFlaw, CertificateNames, ServedCertificate, SourceWord};

const FIRST_LINE: &str = "# Made by portcullis, which replaces this file before the certificate ends.\n";
const DAY_SECONDS: u64 = 24 * 3600;
/// Clients that trust it by hand accept 825 days at most; a year is well within.
const VALID_DAYS: u64 = 365;
/// Left when it is renewed. The thread that builds generations looks far more often.
const RENEW_DAYS: u64 = 30;
/// A client whose clock is behind by less than this takes it the moment it is made.
const BACKDATED_SECONDS: u64 = 3600;

/// The self-signed certificate of `site`: the one kept, or a new one when there is none, when
/// its names are not those of the site, or when it ends within 30 days.
///
/// `names`: the site's hosts, wildcards and addresses; `*` (the fallback site) stands for
/// `localhost`, `127.0.0.1` and `::1`. `key`: a private key to sign with, which is read only.
/// `now`: seconds since 1970.
///
/// # Errors
/// A name that a certificate cannot hold, a key that cannot sign, what the file system says, and
/// a file of somebody else where ours would go.
pub fn self_signed(
    site: &str,
    names: &[String],
    key: Option<&Path>,
    state_directory: &Path,
    now: i64,
    provider: &CryptoProvider,
) -> Result<ServedCertificate, CertificateProblem> {
    let directory = state_directory.join("self_signed").join(file_name(site));
    let path = directory.join("identity.pem");
    let wanted = subject_names(&path, names)?;
    let own_key = key.map(read_key).transpose()?;
    let kept = kept(&path, own_key.as_ref(), provider)?;
    if let Some(kept) = kept.filter(|kept| is_good(kept, &wanted, now)) {
        return Ok(kept);
    }
    let (identity, certificate) = make(&path, wanted, own_key.as_ref(), key, now)?;
    keep::make_directory(&directory)?;
    keep::write(&path, identity.as_bytes(), 0o600)?;
    keep::write(&directory.join("certificate.pem"), certificate.as_bytes(), 0o644)?;
    load(&path, identity.as_bytes(), own_key.as_ref(), provider)
}

/// The self-signed certificate of `site` that is kept, whatever its names and dates; nothing is made.
///
/// # Errors
/// It or `key` cannot be read.
pub fn kept_self_signed(
    site: &str,
    key: Option<&Path>,
    state_directory: &Path,
    provider: &CryptoProvider,
) -> Result<Option<ServedCertificate>, CertificateProblem> {
    let path = state_directory.join("self_signed").join(file_name(site)).join("identity.pem");
    kept(&path, key.map(read_key).transpose()?.as_ref(), provider)
}

/// The certificate kept at `path`; `None` when there is none, or ours cannot be used any more.
fn kept(
    path: &Path,
    own_key: Option<&PrivateKeyDer<'static>>,
    provider: &CryptoProvider,
) -> Result<Option<ServedCertificate>, CertificateProblem> {
    let file = match pem::read(path) {
        Ok(file) => file,
        Err(CertificateProblem { trouble: CertificateTrouble::Io(error), .. })
            if error.kind() == ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        Err(problem) => return Err(problem),
    };
    if !file.bytes.starts_with(FIRST_LINE.as_bytes()) {
        return Err(CertificateProblem::new(path, CertificateTrouble::NotOurs));
    }
    Ok(load(path, &file.bytes, own_key, provider).ok())
}

fn load(
    path: &Path,
    identity: &[u8],
    own_key: Option<&PrivateKeyDer<'static>>,
    provider: &CryptoProvider,
) -> Result<ServedCertificate, CertificateProblem> {
    let chain = pem::chain(path, identity)?;
    let key = match own_key {
        Some(key) => key.clone_key(),
        None => pem::key(path, identity)?,
    };
    ServedCertificate::new(chain, key, SourceWord::SelfSigned, provider)
        .map_err(|flaw| CertificateProblem::new(path, CertificateTrouble::Flaw(flaw)))
}

fn is_good(kept: &ServedCertificate, wanted: &[SanType], now: i64) -> bool {
    let hosts = wanted.iter().filter_map(|name| match name {
        SanType::DnsName(host) => Some(host.as_str().as_bytes()),
        _ => None,
    });
    let mut addresses: Vec<IpAddr> = Vec::new();
    for name in wanted {
        if let SanType::IpAddress(address) = name {
            addresses.push(*address);
        }
    }
    let wanted = CertificateNames::new(hosts, addresses);
    let renew_at = kept.not_after() - (RENEW_DAYS * DAY_SECONDS) as i64;
    *kept.names() == wanted && (kept.not_before()..renew_at).contains(&now)
}

/// The file with key and certificate, and the certificate alone, in PEM.
fn make(
    path: &Path,
    names: Vec<SanType>,
    own_key: Option<&PrivateKeyDer<'static>>,
    key_path: Option<&Path>,
    now: i64,
) -> Result<(Zeroizing<String>, String), CertificateProblem> {
    let failed = |_| CertificateProblem::new(path, CertificateTrouble::Generation);
    let key = match own_key {
        Some(key) => KeyPair::try_from(key).map_err(|_| {
            CertificateProblem::new(key_path.unwrap_or(path), CertificateTrouble::KeyNotForSigning)
        })?,
        None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?,
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "portcullis self-signed");
    let now = Duration::from_secs(u64::try_from(now).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(Duration::from_secs(BACKDATED_SECONDS));
    params.not_after = epoch + now + Duration::from_secs(VALID_DAYS * DAY_SECONDS);
    params.subject_alt_names = names;
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(failed)?.pem();
    let mut identity = Zeroizing::new(String::with_capacity(16 * 1024));
    identity.push_str(FIRST_LINE);
    if own_key.is_none() {
        identity.push_str(&Zeroizing::new(key.serialize_pem()));
    }
    identity.push_str(&certificate);
    Ok((identity, certificate))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateProblem> {
    pem::key(path, &pem::read(path)?.bytes)
}

fn subject_names(path: &Path, names: &[String]) -> Result<Vec<SanType>, CertificateProblem> {
    if names.is_empty() {
        let trouble = CertificateTrouble::Flaw(CertificateFlaw::NoNames);
        return Err(CertificateProblem::new(path, trouble));
    }
    let mut all = Vec::with_capacity(names.len() + 3);
    let mut hosts = Vec::with_capacity(names.len() + 1);
    for name in names {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        if name == "*" {
            hosts.push("localhost");
            all.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
            all.push(SanType::IpAddress(Ipv6Addr::LOCALHOST.into()));
        } else if let Ok(address) = bare.parse() {
            all.push(SanType::IpAddress(address));
        } else {
            hosts.push(name);
        }
    }
    for host in hosts {
        // Without it the certificate would say less than was asked for (RFC 5280 §4.2.1.6: IA5String).
        let refused = || {
            let name = host.to_owned();
            CertificateProblem::new(path, CertificateTrouble::Name { name })
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(refused());
        }
        let host = host.to_ascii_lowercase().try_into();
        all.push(SanType::DnsName(host.map_err(|_| refused())?));
    }
    Ok(all)
}

/// A site's name as the name of one directory: what is no letter, digit, dot, hyphen or
/// underscore is written %XX, so that no two sites share one and none leaves the state directory.
pub(super) fn file_name(site: &str) -> PathBuf {
    let mut name = String::with_capacity(site.len());
    for (at, byte) in site.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || (byte == b'.' && at > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.is_empty() {
        name.push('%');
    }
    PathBuf::from(name)
}
