//! Why the fleet's store could not be used.

use std::fmt;

/// What went wrong with the store. None of it stops anything from being served.
#[derive(Debug)]
pub(in crate::certs::acme) enum StoreFailure {
    /// No connection: the cause.
    Unreachable(String),
    /// No answer in time, or no connection.
    TimedOut,
    /// Not used since the last failure; the thread tries to reach it.
    Away,
    /// The store answered with an error.
    Refused(String),
    /// What it said is not what a store of ours says, or more than it may be.
    Unexpected(&'static str),
    /// What was there is gone, and is put anew.
    Emptied,
    /// What lies there was sealed with another secret, or by somebody else.
    Sealed,
    /// A setting that cannot be used: the authorities, the secret.
    Setting(String),
}

impl StoreFailure {
    /// The reason word in logs and metrics.
    pub(in crate::certs::acme) fn word(&self) -> &'static str {
        match self {
            StoreFailure::Unreachable(_) | StoreFailure::Away => "unreachable",
            StoreFailure::TimedOut => "timeout",
            StoreFailure::Refused(_) => "refused",
            StoreFailure::Unexpected(_) => "protocol",
            StoreFailure::Emptied => "emptied",
            StoreFailure::Sealed => "secret",
            StoreFailure::Setting(_) => "setting",
        }
    }
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "it cannot be reached: {cause}"),
            Self::TimedOut => f.write_str("it does not answer in time"),
            Self::Away => f.write_str("it is away"),
            Self::Refused(words) => write!(f, "it refuses: {words}"),
            Self::Unexpected(what) => write!(f, "it does not answer as a store does: {what}"),
            Self::Emptied => f.write_str("it was emptied"),
            Self::Sealed => f.write_str(
                "what lies there was sealed with another secret than that of `fleet_secret_file` here: give all machines \
                 the same file; when it was changed on all of them, empty the store",
            ),
            Self::Setting(what) => f.write_str(what),
        }
    }
}
