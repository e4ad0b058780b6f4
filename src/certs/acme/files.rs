//! The files of the state directory: what is kept of accounts, orders and certificates.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::settings::{AcmeCa, AcmeSite};
use crate::certs::self_signed::file_name;
use crate::certs::{CertificateProblem, CertificateTrouble, keep, pem};
use crate::tls::renewal::{CaHistory, Validity, Window};
use crate::tls::{CertificateFlaw, ServedCertificate, SourceWord};

/// The first line of a certificate: who issued it.
const ISSUED: &str = "# Ordered by portcullis from ";
/// The first line of an order under way: where it is, with which CA, and for which names.
const ORDER: &str = "# Order under way: ";

/// The certificate kept for `site`.
///
/// # Errors
/// `NotOrderedYet` when there is none; what is wrong with it.
pub fn kept(
    site: &str,
    state_directory: &Path,
    provider: &CryptoProvider,
) -> Result<(ServedCertificate, PathBuf), CertificateProblem> {
    let files = SiteFiles::new(state_directory, site);
    match files.certificate(provider) {
        Ok(Some(kept)) => Ok((kept.certificate, files.path(CERTIFICATE))),
        Ok(None) => Err(CertificateProblem::new(Path::new(""), CertificateTrouble::NotOrderedYet)),
        Err(problem) => Err(problem),
    }
}

const CERTIFICATE: &str = "certificate.pem";
const UNDER_WAY: &str = "order.pem";
const HISTORY: &str = "history.json";

/// What is kept for one site.
#[derive(Clone)]
pub(super) struct SiteFiles {
    directory: Arc<Path>,
}

/// A certificate with its CA.
#[derive(Clone)]
pub(super) struct Kept {
    pub certificate: ServedCertificate,
    pub directory_url: String,
}

impl Kept {
    /// Whether it may be served for what is wanted: all names, from one of the CAs.
    pub(super) fn is_for(&self, wanted: &AcmeSite) -> bool {
        let covered = |name: &String| self.certificate.names().covers_pattern(name.as_bytes());
        wanted.cas.iter().any(|ca| ca.directory_url == self.directory_url) && wanted.names.iter().all(covered)
    }

    /// By its dates; of two with the same dates all machines choose the same one.
    pub(super) fn is_newer(&self, than: &Kept) -> bool {
        let age = |of: &Kept| {
            let Validity { not_before, not_after } = of.validity();
            (not_before, not_after, of.certificate.chain().first().map(|leaf| leaf.to_vec()))
        };
        age(self) > age(than)
    }

    pub(super) fn validity(&self) -> Validity {
        Validity { not_before: self.certificate.not_before(), not_after: self.certificate.not_after() }
    }

    /// The same at each look and on each machine, another one for each certificate.
    pub(super) fn seed(&self) -> u64 {
        let leaf = self.certificate.chain().first().map_or(&[][..], |leaf| leaf.as_ref());
        // The signature is its end.
        let end = leaf.last_chunk::<8>().copied().unwrap_or_default();
        u64::from_le_bytes(end)
    }
}

/// An order that was made and not ended.
pub(super) struct UnderWay {
    pub url: String,
    /// The CA's directory URL and the names, as [`OrderOf`] writes them.
    pub of: String,
    /// Once it was about to be finalized.
    pub key: Option<Zeroizing<String>>,
}

/// What tells orders of a site apart.
#[derive(Clone, Copy)]
pub(super) struct OrderOf<'a> {
    pub directory_url: &'a str,
    pub names: &'a [String],
}

impl std::fmt::Display for OrderOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.directory_url, self.names.join(","))
    }
}

/// What happened so far with the CAs of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// By directory URL.
    pub cas: Vec<(String, CaHistory)>,
    pub last_error: Option<(i64, String)>,
    /// The CA's suggestion for the certificate kept, and when to ask for it again.
    pub window: Option<Window>,
    pub window_again: i64,
}

