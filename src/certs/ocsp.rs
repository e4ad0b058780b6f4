//! OCSP responses to staple (RFC 6960): whether a file holds one that is of use.
//!
//! Clients verify them, and what they do with a response that is malformed, of another certificate, past its time or
//! signed by somebody else is to end the handshake. So each of these is looked for here, and such a response left out.

use std::path::Path;

use aws_lc_rs::digest;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag};
use x509_parser::prelude::X509Certificate;

use super::{CertificateProblem, CertificateTrouble, pem};
use crate::tls::ServedCertificate;

/// A client's clock may be behind the responder's.
const AHEAD_SECONDS: i64 = 300;
/// How long a response is good that does not say so: there is always a newer one then (RFC 6960 §4.2.2.1).
const ENDLESS_SECONDS: i64 = 24 * 3600;

const MALFORMED: &str = "not an OCSP response in DER";
const OTHER: &str = "the OCSP response is one of another certificate";
const FORGED: &str = "the OCSP response is not signed by the certificate's issuer";

/// The response in `path` (DER), when it says that `certificate` is good, at `now` (seconds since 1970), and its
/// issuer, whose certificate follows in the chain, signed it or had it signed.
///
/// # Errors
/// The file cannot be read, or what is wrong with it.
pub(super) fn staple(
    path: &Path,
    certificate: &ServedCertificate,
    now: i64,
    provider: &CryptoProvider,
) -> Result<Vec<u8>, CertificateProblem> {
    let file = pem::read(path)?;
    match judge(&file.bytes, certificate.chain(), now, &provider.signature_verification_algorithms) {
        Ok(()) => Ok(file.bytes.to_vec()),
        Err(why) => Err(CertificateProblem::new(path, CertificateTrouble::Staple(why))),
    }
}

fn judge(
    response: &[u8],
    chain: &[CertificateDer<'_>],
    now: i64,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), &'static str> {
    let leaf = chain.first().ok_or(MALFORMED)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| MALFORMED)?;
    let issuer = match chain.get(1) {
        Some(issuer) => X509Certificate::from_der(issuer).map_err(|_| MALFORMED)?.1,
        None => leaf.clone(),
    };
    if issuer.subject().as_raw() != leaf.issuer().as_raw() {
        return Err(
            "the certificate's file does not hold its issuer's, with which an OCSP response is proved",
        );
    }
    let basic = basic_response(response)?;
    said_of(&leaf, &issuer, &basic, now)?;
    if basic.is_by(&issuer, algorithms) {
        return Ok(());
    }
    // Whom the issuer charged with answering signs with a certificate of its own (RFC 6960 §4.2.2.2).
    let is_charged = |certificate: &[u8]| {
        let Ok((_, responder)) = X509Certificate::from_der(certificate) else { return false };
        let usage = responder.extended_key_usage();
        let may_sign = usage.is_ok_and(|usage| usage.is_some_and(|usage| usage.value.ocsp_signing));
        let validity = responder.validity();
        let is_current =
            (validity.not_before.timestamp() - AHEAD_SECONDS..=validity.not_after.timestamp()).contains(&now);
        let issued = responder.issuer().as_raw() == issuer.subject().as_raw()
            && Signed::read(certificate).is_some_and(|signed| signed.is_by(&issuer, algorithms));
        may_sign && is_current && issued && basic.is_by(&responder, algorithms)
    };
    if basic.certificates().any(|certificate| is_charged(certificate.raw)) { Ok(()) } else { Err(FORGED) }
}

/// The signed part of a response that says its responder did not fail.
fn basic_response(response: &[u8]) -> Result<Signed<'_>, &'static str> {
    let (response, rest) = Part::first(response).ok_or(MALFORMED)?;
    if !rest.is_empty() {
        return Err(MALFORMED);
    }
    let mut parts = response.sequence().ok_or(MALFORMED)?;
    let status = parts.next().filter(|status| status.is(Tag::Enumerated)).ok_or(MALFORMED)?;
    if status.any.data != [0] {
        return Err("an OCSP response that says the responder failed");
    }
    let bytes = parts.next().and_then(|explicit| explicit.inside(0)).ok_or(MALFORMED)?;
    let mut bytes = bytes.sequence().ok_or(MALFORMED)?;
    // Its type: there is one only, and what is of another is no response.
    let kind = bytes.next().filter(|kind| kind.is(Tag::Oid)).ok_or(MALFORMED)?;
    let basic = bytes.next().filter(|part| part.is(Tag::OctetString)).ok_or(MALFORMED)?;
    // id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1
    if kind.any.data != [0x2b, 6, 1, 5, 5, 7, 48, 1, 1] {
        return Err(MALFORMED);
    }
    Signed::read(basic.any.data).ok_or(MALFORMED)
}

