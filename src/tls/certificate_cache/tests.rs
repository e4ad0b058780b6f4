use super::*;
use crate::tls::{Policy, ServedCertificate, ServerConfigs, Sessions, SourceWord};

const LIFETIME: Duration = Duration::from_secs(60);
const UNIX: u64 = 1_700_000_000_000;

fn at(ms: u64) -> Moment {
    Moment { monotonic: 1_000_000 + ms, unix: UNIX + ms }
}

fn key(name: &str) -> NameKey {
    NameKey::new(&[7; 32], name.as_bytes())
}

fn of(name: &str) -> NameOf {
    NameOf { site: "s".into(), source: "command", name: name.into() }
}

/// Good for so many seconds from the start.
fn served(seconds: u64) -> Answer {
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let end = Duration::from_secs(UNIX / 1000 + seconds);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    let pair = rcgen::KeyPair::generate().unwrap();
    let chain = vec![params.self_signed(&pair).unwrap().der().clone()];
    let configs = ServerConfigs::new(None);
    let certificate = ServedCertificate::new(
        chain,
        rustls::pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap(),
        SourceWord::Command,
        configs.provider(),
    );
    let policy = Arc::new(Policy::default());
    let served =
        ServedTls::new("s", policy.number(), policy, certificate.unwrap().into(), &Sessions::Off, &configs);
    Answer::Served(Arc::new(served.unwrap()))
}

fn word(cached: Cached) -> &'static str {
    match cached {
        Cached::Fresh { answer: Answer::Served(_), refresh: false } => "served",
        Cached::Fresh { answer: Answer::Served(_), refresh: true } => "refresh",
        Cached::Fresh { answer: Answer::Nothing, .. } => "none",
        Cached::Fresh { answer: Answer::Failed, .. } => "failed",
        Cached::Stale(_) => "stale",
        Cached::Unknown => "unknown",
    }
}

#[test]
fn an_answer_is_fresh_then_refreshed_once_then_stale() {
    let cache = CertificateCache::new(10, LIFETIME);
    assert_eq!(word(cache.look(&key("a"), at(0))), "unknown");
    cache.put(key("a"), of("a"), served(3600), None, at(0));
    for (ms, expected) in [
        (0, "served"),
        (44_999, "served"),
        (45_000, "refresh"),
        (45_001, "served"),
        (59_999, "served"),
        (60_000, "stale"),
    ] {
        assert_eq!(word(cache.look(&key("a"), at(ms))), expected, "{ms}");
    }
    assert_eq!(cache.statistics(), CertificateCacheStatistics { hits: 5, misses: 2, evictions: 0, size: 1 });
    assert_eq!(word(cache.look(&NameKey::new(&[8; 32], b"a"), at(0))), "unknown", "another source");
}

#[test]
fn a_source_says_how_long_its_answer_is_good_and_the_certificate_bounds_it() {
    let cache = CertificateCache::new(10, LIFETIME);
    cache.put(key("a"), of("a"), served(3600), Some(Duration::from_secs(2)), at(0));
    assert_eq!(word(cache.look(&key("a"), at(2_000))), "stale");
    cache.put(key("b"), of("b"), served(3), None, at(0));
    assert_eq!(word(cache.look(&key("b"), at(2_999))), "refresh");
    assert_eq!(word(cache.look(&key("b"), at(4_001))), "unknown", "it has ended");
}

#[test]
fn none_and_failures_are_remembered_and_a_good_answer_outlives_failures() {
    let cache = CertificateCache::new(10, LIFETIME);
    cache.put(key("none"), of("none"), Answer::Nothing, None, at(0));
    assert_eq!(word(cache.look(&key("none"), at(59_999))), "none");
    assert_eq!(word(cache.look(&key("none"), at(60_000))), "unknown");
    cache.put(key("bad"), of("bad"), Answer::Failed, None, at(0));
    assert_eq!(word(cache.look(&key("bad"), at(5_999))), "failed");
    assert_eq!(word(cache.look(&key("bad"), at(6_000))), "unknown");

    cache.put(key("a"), of("a"), served(3600), None, at(0));
    let said = cache.put(key("a"), of("a"), Answer::Failed, None, at(60_000));
    assert!(matches!(said, Answer::Served(_)), "what was known serves");
    assert_eq!(word(cache.look(&key("a"), at(65_999))), "served");
    assert_eq!(word(cache.look(&key("a"), at(66_000))), "stale");
    assert!(cache.knows(&key("a"), at(66_000)));
    cache.put(key("a"), of("a"), Answer::Failed, None, at(66_000));
    assert_eq!(word(cache.look(&key("a"), at(66_000))), "served", "over several failures");
    cache.put(key("a"), of("a"), Answer::Nothing, None, at(67_000));
    assert_eq!(word(cache.look(&key("a"), at(67_000))), "none", "the source says that it has none any more");
}

#[test]
fn there_are_never_more_names_than_size() {
    for size in [1, 3, 5000] {
        let cache = CertificateCache::new(size, LIFETIME);
        let names = size + 100;
        for name in 0..names {
            let name = name.to_string();
            cache.put(key(&name), of(&name), Answer::Nothing, None, at(0));
            assert!(cache.statistics().size <= size);
        }
        if size < 1024 {
            assert_eq!(cache.statistics().size, size);
            assert_eq!(word(cache.look(&key("0"), at(0))), "unknown", "the oldest went");
        }
        cache.set_limits(1, LIFETIME);
        assert!(cache.statistics().size <= 1);
        cache.sweep(at(60_000));
        assert_eq!(cache.statistics().size, 0);
    }
}
