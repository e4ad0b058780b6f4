//! What a source answers for a name: refused with a reason, or a certificate that can be served under a policy
//! that holds together.

use std::sync::OnceLock;
use std::time::Duration;

use portcullis::certs::parse_answer;
use portcullis::tls::{Policy, ServerConfigs, SourceWord, Versions};

pub fn check(bytes: &[u8]) {
    static CONFIGS: OnceLock<ServerConfigs> = OnceLock::new();
    let provider = CONFIGS.get_or_init(|| ServerConfigs::new(None)).provider();
    let policy = Policy::speaking(Versions::Tls12And13, &["h2", "http/1.1"]);
    let answer = match parse_answer(bytes, SourceWord::Command, policy.alpn(), provider) {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            let empty = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).copied();
            assert_eq!(empty.collect::<Vec<_>>(), b"{}", "nothing is said in one way only");
            return;
        }
        Err(failure) => {
            assert!(!failure.reason().is_empty() && failure.to_string().len() < 500);
            return;
        }
    };
    assert!(!answer.certificate.chain().is_empty() && !answer.certificate.names().is_empty());
    assert!(answer.lifetime.is_none_or(|lifetime| {
        (Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600)).contains(&lifetime)
    }));
    let Some(options) = answer.options else { return };
    if let Ok(of_name) = options.over(&policy, provider) {
        assert!(of_name.alpn().iter().all(|protocol| policy.alpn().contains(protocol)));
        // A session of the name resumes under the same rules alone.
        assert_eq!(of_name.number() == policy.number(), of_name == policy);
    }
}
