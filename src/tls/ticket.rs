//! Stateless tickets: the session sealed under keys that rotate every half lifetime.
//!
//! ```text
//! ticket:  1 (version) | period u64 | nonce [12] | AES-256-GCM(session value) | tag [16]
//! sealed with it, not sent: the binding of the site, and the first nine bytes
//! ```
//!
//! `period` is the time divided by half the lifetime. A ticket lives for a lifetime, so the keys
//! of this period and the two before it open tickets; older ones are forgotten, and with them
//! whatever was sealed (RFC 8446 §8 would otherwise end forward secrecy at the ticket key).
//! With a fleet secret the key of a period is derived from it (HKDF, RFC 5869), so that all
//! machines have the same one; the next period's key opens too, for clocks a little ahead.
//!
//! TLS 1.2 renews a ticket in the same call that opened it, before [`origin::mark`] can be
//! called: such a renewal is refused, the client gets an empty ticket and keeps the one it has
//! (RFC 5077 §3.3), which is good to the end of its lifetime.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use rustls::server::ProducesTickets;
use zeroize::{Zeroize, Zeroizing};

use super::time::milliseconds;
use super::{Binding, Clock, Moment, TlsProblem, origin};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;
const TAG_BYTES: usize = 16;
/// A ticket comes back in a ClientHello: a session with a long client chain is not worth it.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// The machines of a fleet keep their clocks within this of each other, or do not resume for each other.
const CLOCK_SKEW_MAX_MS: u64 = 10_000;
/// Random nonces of 96 bits: well below the 2^32 of NIST SP 800-38D §8.3 for each machine.
const SEALED_MAX: u64 = 1 << 30;
/// RFC 8446 §4.6.1: a ticket lives for a week at most.
const LIFETIME_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// The keys of all sites; one for the process, given to each new generation.
pub struct TicketKeys {
    source: KeySource,
    lifetime_ms: u64,
    // At most four: those of the periods that `opens` lets in.
    ring: RwLock<Vec<PeriodKey>>,
}

enum KeySource {
    Random,
    Fleet(hkdf::Prk),
}

struct PeriodKey {
    period: u64,
    key: LessSafeKey,
    // What the key was made of: the process that takes over goes on with it.
    bytes: Zeroizing<[u8; 32]>,
    sealed: AtomicU64,
}

impl TicketKeys {
    /// What `from_secret` asks for: 32 bytes, best from a generator of random numbers.
    pub const SECRET_BYTES_MIN: usize = 32;

    /// Keys nobody else has; they end with the process.
    ///
    /// # Errors
    /// `ShortLifetime`: less than two seconds.
    pub fn random(lifetime: Duration) -> Result<TicketKeys, TlsProblem> {
        TicketKeys::new(KeySource::Random, lifetime)
    }

    /// Keys derived from what every machine of the fleet has: all bytes of `fleet_secret_file`.
    /// They agree where the lifetime is the same, too.
    ///
    /// # Errors
    /// `ShortSecret`, `ShortLifetime`.
    pub fn from_secret(secret: &[u8], lifetime: Duration) -> Result<TicketKeys, TlsProblem> {
        if secret.len() < Self::SECRET_BYTES_MIN {
            return Err(TlsProblem::ShortSecret);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis session tickets 1");
        TicketKeys::new(KeySource::Fleet(salt.extract(secret)), lifetime)
    }

    fn new(source: KeySource, lifetime: Duration) -> Result<TicketKeys, TlsProblem> {
        if lifetime < Duration::from_secs(2) {
            return Err(TlsProblem::ShortLifetime);
        }
        let lifetime_ms = milliseconds(lifetime).min(LIFETIME_SECONDS_MAX * 1000);
        Ok(TicketKeys { source, lifetime_ms, ring: RwLock::new(Vec::with_capacity(4)) })
    }

    /// Forgets keys that open nothing any more. For a timer: without handshakes nobody else does.
    pub fn rotate(&self, now: Moment) {
        let current = self.period(now);
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.retain(|key| self.opens(key.period, current));
    }

    fn time_ms(&self, moment: Moment) -> u64 {
        match self.source {
            KeySource::Random => moment.monotonic,
            KeySource::Fleet(_) => moment.unix,
        }
    }

    fn period(&self, now: Moment) -> u64 {
        self.time_ms(now) / (self.lifetime_ms / 2)
    }

    /// Whether a ticket of `period` can still be alive.
    fn opens(&self, period: u64, current: u64) -> bool {
        let newest = match self.source {
            KeySource::Random => current,
            KeySource::Fleet(_) => current + 1,
        };
        (current.saturating_sub(2)..=newest).contains(&period)
    }

    /// Whether a session of that full handshake may still resume.
    fn alive(&self, origin: Moment, now: Moment) -> bool {
        let (origin, now) = (self.time_ms(origin), self.time_ms(now));
        let skew = match self.source {
            KeySource::Random => 0,
            KeySource::Fleet(_) => CLOCK_SKEW_MAX_MS,
        };
        origin <= now.saturating_add(skew) && now.saturating_sub(origin) <= self.lifetime_ms
    }

    /// Calls `work` with the key of `period`, made at need when `make` says so.
    fn with_key<T>(
        &self,
        period: u64,
        current: u64,
        make: bool,
        work: impl Fn(&PeriodKey) -> Option<T>,
    ) -> Option<T> {
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = ring.iter().find(|key| key.period == period) {
                return work(key);
            }
        }
        if !make {
            return None;
        }
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.retain(|key| self.opens(key.period, current));
        // Another worker may have been first.
        if !ring.iter().any(|key| key.period == period) {
            ring.push(self.make_key(period)?);
        }
        work(ring.iter().find(|key| key.period == period)?)
    }

