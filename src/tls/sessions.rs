//! How sessions resume: the mode for all sites, and what one site's configuration gets of it.

use std::fmt;
use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions};
use zeroize::Zeroize;

use super::ticket::SiteTickets;
use super::{Binding, Clock, SessionCache, TicketKeys, origin};

/// `session_cache.mode`, with what it needs; one for the process, it outlives generations.
#[derive(Clone)]
pub enum Sessions {
    /// `"cache"`: session ids and stateful tickets, kept here.
    Cache { cache: Arc<SessionCache>, clock: Arc<dyn Clock> },
    /// `"tickets"`: the client keeps the session, sealed.
    Tickets { keys: Arc<TicketKeys>, clock: Arc<dyn Clock> },
    /// `"off"`: every handshake is a full one.
    Off,
}

impl Sessions {
    /// What the configuration of one site gets: sessions that begin and resume under `binding` only.
    pub fn for_site(&self, binding: Binding) -> SiteSessions {
        let nowhere: Arc<dyn StoresServerSessions> = Arc::new(NoServerSessionStorage {});
        match self {
            Sessions::Cache { cache, clock } => SiteSessions {
                storage: Arc::new(BoundSessions {
                    cache: Arc::clone(cache),
                    clock: Arc::clone(clock),
                    binding,
                }),
                tickets: Arc::new(NoTickets),
                // Each stored ticket takes a place of `size`. One for one used keeps a client
                // with several connections in tickets, since each connection brings its own.
                tickets_sent: 1,
                tickets_max: 2,
            },
            Sessions::Tickets { keys, clock } => SiteSessions {
                storage: nowhere,
                tickets: Arc::new(SiteTickets::new(Arc::clone(keys), Arc::clone(clock), binding)),
                // They cost 200 bytes on the wire and nothing here; two let a client open a
                // second connection before the first has brought its own.
                tickets_sent: 2,
                tickets_max: 4,
            },
            Sessions::Off => SiteSessions {
                storage: nowhere,
                tickets: Arc::new(NoTickets),
                tickets_sent: 0,
                tickets_max: 0,
            },
        }
    }
}

/// The session side of one site's `ServerConfig`.
pub struct SiteSessions {
    pub(super) storage: Arc<dyn StoresServerSessions>,
    pub(super) tickets: Arc<dyn ProducesTickets>,
    /// `send_tls13_tickets`
    pub(super) tickets_sent: usize,
    /// `max_tls13_tickets`: what a client may ask for (RFC 9149).
    pub(super) tickets_max: usize,
}

impl SiteSessions {
    /// What rustls seals sessions with; for fuzzing, which calls it as rustls does.
    #[doc(hidden)]
    pub fn tickets(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.tickets)
    }

    /// What rustls stores sessions in; for benches, which call it as rustls does.
    #[doc(hidden)]
    pub fn storage(&self) -> Arc<dyn StoresServerSessions> {
        Arc::clone(&self.storage)
    }
}

/// The cache as one site sees it.
struct BoundSessions {
    cache: Arc<SessionCache>,
    clock: Arc<dyn Clock>,
    binding: Binding,
}

impl StoresServerSessions for BoundSessions {
    fn put(&self, id: Vec<u8>, mut value: Vec<u8>) -> bool {
        let Some(origin) = origin::read(&value) else {
            value.zeroize();
            return false;
        };
        let now = self.clock.now().monotonic;
        self.cache.put(&id, self.binding, origin.monotonic, value, now)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.cache.get(id, self.binding, self.clock.now().monotonic)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.cache.take(id, self.binding, self.clock.now().monotonic)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for BoundSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundSessions")
    }
}

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
