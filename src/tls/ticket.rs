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
use aws_lc_rs::{digest, hkdf, rand};
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
    is_fleet: bool,
    lifetime_ms: u64,
    ring: RwLock<Ring>,
}

struct Ring {
    // Those of a fleet: what seals first, then the one before it, as long as its tickets live. Empty: random.
    secrets: Vec<Secret>,
    // At most four for each secret: those of the periods that `opens` lets in.
    keys: Vec<PeriodKey>,
}

struct Secret {
    derived: hkdf::Prk,
    // Of the secret: whether another one was written into the file.
    digest: digest::Digest,
    serial: u32,
    /// Opens nothing after this moment, on the fleet's clock; `None`: it seals.
    until_ms: Option<u64>,
}

struct PeriodKey {
    // Of its secret; 0 for random ones.
    serial: u32,
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
        TicketKeys::new(Vec::new(), lifetime)
    }

    /// Keys derived from what every machine of the fleet has: all bytes of `fleet_secret_file`.
    /// They agree where the lifetime is the same, too.
    ///
    /// # Errors
    /// `ShortSecret`, `ShortLifetime`.
    pub fn from_secret(secret: &[u8], lifetime: Duration) -> Result<TicketKeys, TlsProblem> {
        TicketKeys::new(vec![Secret::new(secret, 1)?], lifetime)
    }

    fn new(secrets: Vec<Secret>, lifetime: Duration) -> Result<TicketKeys, TlsProblem> {
        if lifetime < Duration::from_secs(2) {
            return Err(TlsProblem::ShortLifetime);
        }
        let lifetime_ms = milliseconds(lifetime).min(LIFETIME_SECONDS_MAX * 1000);
        let ring = Ring { secrets, keys: Vec::with_capacity(4) };
        Ok(TicketKeys { is_fleet: !ring.secrets.is_empty(), lifetime_ms, ring: RwLock::new(ring) })
    }

    /// Seals with another secret from here on. Tickets of the one before open until their lifetime is over,
    /// those of earlier ones do not. False: it is the same secret.
    ///
    /// # Errors
    /// `ShortSecret`; nothing is changed then.
    pub fn set_secret(&self, secret: &[u8], now: Moment) -> Result<bool, TlsProblem> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let serial = ring.secrets.first().map_or(1, |first| first.serial.wrapping_add(1).max(1));
        let new = Secret::new(secret, serial)?;
        let Some(mut old) = (!ring.secrets.is_empty()).then(|| ring.secrets.swap_remove(0)) else {
            return Ok(false);
        };
        if old.digest.as_ref() == new.digest.as_ref() {
            ring.secrets.insert(0, old);
            return Ok(false);
        }
        old.until_ms = Some(self.time_ms(now).saturating_add(self.lifetime_ms));
        let kept = [new.serial, old.serial];
        ring.secrets = vec![new, old];
        ring.keys.retain(|key| kept.contains(&key.serial));
        Ok(true)
    }

    /// Forgets keys that open nothing any more. For a timer: without handshakes nobody else does.
    pub fn rotate(&self, now: Moment) {
        let current = self.period(now);
        let time_ms = self.time_ms(now);
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.secrets.retain(|secret| secret.until_ms.is_none_or(|until_ms| time_ms <= until_ms));
        let Ring { secrets, keys } = &mut *ring;
        keys.retain(|key| {
            let known = !self.is_fleet || secrets.iter().any(|secret| secret.serial == key.serial);
            known && self.opens(key.period, current)
        });
    }

    fn time_ms(&self, moment: Moment) -> u64 {
        if self.is_fleet { moment.unix } else { moment.monotonic }
    }

    fn period(&self, now: Moment) -> u64 {
        self.time_ms(now) / (self.lifetime_ms / 2)
    }

    /// Whether a ticket of `period` can still be alive.
    fn opens(&self, period: u64, current: u64) -> bool {
        let newest = if self.is_fleet { current + 1 } else { current };
        (current.saturating_sub(2)..=newest).contains(&period)
    }

    /// Whether a session of that full handshake may still resume.
    fn alive(&self, origin: Moment, now: Moment) -> bool {
        let (origin, now) = (self.time_ms(origin), self.time_ms(now));
        let skew = if self.is_fleet { CLOCK_SKEW_MAX_MS } else { 0 };
        origin <= now.saturating_add(skew) && now.saturating_sub(origin) <= self.lifetime_ms
    }

    /// The secrets that open at this time, the one that seals first.
    fn serials(&self, now: Moment) -> [Option<u32>; 2] {
        if !self.is_fleet {
            return [Some(0), None];
        }
        let time_ms = self.time_ms(now);
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let mut alive = ring
            .secrets
            .iter()
            .filter(|secret| secret.until_ms.is_none_or(|until_ms| time_ms <= until_ms))
            .map(|secret| secret.serial);
        [alive.next(), alive.next()]
    }

    /// Calls `work` with the key of `period` and a secret, made at need when `make` says so.
    fn with_key<T>(
        &self,
        (serial, period): (u32, u64),
        current: u64,
        make: bool,
        work: impl Fn(&PeriodKey) -> Option<T>,
    ) -> Option<T> {
        let is_it = |key: &&PeriodKey| key.period == period && key.serial == serial;
        {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(key) = ring.keys.iter().find(is_it) {
                return work(key);
            }
        }
        if !make {
            return None;
        }
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.keys.retain(|key| self.opens(key.period, current));
        // Another worker may have been first.
        if !ring.keys.iter().any(|key| is_it(&key)) {
            let key = self.make_key(&ring.secrets, serial, period)?;
            ring.keys.push(key);
        }
        work(ring.keys.iter().find(is_it)?)
    }

    fn make_key(&self, secrets: &[Secret], serial: u32, period: u64) -> Option<PeriodKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        if self.is_fleet {
            let secret = secrets.iter().find(|secret| secret.serial == serial)?;
            secret
                .derived
                .expand(
                    &[b"ticket key", &self.lifetime_ms.to_be_bytes(), &period.to_be_bytes()],
                    hkdf::HKDF_SHA256,
                )
                .ok()?
                .fill(&mut *bytes)
                .ok()?;
        } else {
            rand::fill(&mut *bytes).ok()?;
        }
        Some(PeriodKey {
            serial,
            period,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).ok()?),
            bytes,
            sealed: AtomicU64::new(0),
        })
    }

    /// The random keys that open tickets, for [`adopt`](Self::adopt); none of a fleet, which derives its own.
    pub(super) fn export(&self, mut each: impl FnMut(u64, u64, &[u8; 32])) {
        if !self.is_fleet {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            ring.keys.iter().for_each(|key| each(self.lifetime_ms, key.period, &key.bytes));
        }
    }

    /// Takes up a key that another process exported, if it would open tickets here.
    pub(super) fn adopt(&self, lifetime_ms: u64, period: u64, bytes: &[u8; 32], now: Moment) {
        let current = self.period(now);
        let is_ours = !self.is_fleet && lifetime_ms == self.lifetime_ms;
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if !is_ours || !self.opens(period, current) || ring.keys.iter().any(|key| key.period == period) {
            return;
        }
        if let Ok(key) = UnboundKey::new(&AES_256_GCM, bytes) {
            // Nonces are random, so counting anew is no more than another machine's share would be.
            let (key, bytes) = (LessSafeKey::new(key), Zeroizing::new(*bytes));
            ring.keys.push(PeriodKey { serial: 0, period, key, bytes, sealed: AtomicU64::new(0) });
        }
    }

    fn seal(&self, value: &[u8], binding: Binding, now: Moment) -> Option<Vec<u8>> {
        let origin = origin::read(value)?;
        if value.len() > VALUE_BYTES_MAX || !self.alive(origin, now) {
            return None;
        }
        let period = self.period(now);
        let [serial, _] = self.serials(now);
        self.with_key((serial?, period), period, true, |key| {
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
        let mut serials = self.serials(now).into_iter().flatten();
        serials.find_map(|serial| {
            self.open_with((serial, period), current, (*head_bytes, nonce, sealed), binding, now)
        })
    }

    fn open_with(
        &self,
        key: (u32, u64),
        current: u64,
        (head_bytes, nonce, sealed): ([u8; HEAD_BYTES], &[u8; NONCE_LEN], &[u8]),
        binding: Binding,
        now: Moment,
    ) -> Option<Vec<u8>> {
        // Random keys that are not in the ring never were: a guess makes none.
        self.with_key(key, current, self.is_fleet, |key| {
            let mut value = sealed.to_vec();
            let length = key
                .key
                .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(binding, head_bytes), &mut value)
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

impl Secret {
    fn new(secret: &[u8], serial: u32) -> Result<Secret, TlsProblem> {
        if secret.len() < TicketKeys::SECRET_BYTES_MIN {
            return Err(TlsProblem::ShortSecret);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis session tickets 1");
        let derived = salt.extract(secret);
        Ok(Secret { derived, digest: digest::digest(&digest::SHA256, secret), serial, until_ms: None })
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