impl SiteFiles {
    pub(super) fn new(state_directory: &Path, site: &str) -> SiteFiles {
        SiteFiles { directory: state_directory.join("acme/certificates").join(file_name(site)).into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CertificateProblem> {
        keep::make_directory(&self.directory)?;
        keep::write(&self.path(name), text.as_bytes(), 0o600)
    }

    /// The certificate that is kept; `None`: there is none.
    pub(super) fn certificate(&self, provider: &CryptoProvider) -> Result<Option<Kept>, CertificateProblem> {
        let path = self.path(CERTIFICATE);
        read(&path)?.map(|text| self.parse(&text, provider)).transpose()
    }

    /// What [`certificate`](Self::certificate) will read: to be looked at before it is kept.
    pub(super) fn parse(&self, text: &str, provider: &CryptoProvider) -> Result<Kept, CertificateProblem> {
        let certificate = parse(&self.path(CERTIFICATE), text.as_bytes(), provider)?;
        let directory_url = first_line(text, ISSUED).unwrap_or_default().to_owned();
        Ok(Kept { certificate, directory_url })
    }

    pub(super) fn put_certificate(&self, text: &str) -> Result<(), CertificateProblem> {
        self.write(CERTIFICATE, text)
    }

    /// The text of the certificate's file.
    pub(super) fn certificate_text(&self) -> Result<Option<Zeroizing<String>>, CertificateProblem> {
        read(&self.path(CERTIFICATE))
    }

    /// The order under way. One whose certificate is kept has ended: the process died before it said so.
    pub(super) fn under_way(&self) -> Result<Option<UnderWay>, CertificateProblem> {
        let Some(text) = read(&self.path(UNDER_WAY))? else { return Ok(None) };
        let Some((url, of)) = first_line(&text, ORDER).and_then(|line| line.split_once(' ')) else {
            return Ok(None);
        };
        let key = text.split_once('\n').map(|(_, key)| key).filter(|key| !key.is_empty());
        if let Some(key) = key
            && let Some(kept) = self.certificate_text()?
            && kept.contains(key)
        {
            self.forget_order()?;
            return Ok(None);
        }
        let (url, of) = (url.to_owned(), of.to_owned());
        Ok(Some(UnderWay { url, of, key: key.map(|key| Zeroizing::new(key.to_owned())) }))
    }

    /// `key`: in PEM, empty before the order is finalized.
    pub(super) fn put_order(&self, url: &str, of: OrderOf<'_>, key: &str) -> Result<(), CertificateProblem> {
        self.write(UNDER_WAY, &Zeroizing::new(format!("{ORDER}{url} {of}\n{key}")))
    }

    pub(super) fn forget_order(&self) -> Result<(), CertificateProblem> {
        remove(&self.path(UNDER_WAY))
    }

    pub(super) fn history(&self) -> History {
        // Without it an order is made earlier than it should be, no more.
        read(&self.path(HISTORY)).ok().flatten().and_then(|text| History::parse(&text)).unwrap_or_default()
    }

    pub(super) fn put_history(&self, history: &History) -> Result<(), CertificateProblem> {
        self.write(HISTORY, &history.to_string())
    }
}

/// The file of a certificate. `key` and `chain` in PEM.
pub(super) fn certificate_text(directory_url: &str, key: &str, chain: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{ISSUED}{directory_url}\n{}\n{}\n", key.trim_end(), chain.trim_end()))
}

fn first_line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().next()?.strip_prefix(start)
}

fn parse(
    path: &Path,
    bytes: &[u8],
    provider: &CryptoProvider,
) -> Result<ServedCertificate, CertificateProblem> {
    let chain = pem::chain(path, bytes)?;
    let key: PrivateKeyDer<'static> = pem::key(path, bytes)?;
    ServedCertificate::new(chain, key, SourceWord::Acme, provider)
        .map_err(|flaw: CertificateFlaw| CertificateProblem::new(path, CertificateTrouble::Flaw(flaw)))
}

/// `None`: there is no such file.
fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CertificateProblem> {
    match pem::read(path) {
        Ok(file) => {
            let text = std::str::from_utf8(&file.bytes);
            let not_pem = |_| CertificateProblem::new(path, CertificateTrouble::NotPem);
            Ok(Some(Zeroizing::new(text.map_err(not_pem)?.to_owned())))
        }
        Err(CertificateProblem { trouble: CertificateTrouble::Io(error), .. })
            if error.kind() == ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

fn remove(path: &Path) -> Result<(), CertificateProblem> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CertificateProblem::io(path)(error)),
        _ => Ok(()),
    }
}

impl History {
    pub(super) fn of(&self, directory_url: &str) -> CaHistory {
        let known = self.cas.iter().find(|(url, _)| url == directory_url);
        known.map_or_else(CaHistory::default, |(_, history)| *history)
    }

    pub(super) fn set(&mut self, directory_url: &str, history: CaHistory) {
        self.cas.retain(|(url, _)| url != directory_url);
        self.cas.push((directory_url.to_owned(), history));
    }

