//! Responses made for the purpose, octet by octet.

use rcgen::{
    CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SerialNumber,
    SigningKey,
};

use super::*;
use crate::tls::ServerConfigs;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut all = vec![tag];
    match length {
        0..=127 => all.push(length as u8),
        128..=255 => all.extend([0x81, length as u8]),
        _ => all.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    all.extend(content);
    all
}

fn time(seconds: i64) -> Vec<u8> {
    let days = seconds.div_euclid(86_400);
    // Civil date of a day (Howard Hinnant's algorithm).
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    der(0x18, &[format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes()])
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Issuer {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The certificate of a responder that `issuer` charged, if `usage` says so.
fn responder(issuer: &Issuer, key: &KeyPair, usage: Option<ExtendedKeyUsagePurpose>) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "responder");
    params.extended_key_usages = usage.into_iter().collect();
    params.signed_by(key, issuer).unwrap().der().to_vec()
}

struct Bench {
    issuer: Issuer,
    chain: Vec<CertificateDer<'static>>,
}

/// What a response is made of.
#[derive(Clone)]
struct Said {
    status: Vec<u8>,
    serial: u8,
    this_update: i64,
    next_update: Option<i64>,
}

const GOOD: &[u8] = &[0x80, 0];

impl Bench {
    fn new() -> Bench {
        let issuer = authority("authority");
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(vec![77]));
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        Bench { chain: vec![leaf.der().clone(), issuer.der().clone()], issuer }
    }

    fn said(&self) -> Said {
        Said { status: GOOD.to_vec(), serial: 77, this_update: NOW - HOUR, next_update: Some(NOW + HOUR) }
    }

    fn response(&self, said: &Said, of: &Issuer, signs: &KeyPair, brings: &[Vec<u8>]) -> Vec<u8> {
        let (_, issuer) = X509Certificate::from_der(of.der()).unwrap();
        let sha1 =
            |bytes: &[u8]| der(4, &[digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref()]);
        let id = der(
            0x30,
            &[
                &der(0x30, &[&der(6, &[&[0x2b, 14, 3, 2, 26]]), &der(5, &[])]),
                &sha1(issuer.subject().as_raw()),
                &sha1(&issuer.public_key().subject_public_key.data),
                &der(2, &[&[said.serial]]),
            ],
        );
        let next = said.next_update.map_or_else(Vec::new, |until| der(0xa0, &[&time(until)]));
        let single = der(0x30, &[&id, &said.status, &time(said.this_update), &next]);
        let by_name = der(0xa1, &[issuer.subject().as_raw()]);
        let data = der(0x30, &[&by_name, &time(NOW - HOUR), &der(0x30, &[&single])]);
        let signature = signs.sign(&data).unwrap();
        // ecdsa-with-SHA256
        let algorithm = der(0x30, &[&der(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
        let bits = der(3, &[&[0], &signature]);
        let certificates = match brings {
            [] => Vec::new(),
            some => der(0xa0, &[&der(0x30, &[&some.concat()])]),
        };
        let basic = der(0x30, &[&data, &algorithm, &bits, &certificates]);
        let kind = der(6, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]]);
        let bytes = der(0xa0, &[&der(0x30, &[&kind, &der(4, &[&basic])])]);
        der(0x30, &[&der(10, &[&[0]]), &bytes])
    }

    fn judge(&self, response: &[u8]) -> Result<(), &'static str> {
        let configs = ServerConfigs::new(None);
        judge(response, &self.chain, NOW, &configs.provider().signature_verification_algorithms)
    }
}

#[test]
fn what_the_issuer_says_of_the_certificate_counts_within_its_dates() {
    let bench = Bench::new();
    let said = bench.said();
    let revoked = der(0xa1, &[&time(NOW - HOUR)]);
    for (said, expected) in [
        (said.clone(), Ok(())),
        (Said { next_update: None, ..said.clone() }, Ok(())),
        (Said { this_update: NOW + 60, ..said.clone() }, Ok(())),
        (
            Said { next_update: None, this_update: NOW - 25 * HOUR, ..said.clone() },
            Err("the OCSP response is past its time"),
        ),
        (Said { next_update: Some(NOW - 1), ..said.clone() }, Err("the OCSP response is past its time")),
        (Said { this_update: NOW + HOUR, ..said.clone() }, Err("the OCSP response is from the future")),
        (Said { serial: 78, ..said.clone() }, Err(OTHER)),
        (
            Said { status: revoked, ..said.clone() },
            Err("the OCSP response says that the certificate is revoked"),
        ),
        (
            Said { status: vec![0x82, 0], ..said.clone() },
            Err("the OCSP response does not know the certificate"),
        ),
        (Said { status: vec![0x83, 0], ..said }, Err(MALFORMED)),
    ] {
        let response = bench.response(&said, &bench.issuer, bench.issuer.key(), &[]);
        assert_eq!(bench.judge(&response), expected);
    }
}

#[test]
fn the_issuer_signs_or_somebody_it_charged() {
    let bench = Bench::new();
    let said = bench.said();
    let stranger = authority("authority");
    let key = KeyPair::generate().unwrap();
    let ocsp = || Some(ExtendedKeyUsagePurpose::OcspSigning);
    let signed = |key: &KeyPair, brings: &[Vec<u8>]| bench.response(&said, &bench.issuer, key, brings);
    let charged = responder(&bench.issuer, &key, ocsp());
    assert_eq!(bench.judge(&signed(&key, std::slice::from_ref(&charged))), Ok(()));
    assert_eq!(bench.judge(&signed(&key, &[stranger.der().to_vec(), charged])), Ok(()));
    for (response, expected) in [
        (signed(&key, &[]), FORGED),
        (signed(&key, &[responder(&bench.issuer, &key, None)]), FORGED),
        (signed(&key, &[responder(&bench.issuer, &key, Some(ExtendedKeyUsagePurpose::ServerAuth))]), FORGED),
        (signed(&key, &[responder(&stranger, &key, ocsp())]), FORGED),
        (signed(stranger.key(), &[stranger.der().to_vec()]), FORGED),
        // Of a certificate with the same number, by another issuer of the same name.
        (bench.response(&said, &stranger, stranger.key(), &[]), OTHER),
    ] {
        assert_eq!(bench.judge(&response), Err(expected));
    }
    let alone = Bench { issuer: authority("a"), chain: bench.chain[..1].to_vec() };
    let why = alone.judge(&signed(bench.issuer.key(), &[])).unwrap_err();
    assert!(why.contains("does not hold its issuer's"), "{why}");
}

#[test]
fn one_bit_or_octet_less_makes_it_useless() {
    let bench = Bench::new();
    let response = bench.response(&bench.said(), &bench.issuer, bench.issuer.key(), &[]);
    assert_eq!(bench.judge(&response), Ok(()));
    for at in 0..response.len() {
        assert!(bench.judge(&response[..at]).is_err(), "{at}");
        for bit in [1, 0x20, 0x80] {
            let mut changed = response.clone();
            changed[at] ^= bit;
            assert!(bench.judge(&changed).is_err(), "{at} {bit}");
        }
    }
    assert!(bench.judge(&[&*response, b"x"].concat()).is_err());
    assert_eq!(bench.judge(b""), Err(MALFORMED));
    assert_eq!(
        bench.judge(&der(0x30, &[&der(10, &[&[3]])])),
        Err("an OCSP response that says the responder failed")
    );
}
