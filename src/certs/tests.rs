//! Certificates made for the purpose, in directories of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use tempfile::TempDir;

use super::*;
use crate::tls::{CertificateSet, KeyKind, ServerConfigs, SourceWord};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

struct Bench {
    directory: TempDir,
    configs: ServerConfigs,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap(), configs: ServerConfigs::new(None) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn find(&self, names: &[&str], sources: &[Source]) -> Result<FoundCertificate, CertificateProblem> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        find("site", &names, sources, &self.path("state"), NOW, &self.configs)
    }
}

/// PEM of a certificate for `names`, good from `from` to `to` days from now, and of its key.
struct Pair {
    certificate: String,
    key: String,
}

fn pair_of(key: &KeyPair, names: &[&str], from: i64, to: i64) -> Pair {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let day = |days: i64| {
        let seconds = u64::try_from(NOW + days * DAY).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
    };
    params.not_before = day(from);
    params.not_after = day(to);
    Pair { certificate: params.self_signed(key).unwrap().pem(), key: key.serialize_pem() }
}

fn ecdsa(names: &[&str]) -> Pair {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    pair_of(&key, names, -1, 30)
}

fn rsa(names: &[&str]) -> Pair {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    pair_of(&key, names, -1, 30)
}

fn outdated(names: &[&str], from: i64, to: i64) -> Pair {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    pair_of(&key, names, from, to)
}

fn files(certificate: &Path, key: Option<&Path>) -> Source {
    Source::Files { certificate: certificate.to_owned(), key: key.map(Path::to_owned), ocsp: None }
}

fn warnings(found: &FoundCertificate) -> Vec<String> {
    found.warnings.iter().map(ToString::to_string).collect()
}

fn names(set: &CertificateSet) -> Vec<String> {
    set.certificates()[0].names().display().collect()
}

#[test]
fn reads_chain_and_key_in_two_files_or_in_one() {
    let bench = Bench::new();
    let pair = ecdsa(&["a.example"]);
    let other = ecdsa(&["authority"]);
    let chain = format!("# a comment\n{}\n{}", pair.certificate, other.certificate);
    let certificate = bench.write("a.crt", &chain.replace('\n', "\r\n"));
    let key = bench.write("a.key", &pair.key);
    let one = bench.write("one.pem", &format!("{}{chain}", pair.key));
    for source in [files(&certificate, Some(&key)), files(&one, None)] {
        let found = bench.find(&["a.example"], &[source]).unwrap();
        assert_eq!(warnings(&found), [""; 0]);
        assert_eq!(found.set.certificates()[0].chain().len(), 2);
        assert_eq!(found.set.certificates()[0].source(), SourceWord::Files);
        assert!(found.set.covers(b"a.example"));
    }
}

#[test]
fn reads_every_form_of_private_key() {
    for (label, kind) in [
        ("ecdsa-p256.sec1", KeyKind::Ecdsa),
        ("ecdsa-p256.pkcs8", KeyKind::Ecdsa),
        ("ecdsa-p384.pkcs8", KeyKind::Ecdsa),
        ("rsa.pkcs1", KeyKind::Rsa),
        ("rsa.pkcs8", KeyKind::Rsa),
        ("ed25519.pkcs8", KeyKind::Ed25519),
    ] {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        let key = data.join(format!("{label}.pem"));
        let pem = fs::read_to_string(&key).unwrap();
        let bench = Bench::new();
        let pair = pair_of(&KeyPair::from_pem(&pem).unwrap(), &["a.example"], -1, 30);
        let certificate = bench.write("a.crt", &pair.certificate);
        let found = bench.find(&["a.example"], &[files(&certificate, Some(&key))]);
        let found = found.unwrap_or_else(|problem| panic!("{label}: {problem}"));
        assert_eq!(found.set.certificates()[0].key_kind(), kind, "{label}");
    }
}

