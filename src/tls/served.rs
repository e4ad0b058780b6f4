//! What a site is served with: swapped while it serves, or asked for by name.
//!
//! A site has one slot for each run of sources that answer for the whole site, and one for each source
//! that is asked for names, in the order written:
//!
//! ```text
//! files, self_signed       ─▶ [ Fixed ]                     most sites: one slot, no name is looked at
//! files, command, self_signed ─▶ [ Fixed | Asked | Fixed ]  the first that covers the name wins
//! ```
//!
//! A handshake walks them once and waits only at an `Asked` one that knows nothing of the name yet. Workers
//! read a slot without a lock; whoever keeps the certificates replaces what is in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;

use super::{
    Binding, CertificateSet, Moment, Policy, ServerConfigs, Sessions, SharedServerConfig, TlsProblem,
};

const TOLD_MAX: usize = 256;

/// Everything a connection is made with, and what it is bound to afterwards.
pub struct ServedTls {
    /// The name of the site.
    pub site: String,
    /// The policy of the site, as [`Policy::number`] has it; that of a name may be another one.
    pub site_policy: u64,
    pub policy: Arc<Policy>,
    pub config: SharedServerConfig,
    // The same, for clients whose order of cipher suites is followed; made when the first of them comes.
    in_client_order: OnceLock<SharedServerConfig>,
    pub certificates: CertificateSet,
}

impl ServedTls {
    /// # Errors
    /// As [`ServerConfigs::build`].
    pub fn new(
        site: &str,
        site_policy: u64,
        policy: Arc<Policy>,
        certificates: CertificateSet,
        sessions: &Sessions,
        configs: &ServerConfigs,
    ) -> Result<ServedTls, TlsProblem> {
        let sessions = sessions.for_site(Binding::of(site, &policy));
        let config = configs.build(&policy, certificates.clone(), sessions)?;
        let in_client_order = OnceLock::new();
        Ok(ServedTls { site: site.to_owned(), site_policy, policy, config, in_client_order, certificates })
    }

    /// What a client is answered with. `chacha20_first`: see [`is_chacha20_first`](super::is_chacha20_first).
    pub fn config_for(&self, chacha20_first: bool) -> &SharedServerConfig {
        if !chacha20_first {
            return &self.config;
        }
        self.in_client_order.get_or_init(|| {
            let mut config = ServerConfig::clone(&self.config);
            config.ignore_client_order = false;
            Arc::new(config)
        })
    }
}

/// A source that is asked for each name. Called by workers: neither call blocks.
pub trait NameSource: Send + Sync {
    /// What is known of `name` (lowercase, no trailing dot).
    fn look(&self, name: &[u8]) -> Known;

    /// Asks for `name`; `reply` is called once, by another thread or at once.
    fn ask(&self, name: &[u8], reply: Reply);
}

/// What is known without asking.
pub enum Known {
    Answered(Answer),
    /// It must be asked.
    Unknown,
}

pub type Reply = Box<dyn FnOnce(Answer) + Send>;

/// What a source says of a name.
#[derive(Clone)]
pub enum Answer {
    Served(Arc<ServedTls>),
    /// It has no certificate for the name.
    Nothing,
    /// It could not be asked, or its answer cannot be used.
    Failed,
}

/// One place of a site's sources.
pub enum Slot {
    /// For the whole site; empty until something good was found.
    Fixed(Arc<ArcSwapOption<ServedTls>>),
    Asked(Arc<dyn NameSource>),
}

/// The TLS side of a site.
pub struct SiteTls {
    /// The site's own, which names may have another one than. New client authorities or revocation lists are a
    /// new policy.
    pub policy: ArcSwap<Policy>,
    slots: Box<[Slot]>,
    asks: bool,
    // Names without a certificate that were told of, with the minute. Most sites never have one.
    told: OnceLock<Box<Mutex<Told>>>,
}

type Told = HashMap<Box<[u8]>, u64>;

/// The next step of a handshake.
pub enum Found<'a> {
    Served(Arc<ServedTls>),
    /// Ask this source, and go on behind it with `after` when it has nothing.
    Ask {
        source: &'a dyn NameSource,
        after: usize,
    },
    /// No source has a certificate.
    Nothing,
}

impl SiteTls {
    pub fn new(policy: Arc<Policy>, slots: Vec<Slot>) -> SiteTls {
        let asks = slots.iter().any(|slot| matches!(slot, Slot::Asked(_)));
        SiteTls { policy: ArcSwap::new(policy), slots: slots.into(), asks, told: OnceLock::new() }
    }

    /// What `name` is served with, looking from slot `from` on; 0 at first. Without a name sources are not asked.
    ///
    /// A certificate for the whole site that does not cover the name is the last resort when there are
    /// sources to ask, and the answer when there are none: the client's warning tells more than an alert.
    pub fn find(&self, name: Option<&[u8]>, from: usize) -> Found<'_> {
        for (at, slot) in self.slots.iter().enumerate().skip(from) {
            match (slot, name) {
                (Slot::Fixed(live), _) => {
                    let Some(served) = live.load_full() else { continue };
                    let fits = !self.asks || name.is_none_or(|name| served.certificates.covers(name));
                    if fits {
                        return Found::Served(served);
                    }
                }
                (Slot::Asked(_), None) => {}
                (Slot::Asked(source), Some(name)) => match source.look(name) {
                    Known::Answered(Answer::Served(served)) => return Found::Served(served),
                    Known::Answered(Answer::Nothing | Answer::Failed) => {}
                    Known::Unknown => return Found::Ask { source: &**source, after: at + 1 },
                },
            }
        }
        self.fixed().map_or(Found::Nothing, Found::Served)
    }

    /// The first certificate for the whole site.
    pub fn fixed(&self) -> Option<Arc<ServedTls>> {
        self.of_the_site().next()
    }

    /// The certificates for the whole site, in the order of their sources.
    pub fn of_the_site(&self) -> impl Iterator<Item = Arc<ServedTls>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Fixed(live) => live.load_full(),
            Slot::Asked(_) => None,
        })
    }

    /// Whether the operator may be told that there is no certificate for `name`: once in a minute for each
    /// name, and for 256 names.
    pub fn may_tell(&self, name: &[u8], now: Moment) -> bool {
        let minute = now.monotonic / 60_000;
        let mut told = self.told.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= TOLD_MAX {
            told.retain(|_, of| *of == minute);
        }
        if told.get(name) == Some(&minute) || told.len() >= TOLD_MAX {
            return false;
        }
        told.insert(name.into(), minute);
        true
    }

    /// Whether names may differ in their certificate and policy.
    pub fn asks(&self) -> bool {
        self.asks
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

impl std::fmt::Debug for SiteTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SiteTls")
    }
}
