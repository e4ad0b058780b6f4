//! Files that change under a site that serves, and sources that are asked, without sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::certs::ClientAuthPlan;
use crate::tls::{Answer, ClientAuthMode, Found, Moment};

fn wall() -> Moment {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    Moment { monotonic: unix, unix }
}

struct Bench {
    directory: TempDir,
    keeper: Arc<Keeper>,
}

impl Bench {
    fn new() -> Bench {
        let limits = AskLimits { size: 100, lifetime: Duration::from_secs(60), unknown_names_per_second: 10 };
        let keeper = Keeper::new(ServerConfigs::new(None), Arc::new(wall), limits).unwrap();
        Bench { directory: tempfile::tempdir().unwrap(), keeper }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a new certificate and its key; returns the chain's leaf.
    fn issue(&self, name: &str, host: &str) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        certificate.der().to_vec()
    }

    fn files(&self, name: &str) -> Source {
        let certificate = self.path(&format!("{name}.pem"));
        Source::Files { certificate, key: Some(self.path(&format!("{name}.key"))), ocsp: None }
    }

    /// A program that answers with the text of the file `answer`.
    fn command(&self) -> Source {
        let run = vec!["cat".to_owned(), self.path("answer").display().to_string()];
        Source::Command { run, timeout: Duration::from_secs(10) }
    }

    /// What [`command`](Self::command) answers with.
    fn answers(&self, host: &str, options: &str) -> Vec<u8> {
        let leaf = self.issue("answered", host);
        let text = |ending: &str| {
            let text = fs::read_to_string(self.path(&format!("answered.{ending}"))).unwrap();
            serde_json::Value::from(text)
        };
        let answer =
            format!("{{\"certificate\":{},\"key\":{},\"options\":{options}}}", text("pem"), text("key"));
        fs::write(self.path("answer"), answer).unwrap();
        leaf
    }

    fn plan(&self, sources: Vec<Source>) -> SitePlan {
        SitePlan {
            site: "site".to_owned(),
            names: vec!["*.example".to_owned()],
            sources,
            policy: Arc::new(PolicyPlan { alpn: vec!["http/1.1".to_owned()], ..PolicyPlan::default() }),
            state_directory: self.path("state").into(),
            sessions: Sessions::Off,
        }
    }

    fn site(&self, sources: Vec<Source>) -> Arc<KeptSite> {
        self.keeper.site(self.plan(sources), &mut Vec::new()).unwrap()
    }

    fn refresh(&self, site: &KeptSite) -> (usize, usize) {
        let mut problems = Vec::new();
        let now = i64::try_from(wall().unix / 1000).unwrap();
        let taken_up = site.refresh(now, self.keeper.configs(), &mut problems);
        (taken_up.len(), problems.len())
    }

    /// The leaf served for a name, after sources were asked as a handshake does it.
    fn served(&self, site: &KeptSite, name: &str) -> Option<Arc<ServedTls>> {
        let mut from = 0;
        loop {
            match site.tls().find(Some(name.as_bytes()), from) {
                Found::Served(served) => return Some(served),
                Found::Nothing => return None,
                Found::Ask { source, after } => {
                    let (said, answer) = channel();
                    source.ask(name.as_bytes(), Box::new(move |answer| said.send(answer).unwrap()));
                    if let Answer::Served(served) = answer.recv().unwrap() {
                        return Some(served);
                    }
                    from = after;
                }
            }
        }
    }

    fn leaf(&self, site: &KeptSite, name: &str) -> Option<Vec<u8>> {
        self.served(site, name).map(|served| served.certificates.certificates()[0].chain()[0].to_vec())
    }
}