    pub(super) fn parse(text: &str) -> Option<History> {
        let value: Value = serde_json::from_str(text).ok()?;
        let cas = value["cas"].as_array().into_iter().flatten().filter_map(|ca| {
            let failures = u32::try_from(ca["failures"].as_u64()?).ok()?;
            let history = CaHistory { failures, not_before: ca["not_before"].as_i64()? };
            Some((ca["directory_url"].as_str()?.to_owned(), history))
        });
        let error = &value["last_error"];
        let window = &value["window"];
        Some(History {
            cas: cas.collect(),
            last_error: error["at"].as_i64().zip(error["text"].as_str().map(str::to_owned)),
            window: window["start"]
                .as_i64()
                .zip(window["end"].as_i64())
                .map(|(start, end)| Window { start, end }),
            window_again: value["window_again"].as_i64().unwrap_or(0),
        })
    }
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cas = self.cas.iter().map(|(url, history)| {
            json!({ "directory_url": url, "failures": history.failures, "not_before": history.not_before })
        });
        let cas: Vec<Value> = cas.collect();
        let error = self.last_error.as_ref().map(|(at, text)| json!({ "at": at, "text": text }));
        let window = self.window.map(|window| json!({ "start": window.start, "end": window.end }));
        let all =
            json!({ "cas": cas, "last_error": error, "window": window, "window_again": self.window_again });
        writeln!(f, "{all}")
    }
}

/// Where the account with a CA is kept. Another contact or binding is another account.
pub(super) struct AccountFile {
    path: PathBuf,
    /// What tells it from others.
    pub name: String,
}

impl AccountFile {
    pub(super) fn new(state_directory: &Path, ca: &AcmeCa) -> AccountFile {
        let mut all = Context::new(&SHA256);
        let binding = ca.external_account.as_ref().map_or("", |binding| &binding.key_id);
        for part in
            [ca.directory_url.as_str(), binding].into_iter().chain(ca.contact.iter().map(String::as_str))
        {
            all.update(part.as_bytes());
            all.update(b"\n");
        }
        let digest = all.finish();
        let name: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        AccountFile { path: state_directory.join("acme/accounts").join(format!("{name}.json")), name }
    }

    pub(super) fn read(&self) -> Result<Option<Zeroizing<String>>, CertificateProblem> {
        read(&self.path)
    }

    pub(super) fn write(&self, text: &str) -> Result<(), CertificateProblem> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        keep::make_directory(directory)?;
        keep::write(&self.path, text.as_bytes(), 0o600)
    }

    pub(super) fn forget(&self) -> Result<(), CertificateProblem> {
        remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let mut history = History {
            last_error: Some((7, "it said \"no\"\nand more".to_owned())),
            window: Some(Window { start: 5, end: 9 }),
            window_again: 11,
            ..History::default()
        };
        history.set("https://ca.example/a", CaHistory { failures: 3, not_before: -4 });
        history.set("https://ca.example/b", CaHistory { failures: 1, not_before: 6 });
        assert_eq!(History::parse(&history.to_string()), Some(history.clone()));
        assert_eq!(History::parse(&History::default().to_string()), Some(History::default()));
        assert_eq!(history.of("https://ca.example/a").failures, 3);
        assert_eq!(history.of("https://ca.example/c"), CaHistory::default());
        for broken in ["", "{", "[]", "{\"cas\":[{}]}"] {
            assert!(History::parse(broken).unwrap_or_default().cas.is_empty(), "{broken}");
        }
    }

    #[test]
    fn an_order_whose_certificate_is_kept_has_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = SiteFiles::new(directory.path(), "a/b");
        assert!(files.under_way().expect("readable").is_none());
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let names = ["a.example".to_owned(), "b.example".to_owned()];
        let of = OrderOf { directory_url: "https://ca.example", names: &names };
        files.put_order("https://ca.example/order/1", of, "").expect("writable");
        let order = files.under_way().expect("readable").expect("it is there");
        assert_eq!((order.url.as_str(), order.key.is_none()), ("https://ca.example/order/1", true));
        assert_eq!(order.of, "https://ca.example a.example,b.example");
        files.put_order("https://ca.example/order/1", of, key).expect("writable");
        let order = files.under_way().expect("readable").expect("it is there");
        assert_eq!(order.key.as_deref().map(String::as_str), Some(key));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&files.path(UNDER_WAY)), 0o600);
        assert_eq!(mode(&files.directory), 0o700);

        files.put_certificate(&certificate_text("https://ca.example", key, "chain")).expect("writable");
        assert!(files.under_way().expect("readable").is_none());
        assert!(!files.path(UNDER_WAY).exists());
    }
}