    fn make_key(&self, period: u64) -> Option<PeriodKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        match &self.source {
            KeySource::Random => rand::fill(&mut *bytes).ok()?,
            KeySource::Fleet(secret) => secret
                .expand(
                    &[b"ticket key", &self.lifetime_ms.to_be_bytes(), &period.to_be_bytes()],
                    hkdf::HKDF_SHA256,
                )
                .ok()?
                .fill(&mut *bytes)
                .ok()?,
        }
        Some(PeriodKey {
            period,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).ok()?),
            bytes,
            sealed: AtomicU64::new(0),
        })
    }

    /// The random keys that open tickets, for [`adopt`](Self::adopt); none of a fleet, which derives its own.
    pub(super) fn export(&self, mut each: impl FnMut(u64, u64, &[u8; 32])) {
        if matches!(self.source, KeySource::Random) {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            ring.iter().for_each(|key| each(self.lifetime_ms, key.period, &key.bytes));
        }
    }

    /// Takes up a key that another process exported, if it would open tickets here.
    pub(super) fn adopt(&self, lifetime_ms: u64, period: u64, bytes: &[u8; 32], now: Moment) {
        let current = self.period(now);
        let is_ours = matches!(self.source, KeySource::Random) && lifetime_ms == self.lifetime_ms;
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if !is_ours || !self.opens(period, current) || ring.iter().any(|key| key.period == period) {
            return;
        }
        if let Ok(key) = UnboundKey::new(&AES_256_GCM, bytes) {
            // Nonces are random, so counting anew is no more than another machine's share would be.
            let (key, bytes) = (LessSafeKey::new(key), Zeroizing::new(*bytes));
            ring.push(PeriodKey { period, key, bytes, sealed: AtomicU64::new(0) });
        }
    }

    fn seal(&self, value: &[u8], binding: Binding, now: Moment) -> Option<Vec<u8>> {
        let origin = origin::read(value)?;
        if value.len() > VALUE_BYTES_MAX || !self.alive(origin, now) {
            return None;
        }
        let period = self.period(now);
        self.with_key(period, period, true, |key| {
            if key.sealed.fetch_add(1, Ordering::Relaxed) >= SEALED_MAX {
                return None;
            }
            let mut nonce = [0; NONCE_LEN];
            rand::fill(&mut nonce).ok()?;
            let head = head(period);
            let mut ticket = Vec::with_capacity(HEAD_BYTES + NONCE_LEN + value.len() + TAG_BYTES);
            ticket.extend_from_slice(&head);
            ticket.extend_from_slice(&nonce);
            ticket.extend_from_slice(value);
            let sealed_at = HEAD_BYTES + NONCE_LEN;
            let tag = key.key.seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(binding, head),
                ticket.get_mut(sealed_at..)?,
            );
            match tag {
                Ok(tag) => {
                    ticket.extend_from_slice(tag.as_ref());
                    Some(ticket)
                }
                Err(_) => {
                    ticket.zeroize();
                    None
                }
            }
        })
    }

    fn open(&self, ticket: &[u8], binding: Binding, now: Moment) -> Option<Vec<u8>> {
        let (head_bytes, rest) = ticket.split_first_chunk::<HEAD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() < TAG_BYTES || sealed.len() > VALUE_BYTES_MAX + TAG_BYTES {
            return None;
        }
        let (version, period) = head_bytes.split_first_chunk::<1>()?;
        let period = u64::from_be_bytes(period.try_into().ok()?);
        let current = self.period(now);
        if *version != [VERSION] || !self.opens(period, current) {
            return None;
        }
        // Random keys that are not in the ring never were: a guess makes none.
        let make = matches!(self.source, KeySource::Fleet(_));
        self.with_key(period, current, make, |key| {
            let mut value = sealed.to_vec();
            let length = key
                .key
                .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(binding, *head_bytes), &mut value)
                .ok()?
                .len();
            value.truncate(length);
            if origin::read(&value).is_some_and(|origin| self.alive(origin, now)) {
                Some(value)
            } else {
                value.zeroize();
                None
            }
        })
    }
}

fn head(period: u64) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    head[1..].copy_from_slice(&period.to_be_bytes());
    head
}

fn aad(binding: Binding, head: [u8; HEAD_BYTES]) -> Aad<[u8; 16 + HEAD_BYTES]> {
    let mut all = [0; 16 + HEAD_BYTES];
    all[..16].copy_from_slice(binding.as_bytes());
    all[16..].copy_from_slice(&head);
    Aad::from(all)
}

/// The tickets of one site.
pub(super) struct SiteTickets {
    keys: Arc<TicketKeys>,
    clock: Arc<dyn Clock>,
    binding: Binding,
}

impl SiteTickets {
    pub(super) fn new(keys: Arc<TicketKeys>, clock: Arc<dyn Clock>, binding: Binding) -> SiteTickets {
        SiteTickets { keys, clock, binding }
    }
}

impl ProducesTickets for SiteTickets {
    fn enabled(&self) -> bool {
        true
    }

    /// A hint in seconds; what is left of a resumed session's lifetime can be less.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.keys.lifetime_ms / 1000).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(value, self.binding, self.clock.now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(ticket, self.binding, self.clock.now())
    }
}

impl fmt::Debug for SiteTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SiteTickets")
    }
}

#[cfg(test)]
mod tests;