#[test]
fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
    let bench = Bench::new();
    let first = bench.issue("a", "a.example");
    // The last source would answer, but never in place of a certificate that is good.
    let site = bench.site(vec![bench.files("a"), Source::SelfSigned { key: None }]);
    assert_eq!(bench.leaf(&site, "a.example").unwrap(), first);
    assert_eq!(bench.refresh(&site), (0, 0), "nothing changed");
    let second = bench.issue("a", "a.example");
    assert_eq!(bench.refresh(&site), (1, 0));
    assert_eq!(bench.leaf(&site, "a.example").unwrap(), second);
    let key = fs::read(bench.path("a.key")).unwrap();
    let broken: [&dyn Fn(); 4] = [
        &|| fs::write(bench.path("a.pem"), "").unwrap(),
        &|| fs::write(bench.path("a.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap(),
        &|| drop(bench.issue("a", "a.example")),
        &|| fs::remove_file(bench.path("a.pem")).unwrap(),
    ];
    for (number, break_it) in broken.iter().enumerate() {
        break_it();
        // The third is sound but for the key, which is an old one.
        fs::write(bench.path("a.key"), &key).unwrap();
        assert_eq!(bench.refresh(&site), (0, 1), "{number}");
        assert_eq!(bench.leaf(&site, "a.example").unwrap(), second, "{number}");
        let reloaded = bench
            .keeper
            .watch(vec![site.clone()], None)
            .map(|()| bench.site(vec![bench.files("a"), Source::SelfSigned { key: None }]));
        assert_eq!(bench.leaf(&reloaded.unwrap(), "a.example").unwrap(), second, "a reload keeps it, too");
    }
    let third = bench.issue("a", "a.example");
    bench.refresh(&site);
    assert_eq!(bench.leaf(&site, "a.example").unwrap(), third);
}

#[test]
fn other_client_authorities_are_another_policy() {
    let bench = Bench::new();
    bench.issue("a", "a.example");
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(bench.path(name), issuer.pem()).unwrap();
    };
    authority("ca.pem");
    let mut plan = bench.plan(vec![bench.files("a"), bench.command()]);
    bench.answers("b.example", "null");
    Arc::get_mut(&mut plan.policy).unwrap().client_auth =
        Some(ClientAuthPlan { mode: ClientAuthMode::Require, ca: bench.path("ca.pem"), crl: vec![] });
    let site = bench.keeper.site(plan, &mut Vec::new()).unwrap();
    let numbers = || {
        let of = |name| bench.served(&site, name).unwrap().policy.number();
        let numbers = [site.tls().policy.load().number(), of("a.example"), of("b.example")];
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        numbers[0]
    };
    let first = numbers();
    authority("ca.pem");
    assert_eq!(bench.refresh(&site), (1, 0));
    let second = numbers();
    assert_ne!(first, second, "remembered answers are not served under the old rules either");
    fs::write(bench.path("ca.pem"), "nothing").unwrap();
    assert_eq!(bench.refresh(&site), (0, 1));
    assert_eq!(numbers(), second);
}

#[test]
fn sources_are_asked_in_order_for_the_name() {
    let bench = Bench::new();
    let files = bench.issue("a", "a.example");
    let answered = bench.answers("b.example", "{\"versions\": [\"1.3\"]}");
    let site = bench.site(vec![bench.files("a"), bench.command(), Source::SelfSigned { key: None }]);
    assert!(site.tls().asks());
    assert_eq!(bench.leaf(&site, "a.example").unwrap(), files, "files cover it");
    assert_eq!(bench.leaf(&site, "b.example").unwrap(), answered);
    let served = bench.served(&site, "b.example").unwrap();
    assert_eq!(served.policy.versions(), crate::tls::Versions::Tls13);
    assert_ne!(served.policy.number(), served.site_policy);
    assert_eq!(bench.keeper.questions().asked.load(Ordering::Relaxed), 1, "and remembered");
    // Not what was asked for: as if there were none, and the next source's.
    let other = bench.leaf(&site, "c.example").unwrap();
    assert!(other != files && other != answered);
    assert_eq!(bench.keeper.questions().failed.sum(), 1);
    fs::write(bench.path("answer"), "{}").unwrap();
    assert_eq!(bench.leaf(&site, "d.example").unwrap(), other);
    assert_eq!(bench.keeper.questions().failed.sum(), 1);
    let alone = bench.site(vec![bench.command()]);
    assert_eq!(bench.leaf(&alone, "e.example"), None);
    assert!(matches!(alone.tls().find(None, 0), Found::Nothing));
    let (names, _) = (bench.keeper.cache().names(wall(), 100), ());
    let mut states: Vec<_> = names.iter().map(|name| (&*name.name, name.state)).collect();
    states.sort_unstable();
    assert_eq!(
        states,
        [("b.example", "fresh"), ("c.example", "failed"), ("d.example", "none"), ("e.example", "none")]
    );
}

