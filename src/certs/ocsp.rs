//! OCSP responses to staple (RFC 6960): whether a file holds one that is of use.
//!
//! Clients verify the signature; what they would do with a response of another certificate, or one that is past
//! its time, is to end the handshake. So those are left out here.

use std::path::Path;

use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag};
use x509_parser::prelude::X509Certificate;

use super::{CertificateProblem, CertificateTrouble, pem};
use crate::tls::ServedCertificate;

/// A client's clock may be behind the responder's.
const AHEAD_SECONDS: i64 = 300;

/// The response in `path` (DER), when it says that `certificate` is good, at `now` (seconds since 1970).
///
/// # Errors
/// The file cannot be read, or what is wrong with it.
pub(super) fn staple(
    path: &Path,
    certificate: &ServedCertificate,
    now: i64,
) -> Result<Vec<u8>, CertificateProblem> {
    let file = pem::read(path)?;
    let leaf = certificate.chain().first().map_or(&[][..], |leaf| leaf);
    match judge(&file.bytes, leaf, now) {
        Ok(()) => Ok(file.bytes.to_vec()),
        Err(why) => Err(CertificateProblem::new(path, CertificateTrouble::Staple(why))),
    }
}

fn judge(response: &[u8], leaf: &[u8], now: i64) -> Result<(), &'static str> {
    const NONE: &str = "not an OCSP response in DER";
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| NONE)?;
    let mut response = Parts::of(sequence(response).ok_or(NONE)?);
    let status = response.next().filter(|status| status.tag() == Tag::Enumerated).ok_or(NONE)?;
    if status.data != [0] {
        return Err("an OCSP response that says the responder failed");
    }
    let bytes = response.next().and_then(|explicit| sequence(explicit.data)).ok_or(NONE)?;
    let basic = Parts::of(bytes).nth(1).filter(|part| part.tag() == Tag::OctetString).ok_or(NONE)?;
    let data = sequence(basic.data).and_then(sequence).ok_or(NONE)?;
    // version [0] and responderID [1] or [2] come first, then the time it was made.
    let mut data = Parts::of(data).skip_while(|part| part.header.class() == Class::ContextSpecific);
    let _produced_at = data.next().ok_or(NONE)?;
    let responses = data.next().filter(|part| part.tag() == Tag::Sequence).ok_or(NONE)?;
    for single in Parts::of(responses.data) {
        let mut single = Parts::of(single.data);
        let id = single.next().ok_or(NONE)?;
        let serial = Parts::of(id.data).nth(3).ok_or(NONE)?;
        if serial.data != leaf.raw_serial() {
            continue;
        }
        let status = single.next().ok_or(NONE)?;
        match status.header.tag().0 {
            0 => {}
            1 => return Err("the OCSP response says that the certificate is revoked"),
            _ => return Err("the OCSP response does not know the certificate"),
        }
        let this_update = single.next().and_then(|time| seconds(&time)).ok_or(NONE)?;
        let next_update = single
            .next()
            .filter(|part| part.header.class() == Class::ContextSpecific && part.header.tag().0 == 0)
            .and_then(|explicit| Any::from_der(explicit.data).ok())
            .and_then(|(_, time)| seconds(&time));
        if this_update > now + AHEAD_SECONDS {
            return Err("the OCSP response is from the future");
        }
        return match next_update {
            Some(until) if until < now => Err("the OCSP response is past its time"),
            _ => Ok(()),
        };
    }
    Err("the OCSP response is one of another certificate")
}

fn seconds(time: &Any<'_>) -> Option<i64> {
    let time = GeneralizedTime::try_from(time).ok()?;
    Some(time.utc_datetime().ok()?.unix_timestamp())
}

fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (_, any) = Any::from_der(bytes).ok()?;
    (any.tag() == Tag::Sequence).then_some(any.data)
}

/// The elements of a SEQUENCE, up to the first that does not parse.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn of(content: &'a [u8]) -> Parts<'a> {
        Parts(content)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Any<'a>;

    fn next(&mut self) -> Option<Any<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (rest, part) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(part)
    }
}