/// Whether the response says, now, that the certificate is good.
fn said_of(
    leaf: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    basic: &Signed<'_>,
    now: i64,
) -> Result<(), &'static str> {
    // version [0], responderID [1] or [2], the time it was made, then the responses.
    let mut data = basic.data.sequence().ok_or(MALFORMED)?.skip_while(Part::is_tagged);
    let _made_at = data.next().ok_or(MALFORMED)?;
    let responses = data.next().and_then(|part| part.sequence()).ok_or(MALFORMED)?;
    for single in responses {
        let mut single = single.sequence().ok_or(MALFORMED)?;
        let id = single.next().ok_or(MALFORMED)?;
        if !is_id_of(&id, leaf, issuer).ok_or(MALFORMED)? {
            continue;
        }
        let status = single.next().ok_or(MALFORMED)?;
        match (status.any.header.class(), status.any.header.tag().0) {
            (Class::ContextSpecific, 0) => {}
            (Class::ContextSpecific, 1) => {
                return Err("the OCSP response says that the certificate is revoked");
            }
            (Class::ContextSpecific, 2) => return Err("the OCSP response does not know the certificate"),
            _ => return Err(MALFORMED),
        }
        let this_update = single.next().and_then(|time| seconds(&time)).ok_or(MALFORMED)?;
        let next_update = match single.next().and_then(|part| part.inside(0)) {
            Some(time) => seconds(&time).ok_or(MALFORMED)?,
            None => this_update.saturating_add(ENDLESS_SECONDS),
        };
        return match () {
            () if this_update > now + AHEAD_SECONDS => Err("the OCSP response is from the future"),
            () if next_update < now => Err("the OCSP response is past its time"),
            () => Ok(()),
        };
    }
    Err(OTHER)
}

/// Whether a CertID is the leaf's: its serial number, and the digests of its issuer's name and key. `None`: malformed.
fn is_id_of(id: &Part<'_>, leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Option<bool> {
    let mut parts = id.sequence()?;
    let algorithm = parts.next()?.sequence()?.next()?;
    let (name, key, serial) = (parts.next()?, parts.next()?, parts.next()?);
    let algorithm = match algorithm.any.data {
        [0x2b, 14, 3, 2, 26] => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => &digest::SHA256,
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => &digest::SHA384,
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => &digest::SHA512,
        // One that nobody uses: none of ours.
        _ => return Some(false),
    };
    let is = |part: &Part<'_>, of: &[u8]| part.any.data == digest::digest(algorithm, of).as_ref();
    let key_of_issuer = &issuer.public_key().subject_public_key.data;
    Some(serial.any.data == leaf.raw_serial() && is(&name, leaf.issuer().as_raw()) && is(&key, key_of_issuer))
}

fn seconds(time: &Part<'_>) -> Option<i64> {
    let time = GeneralizedTime::try_from(&time.any).ok().filter(|_| time.is(Tag::GeneralizedTime))?;
    Some(time.utc_datetime().ok()?.unix_timestamp())
}

/// What certificates and OCSP responses have in common: data, the algorithm, and the signature over the data.
struct Signed<'a> {
    data: Part<'a>,
    // What is in the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
    rest: Parts<'a>,
}

impl<'a> Signed<'a> {
    fn read(bytes: &'a [u8]) -> Option<Signed<'a>> {
        let (all, after) = Part::first(bytes)?;
        let mut parts = all.sequence().filter(|_| after.is_empty())?;
        let data = parts.next()?;
        let algorithm = parts.next().filter(|part| part.sequence().is_some())?.any.data;
        let signature = bits(&parts.next()?)?;
        Some(Signed { data, algorithm, signature, rest: parts })
    }

    /// Whether it was signed with the key of `certificate`.
    fn is_by(&self, certificate: &X509Certificate<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let Some((key_algorithm, key)) = key(certificate.public_key().raw) else { return false };
        let mut fitting = algorithms.all.iter().filter(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
        });
        fitting.any(|algorithm| algorithm.verify_signature(key, self.data.raw, self.signature).is_ok())
    }

    /// Those that a response brings along.
    fn certificates(&self) -> Parts<'a> {
        let explicit = Parts(self.rest.0).next().and_then(|part| part.inside(0));
        explicit.and_then(|part| part.sequence()).unwrap_or(Parts(&[]))
    }
}

/// What is in the AlgorithmIdentifier of a SubjectPublicKeyInfo, and the key.
fn key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = Part::first(info)?;
    let mut parts = info.sequence()?;
    let algorithm = parts.next()?;
    Some((algorithm.any.data, bits(&parts.next()?)?))
}

/// The content of a BIT STRING of whole octets.
fn bits<'a>(part: &Part<'a>) -> Option<&'a [u8]> {
    let (unused, bits) = part.any.data.split_first()?;
    (part.is(Tag::BitString) && *unused == 0).then_some(bits)
}

/// One element of DER.
struct Part<'a> {
    any: Any<'a>,
    /// With tag and length.
    raw: &'a [u8],
}

impl<'a> Part<'a> {
    fn first(bytes: &'a [u8]) -> Option<(Part<'a>, &'a [u8])> {
        let (rest, any) = Any::from_der(bytes).ok()?;
        Some((Part { any, raw: &bytes[..bytes.len() - rest.len()] }, rest))
    }

    fn sequence(&self) -> Option<Parts<'a>> {
        let header = &self.any.header;
        let is_it = header.class() == Class::Universal && header.tag() == Tag::Sequence;
        (is_it && header.constructed()).then_some(Parts(self.any.data))
    }

    /// Whether it is a primitive of this type.
    fn is(&self, tag: Tag) -> bool {
        let header = &self.any.header;
        header.class() == Class::Universal && header.tag() == tag && !header.constructed()
    }

    fn is_tagged(&self) -> bool {
        self.any.header.class() == Class::ContextSpecific
    }

    /// What is in the explicit tag of this number.
    fn inside(&self, number: u32) -> Option<Part<'a>> {
        let is_it = self.is_tagged() && self.any.header.constructed() && self.any.header.tag().0 == number;
        let (part, rest) = is_it.then(|| Part::first(self.any.data)).flatten()?;
        rest.is_empty().then_some(part)
    }
}

/// The elements of a SEQUENCE, up to the first that does not parse.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (part, rest) = Part::first(self.0)?;
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests;