#[test]
fn a_self_signed_certificate_is_renewed_while_it_serves() {
    let bench = Bench::new();
    let site = bench.site(vec![Source::SelfSigned { key: None }]);
    let first = bench.leaf(&site, "x.example").unwrap();
    let day = 24 * 3600;
    let now = i64::try_from(wall().unix / 1000).unwrap();
    let at = |days: i64| site.refresh(now + days * day, bench.keeper.configs(), &mut Vec::new()).len();
    assert!(site.changes_with_time(now));
    assert_eq!(at(334), 0);
    assert_eq!(at(336), 1);
    assert_ne!(bench.leaf(&site, "x.example").unwrap(), first);
}

#[test]
fn what_arrives_later_is_published_into_its_slot() {
    let bench = Bench::new();
    let site = bench.site(vec![bench.files("absent"), Source::SelfSigned { key: None }]);
    let self_signed = bench.leaf(&site, "a.example").unwrap();
    let later = bench.issue("later", "a.example");
    let found =
        crate::certs::find("s", &[], &[bench.files("later")], Path::new("/"), 0, bench.keeper.configs())
            .unwrap();
    let files = |source: &Source| matches!(source, Source::Files { .. });
    assert!(site.publish(files, found.set.clone(), bench.keeper.configs()).unwrap());
    assert_eq!(bench.leaf(&site, "a.example").unwrap(), later);
    assert!(later != self_signed);
    let none = |source: &Source| matches!(source, Source::Command { .. });
    assert!(!site.publish(none, found.set, bench.keeper.configs()).unwrap());
}

#[test]
fn a_watched_file_is_taken_up_within_two_seconds_however_it_is_replaced() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("live")).unwrap();
    fs::create_dir_all(bench.path("archive")).unwrap();
    let link = |name: &str, to: &str| {
        let beside = bench.path("live/beside");
        std::os::unix::fs::symlink(bench.path(to), &beside).unwrap();
        fs::rename(&beside, bench.path(name)).unwrap();
    };
    bench.issue("archive/1", "a.example");
    link("live/a.pem", "archive/1.pem");
    link("live/a.key", "archive/1.key");
    let site = bench.site(vec![bench.files("live/a")]);
    bench.keeper.watch(vec![site.clone()], None).unwrap();
    let taken_up_within = |leaf: &[u8], how: &str| {
        let since = Instant::now();
        while bench.leaf(&site, "a.example").unwrap() != leaf {
            assert!(since.elapsed() < Duration::from_secs(20), "{how} is not taken up");
            std::thread::sleep(Duration::from_millis(5));
        }
        // Machines under load get more time than the product promises.
        tracing::info!(time = ?since.elapsed(), how);
    };
    let second = bench.issue("archive/2", "a.example");
    link("live/a.pem", "archive/2.pem");
    link("live/a.key", "archive/2.key");
    taken_up_within(&second, "a swap of links");
    let third = bench.issue("archive/2", "a.example");
    taken_up_within(&third, "a write in place");
    let fourth = bench.issue("archive/new", "a.example");
    for ending in ["pem", "key"] {
        let from = bench.path(&format!("archive/new.{ending}"));
        fs::rename(from, bench.path(&format!("archive/2.{ending}"))).unwrap();
    }
    taken_up_within(&fourth, "a rename over");
}

#[test]
fn another_secret_is_taken_up_and_one_for_everybody_is_not() {
    let bench = Bench::new();
    let path = bench.path("secret");
    let write = |byte: u8, mode: u32| {
        fs::write(&path, [byte; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(1, 0o600);
    let bytes = crate::certs::read_secret(&path).unwrap();
    let keys = Arc::new(TicketKeys::from_secret(&bytes, Duration::from_secs(300)).unwrap());
    bench.keeper.watch(Vec::new(), Some((path.clone(), keys))).unwrap();
    let counters = &bench.keeper.counters;
    let wait_for = |what: &dyn Fn() -> u64, count: u64| {
        let since = Instant::now();
        while what() < count {
            assert!(since.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    write(2, 0o600);
    let taken_up = || counters.taken_up.load(Ordering::Relaxed);
    wait_for(&taken_up, 1);
    write(3, 0o644);
    wait_for(&|| counters.refused.sum(), 1);
    assert_eq!(counters.refused.all()["readable_secret"], 1);
    assert_eq!(taken_up(), 1);
}
