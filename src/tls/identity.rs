//! Who a client is by its certificate, as a field value for site servers.

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// What of a verified certificate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityForm {
    /// Its subject as RFC 4514 writes it: `CN=someone,O=Example`.
    Subject,
    /// SHA-256 of it, in hexadecimal.
    Fingerprint,
    /// All of it, as RFC 9440 has it for `Client-Cert`: `:base64:`.
    Certificate,
}

impl IdentityForm {
    /// The value for the certificate `leaf` (DER): printable ASCII. Empty for a certificate without a subject.
    pub fn of(self, leaf: &[u8]) -> Vec<u8> {
        match self {
            IdentityForm::Subject => match X509Certificate::from_der(leaf) {
                Ok((_, parsed)) => subject(parsed.subject()).into_bytes(),
                // It was verified, so it parses; should two parsers ever differ, nobody is told anything.
                Err(_) => Vec::new(),
            },
            IdentityForm::Fingerprint => hexadecimal(digest::digest(&digest::SHA256, leaf).as_ref()),
            IdentityForm::Certificate => {
                let mut value = vec![b':'];
                base64(leaf, &mut value);
                value.push(b':');
                value
            }
        }
    }
}

/// The most specific part first (RFC 4514 §2.1).
fn subject(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = match oid.as_str() {
        "2.5.4.3" => Some("CN"),
        "2.5.4.5" => Some("serialNumber"),
        "2.5.4.6" => Some("C"),
        "2.5.4.7" => Some("L"),
        "2.5.4.8" => Some("ST"),
        "2.5.4.9" => Some("STREET"),
        "2.5.4.10" => Some("O"),
        "2.5.4.11" => Some("OU"),
        "0.9.2342.19200300.100.1.1" => Some("UID"),
        "0.9.2342.19200300.100.1.25" => Some("DC"),
        "1.2.840.113549.1.9.1" => Some("emailAddress"),
        _ => None,
    };
    match (known, attribute.as_str()) {
        (Some(known), Ok(text)) => format!("{known}={}", escaped(text)),
        // RFC 4514 §2.4: an unknown kind is written by its number, in the encoding it came in; here its content.
        _ => {
            let hex = hexadecimal(attribute.attr_value().data);
            format!("{oid}=#{}", String::from_utf8_lossy(&hex))
        }
    }
}

/// RFC 4514 §2.4; everything that is no printable ASCII as `\XX`, so that it can stand in a field.
fn escaped(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let at_edge = (byte == b' ' && (at == 0 || at == last)) || (byte == b'#' && at == 0);
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            _ if at_edge => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 15)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// RFC 4648 §4.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { digit } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(parts: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn text(form: IdentityForm, leaf: &[u8]) -> String {
        String::from_utf8(form.of(leaf)).unwrap()
    }

    #[test]
    fn subjects_are_written_as_rfc_4514_has_them() {
        let leaf = certificate(&[
            (DnType::CountryName, "NL"),
            (DnType::OrganizationName, "A, B \"C\" = D"),
            (DnType::CommonName, "#Jos\u{e9}\r\nX-Admin: yes "),
        ]);
        let expected = "CN=\\#Jos\\C3\\A9\\0D\\0AX-Admin: yes\\ ,O=A\\, B \\\"C\\\" \\= D,C=NL";
        assert_eq!(text(IdentityForm::Subject, &leaf), expected);
        assert_eq!(text(IdentityForm::Subject, &certificate(&[])), "");
        let other = DnType::CustomDnType(vec![2, 5, 4, 12]);
        assert_eq!(text(IdentityForm::Subject, &certificate(&[(other, "Dr")])), "2.5.4.12=#4472");
        assert_eq!(text(IdentityForm::Subject, b"no certificate"), "");
    }

    #[test]
    fn fingerprints_and_certificates_are_those_of_the_der() {
        assert_eq!(
            text(IdentityForm::Fingerprint, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        for (bytes, expected) in
            [("", "::"), ("f", ":Zg==:"), ("fo", ":Zm8=:"), ("foo", ":Zm9v:"), ("foob", ":Zm9vYg==:")]
        {
            assert_eq!(text(IdentityForm::Certificate, bytes.as_bytes()), expected);
        }
    }
}