#[test]
fn problems_name_the_file_and_what_to_do() {
    let bench = Bench::new();
    let pair = ecdsa(&["a.example"]);
    let certificate = bench.write("a.crt", &pair.certificate);
    let key = bench.write("a.key", &pair.key);
    let other = bench.write("other.key", &ecdsa(&["a.example"]).key);
    let text = bench.write("text", "hello");
    let cut = bench.write("cut", &pair.certificate[..200]);
    let sealed = bench.write(
        "sealed",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old_sealed = bench.write(
        "old",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    );
    let large = bench.write("large", &" ".repeat(1024 * 1024 + 1));
    let absent = bench.path("absent");
    for (certificate, key, about, words) in [
        (&absent, &key, &absent, "No such file"),
        (&certificate, &absent, &absent, "No such file"),
        (&text, &key, &text, "not PEM"),
        (&cut, &key, &cut, "not PEM"),
        (&key, &key, &key, "no certificate"),
        (&large, &key, &large, "larger than 1 MiB"),
        (&certificate, &certificate, &certificate, "no private key"),
        (&certificate, &text, &text, "not PEM"),
        (&certificate, &sealed, &sealed, "passphrase"),
        (&certificate, &old_sealed, &old_sealed, "passphrase"),
        (&certificate, &other, &certificate, "does not belong"),
    ] {
        let problem = bench.find(&["a.example"], &[files(certificate, Some(key))]).err().unwrap();
        let message = problem.to_string();
        assert_eq!(&problem.path, about, "{message}");
        assert!(message.contains(words), "{message}");
        assert!(!problem.remedy().is_empty());
    }
    let nothing = bench.find(&["a.example"], &[]).err().unwrap();
    assert!(matches!(nothing.trouble, CertificateTrouble::NoSource));
}

#[test]
fn tells_the_names_that_are_not_covered_and_keys_all_can_read() {
    let bench = Bench::new();
    let pair = ecdsa(&["a.example", "*.b.example"]);
    let certificate = bench.write("a.crt", &pair.certificate);
    let key = bench.write("a.key", &pair.key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let asked = ["a.example", "c.example", "*.b.example", "*.c.example", "x.b.example", "*"];
    let found = bench.find(&asked, &[files(&certificate, Some(&key))]).unwrap();
    let said = warnings(&found).join("\n");
    assert!(said.contains("does not cover c.example, *.c.example"), "{said}");
    assert!(said.contains("everybody can read"), "{said}");
    assert_eq!(found.warnings.len(), 2);
}

#[test]
fn a_source_that_has_nothing_gives_way_to_the_next() {
    let bench = Bench::new();
    let absent = bench.path("absent");
    let sources = [files(&absent, None), Source::SelfSigned { key: None }];
    let found = bench.find(&["a.example"], &sources).unwrap();
    assert_eq!(found.set.certificates()[0].source(), SourceWord::SelfSigned);
    assert!(warnings(&found)[0].contains("No such file"));
}

#[test]
fn what_is_out_of_its_dates_serves_only_for_want_of_better_and_displaces_nothing_good() {
    let bench = Bench::new();
    let good = ecdsa(&["a.example"]);
    let good_path = bench.write("good.pem", &(good.certificate + &good.key));
    for (from, to, words) in [(-30, -1, "expired on"), (1, 30, "not valid before")] {
        let old = outdated(&["a.example"], from, to);
        let old_path = bench.write("old.pem", &(old.certificate + &old.key));
        let old = files(&old_path, None);
        let good = files(&good_path, None);

        let alone = bench.find(&["a.example"], std::slice::from_ref(&old)).unwrap();
        assert!(warnings(&alone)[0].contains(words), "{:?}", warnings(&alone));
        let both = bench.find(&["a.example"], &[old, good]).unwrap();
        assert!(both.set.certificates()[0].is_current(NOW));
        assert!(warnings(&both)[0].contains(words));

        assert!(!alone.may_replace(&both.set, NOW));
        assert!(both.may_replace(&alone.set, NOW));
        assert!(alone.may_replace(&alone.set, NOW));
    }
}

#[test]
fn a_directory_may_hold_the_files_of_certbot() {
    let bench = Bench::new();
    let pair = ecdsa(&["a.example"]);
    bench.write("live/fullchain.pem", &pair.certificate);
    bench.write("live/privkey.pem", &pair.key);
    let source = Source::Directory { directory: bench.path("live") };
    let found = bench.find(&["a.example"], &[source]).unwrap();
    assert!(found.set.covers(b"a.example"));
}

#[test]
fn a_directory_may_hold_the_files_of_zotonic_for_many_sites() {
    let bench = Bench::new();
    let (own, second, foreign) = (ecdsa(&["a.example"]), rsa(&["a.example"]), ecdsa(&["z.example"]));
    let authority = ecdsa(&["authority"]);
    bench.write("ssl/site.crt", &own.certificate);
    bench.write("ssl/site.pem", &own.key);
    bench.write("ssl/site.ca.crt", &authority.certificate);
    bench.write("ssl/other.crt", &second.certificate);
    bench.write("ssl/other.key", &second.key);
    bench.write("ssl/aaa.crt", &foreign.certificate);
    bench.write("ssl/aaa.key", &foreign.key);
    bench.write("ssl/broken.crt", "nothing");
    let source = Source::Directory { directory: bench.path("ssl") };
    let found = bench.find(&["a.example"], std::slice::from_ref(&source)).unwrap();
    let kinds: Vec<_> = found.set.certificates().iter().map(|one| one.key_kind()).collect();
    assert_eq!(kinds, [KeyKind::Ecdsa, KeyKind::Rsa]);
    assert_eq!(found.set.certificates()[0].chain().len(), 2, "with the intermediates");
    assert_eq!(warnings(&found), [""; 0]);

    let found = bench.find(&["z.example"], std::slice::from_ref(&source)).unwrap();
    assert_eq!(names(&found.set), ["z.example"], "the one that covers more");

    let expired = outdated(&["a.example"], -30, -1);
    bench.write("ssl/site.crt", &expired.certificate);
    bench.write("ssl/site.pem", &expired.key);
    let renewed = ecdsa(&["a.example"]);
    bench.write("ssl/zzz.crt", &renewed.certificate);
    bench.write("ssl/zzz.key", &renewed.key);
    let found = bench.find(&["a.example"], std::slice::from_ref(&source)).unwrap();
    assert!(found.set.certificates().iter().all(|one| one.is_current(NOW)));
    assert_eq!(found.set.certificates().len(), 2);

    fs::write(bench.path("ssl/site.pem"), "nothing").unwrap();
    let found = bench.find(&["a.example"], &[source]).unwrap();
    assert_eq!(found.set.certificates().len(), 2);
    assert!(warnings(&found)[0].contains("not PEM"));
}

#[test]
fn an_empty_directory_is_a_problem() {
    let bench = Bench::new();
    let source = Source::Directory { directory: bench.directory.path().to_owned() };
    let problem = bench.find(&["a.example"], &[source]).err().unwrap();
    assert!(matches!(problem.trouble, CertificateTrouble::NothingInDirectory));
}

fn identity(bench: &Bench) -> PathBuf {
    bench.path("state/self_signed/site/identity.pem")
}

fn leaf(found: &FoundCertificate) -> Vec<u8> {
    found.set.certificates()[0].chain()[0].to_vec()
}

const SELF_SIGNED: [Source; 1] = [Source::SelfSigned { key: None }];

#[test]
fn a_self_signed_certificate_is_kept_for_its_owner_only() {
    let bench = Bench::new();
    let asked = ["a.example", "*.B.example", "192.0.2.1", "[2001:db8::1]"];
    let first = bench.find(&asked, &SELF_SIGNED).unwrap();
    for host in ["a.example", "x.b.example", "192.0.2.1", "[2001:db8::1]"] {
        assert!(first.set.covers(host.as_bytes()), "{host}");
    }
    assert!(!first.set.covers(b"b.example"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&identity(&bench)), 0o600);
    assert_eq!(mode(identity(&bench).parent().unwrap()), 0o700);
    let again = bench.find(&asked, &SELF_SIGNED).unwrap();
    assert_eq!(leaf(&first), leaf(&again), "the same one at the next start");
    let files: Vec<_> = fs::read_dir(identity(&bench).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files.len(), 2, "nothing half written: {files:?}");
}

#[test]
fn the_fallback_site_is_this_machine() {
    let bench = Bench::new();
    let found = bench.find(&["*"], &SELF_SIGNED).unwrap();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert!(found.set.covers(host.as_bytes()), "{host}");
    }
}

#[test]
fn a_self_signed_certificate_is_made_anew_for_other_names_and_before_its_end() {
    let bench = Bench::new();
    let at = |names: &[&str], now| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let state = bench.path("state");
        let found = find("site", &names, &SELF_SIGNED, &state, now, &bench.configs).unwrap();
        assert!(found.set.certificates()[0].is_current(now));
        leaf(&found)
    };
    let first = at(&["a.example"], NOW);
    assert_ne!(at(&["a.example", "b.example"], NOW), first);
    let second = at(&["a.example"], NOW);
    assert_eq!(at(&["a.example"], NOW + 334 * DAY), second);
    let third = at(&["a.example"], NOW + 336 * DAY);
    assert_ne!(third, second);
    assert_ne!(at(&["a.example"], NOW), third, "the clock was wrong then");
    fs::write(identity(&bench), fs::read(identity(&bench)).unwrap().split_at(150).0).unwrap();
    at(&["a.example"], NOW);
}

