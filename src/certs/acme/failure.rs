//! Why there is no certificate from a CA.

use std::fmt;

use instant_acme::Error;

use super::store::StoreFailure;
use crate::certs::CertificateProblem;
use crate::tls::renewal::Failure;

/// An order, or a step of it, that failed.
#[derive(Debug)]
pub(super) enum OrderFailure {
    /// What the CA said, or that it could not be asked.
    Ca { step: &'static str, error: Error },
    /// No answer in time.
    TimedOut { step: &'static str },
    /// The CA does not offer the challenge that is configured for the name.
    NotOffered { name: String, method: &'static str },
    /// The CA looked and was not content: its words.
    NotValidated { name: String, why: String },
    /// The command for dns-01.
    Dns { name: String, why: String },
    /// The state directory, a key, or what the CA sent as certificate.
    Certificate(CertificateProblem),
    /// The fleet's store, in the middle of an order.
    Store(StoreFailure),
    /// A setting that cannot be used, such as a key that is none.
    Setting(String),
    /// Something of ours that cannot fail for good reasons.
    Internal(String),
}

const ERROR: &str = "urn:ietf:params:acme:error:";

impl OrderFailure {
    pub(super) fn is_type(&self, word: &str) -> bool {
        let OrderFailure::Ca { error: Error::Api(problem), .. } = self else { return false };
        problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(ERROR)) == Some(word)
    }

    /// For the next attempt.
    pub(super) fn kind(&self) -> Failure {
        match self {
            _ if self.is_type("rateLimited") => Failure::RateLimited,
            _ if self.is_type("serverInternal") => Failure::Unreachable,
            OrderFailure::Ca { error: Error::Api(problem), .. } if problem.status >= Some(500) => {
                Failure::Unreachable
            }
            OrderFailure::Ca { error: Error::Api(_) | Error::Unsupported(_), .. } => Failure::Refused,
            // Nobody answered, or something that is no ACME server did: a gateway in front of one.
            OrderFailure::Ca { .. } | OrderFailure::TimedOut { .. } | OrderFailure::Store(_) => {
                Failure::Unreachable
            }
            _ => Failure::Refused,
        }
    }
}

impl fmt::Display for OrderFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca { step, error } => {
                write!(f, "{step}: {error}")?;
                let mut source = std::error::Error::source(error);
                // What is at the bottom says why: "connection refused", "unknown issuer".
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            Self::TimedOut { step } => write!(f, "{step}: the CA did not answer in time"),
            Self::NotOffered { name, method } => write!(f, "the CA does not offer {method} for {name}"),
            Self::NotValidated { name, why } => write!(f, "the CA could not validate {name}: {why}"),
            Self::Dns { name, why } => write!(f, "the record for {name} could not be set: {why}"),
            Self::Certificate(problem) => write!(f, "{problem}"),
            Self::Store(failure) => write!(f, "the fleet's store: {failure}"),
            Self::Setting(why) | Self::Internal(why) => f.write_str(why),
        }
    }
}

impl From<CertificateProblem> for OrderFailure {
    fn from(problem: CertificateProblem) -> OrderFailure {
        OrderFailure::Certificate(problem)
    }
}

impl From<StoreFailure> for OrderFailure {
    fn from(failure: StoreFailure) -> OrderFailure {
        OrderFailure::Store(failure)
    }
}

/// Names the step at which a CA failed.
pub(super) fn at(step: &'static str) -> impl Fn(Error) -> OrderFailure {
    move |error| OrderFailure::Ca { step, error }
}