#[test]
fn a_file_of_somebody_else_stays_as_it_is() {
    let bench = Bench::new();
    let pair = ecdsa(&["a.example"]);
    let path = bench.write("state/self_signed/site/identity.pem", &pair.key);
    let problem = bench.find(&["a.example"], &SELF_SIGNED).err().unwrap();
    assert!(matches!(problem.trouble, CertificateTrouble::NotOurs));
    assert_eq!(problem.path, path);
    assert_eq!(fs::read_to_string(path).unwrap(), pair.key);
}

#[test]
fn a_key_of_the_operator_signs_and_is_not_touched() {
    let bench = Bench::new();
    for pair in [ecdsa(&["x"]), rsa(&["x"])] {
        let key = bench.write("own.key", &pair.key);
        let source = [Source::SelfSigned { key: Some(key.clone()) }];
        let first = bench.find(&["a.example"], &source).unwrap();
        assert_eq!(leaf(&bench.find(&["a.example"], &source).unwrap()), leaf(&first));
        assert_eq!(fs::read_to_string(&key).unwrap(), pair.key);
        let kept = fs::read_to_string(identity(&bench)).unwrap();
        assert!(!kept.contains("PRIVATE KEY"), "it stays where it is");
        // Without it a key is made again.
        assert!(bench.find(&["a.example"], &SELF_SIGNED).is_ok());
    }
    let absent = bench.path("absent");
    let source = [Source::SelfSigned { key: Some(absent.clone()) }];
    assert_eq!(bench.find(&["a.example"], &source).err().unwrap().path, absent);
    assert!(!absent.exists());
}

#[test]
fn names_no_certificate_can_hold_are_refused() {
    let bench = Bench::new();
    for name in ["", "münchen.example", "a b.example", "a/b"] {
        let problem = bench.find(&[name], &SELF_SIGNED).err().unwrap();
        assert!(matches!(problem.trouble, CertificateTrouble::Name { .. }), "{name}");
    }
}

#[test]
fn no_site_leaves_the_state_directory_or_shares_with_another() {
    let bench = Bench::new();
    let state = bench.path("state");
    let sites = ["..", ".", "", "/etc", "a/../../b", "*", "%2A", "A", "a", "a.b", "ü"];
    for site in sites {
        let names = ["a.example".to_owned()];
        find(site, &names, &SELF_SIGNED, &state, NOW, &bench.configs).unwrap();
    }
    let kept = fs::read_dir(state.join("self_signed")).unwrap().count();
    assert_eq!(kept, sites.len());
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 1);
}
