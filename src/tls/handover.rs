//! Sessions on their way to the process that takes over, so that clients still resume.
//!
//! Both processes date by the same clock of the system, so that times need no translation: those sealed into
//! tickets could not have any.
//!
//! ```text
//! chunk:    1 (version) | entries
//! session:  's' | id [32] | binding [16] | origin u64 | length u32 | value
//! key:      'k' | lifetime u64 | period u64 | key [32]
//! fleet's:  'f' | lifetime u64 | period u64 | key [32] | digest of its secret [32] | until u64
//! ```
//!
//! What is sent may be used in the old process at the same time. A TLS 1.3 ticket could then resume once in each:
//! that is no worse than a ticket of mode "tickets", since there is no early data.

use zeroize::Zeroizing;

use super::ticket::ExportedKey;
use super::{Binding, Sessions};

const VERSION: u8 = 1;
/// A chunk is sent when it has grown past this; the last entry may exceed it.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Over all chunks, so that a cache of millions does not hold up an upgrade. What comes later does not resume.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

const FLEET_KEY_BYTES: usize = 1 + 8 + 8 + 32 + 32 + 8;

/// Calls `send` with one chunk after another, until it says false. Each chunk is wiped afterwards.
pub fn export_sessions(sessions: &Sessions, mut send: impl FnMut(&[u8]) -> bool) {
    match sessions {
        Sessions::Off => {}
        Sessions::Tickets { keys, clock } => {
            // Room for more keys than there ever are: growing would leave them in freed memory.
            let mut chunk = Zeroizing::new(Vec::with_capacity(1024));
            chunk.push(VERSION);
            keys.export(clock.now(), |key| {
                if chunk.len() + FLEET_KEY_BYTES > chunk.capacity() {
                    return;
                }
                chunk.push(if key.of_secret.is_some() { b'f' } else { b'k' });
                chunk.extend_from_slice(&key.lifetime_ms.to_be_bytes());
                chunk.extend_from_slice(&key.period.to_be_bytes());
                chunk.extend_from_slice(&*key.bytes);
                if let Some((digest, until_ms)) = &key.of_secret {
                    chunk.extend_from_slice(digest);
                    chunk.extend_from_slice(&until_ms.to_be_bytes());
                }
            });
            send(&chunk);
        }
        Sessions::Cache { cache, clock } => {
            let chunks = std::cell::RefCell::new(Chunks { full: Vec::new(), open: new_chunk(), bytes: 0 });
            cache.export(
                clock.now().monotonic,
                |id, binding, origin_ms, value| chunks.borrow_mut().add(id, binding, origin_ms, value),
                || {
                    let mut chunks = chunks.borrow_mut();
                    let open = std::mem::replace(&mut chunks.open, new_chunk());
                    chunks.full.push(open);
                    chunks.full.drain(..).all(|chunk| send(&chunk)) && chunks.bytes < BYTES_MAX
                },
            );
        }
    }
}

struct Chunks {
    full: Vec<Zeroizing<Vec<u8>>>,
    open: Zeroizing<Vec<u8>>,
    bytes: usize,
}

/// Never grows: that would leave sessions in freed memory.
fn new_chunk() -> Zeroizing<Vec<u8>> {
    let mut chunk = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES));
    chunk.push(VERSION);
    chunk
}

impl Chunks {
    fn add(&mut self, id: &[u8; 32], binding: Binding, origin_ms: u64, value: &[u8]) {
        let bytes = 61 + value.len();
        if self.open.len() + bytes > self.open.capacity() {
            let full = std::mem::replace(&mut self.open, new_chunk());
            self.full.push(full);
        }
        self.bytes += bytes;
        let chunk = &mut self.open;
        let length = u32::try_from(value.len()).expect("a session has 16 KiB at most");
        chunk.push(b's');
        chunk.extend_from_slice(id);
        chunk.extend_from_slice(binding.as_bytes());
        chunk.extend_from_slice(&origin_ms.to_be_bytes());
        chunk.extend_from_slice(&length.to_be_bytes());
        chunk.extend_from_slice(value);
    }
}

/// Takes up the sessions of one chunk; how many fit. What another version wrote, or is cut short, is left out.
pub fn import_sessions(sessions: &Sessions, chunk: &[u8]) -> usize {
    let mut rest = match chunk.split_first() {
        Some((&VERSION, rest)) => rest,
        _ => return 0,
    };
    let mut taken = 0;
    while let Some((entry, after)) = entry(rest) {
        rest = after;
        match (entry, sessions) {
            (Entry::Session { id, binding, origin_ms, value }, Sessions::Cache { cache, clock }) => {
                let now_ms = clock.now().monotonic;
                let binding = Binding::from_bytes(binding);
                taken += usize::from(cache.put(&id, binding, origin_ms, value.to_vec(), now_ms));
            }
            (Entry::Key(key), Sessions::Tickets { keys, clock }) => {
                keys.adopt(&key, clock.now());
                taken += 1;
            }
            _ => {}
        }
    }
    taken
}

enum Entry<'a> {
    Session { id: [u8; 32], binding: [u8; 16], origin_ms: u64, value: &'a [u8] },
    Key(ExportedKey),
}

fn entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        b's' => {
            let (id, rest) = rest.split_first_chunk::<32>()?;
            let (binding, rest) = rest.split_first_chunk::<16>()?;
            let (origin, rest) = rest.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let origin_ms = u64::from_be_bytes(*origin);
            Some((Entry::Session { id: *id, binding: *binding, origin_ms, value }, rest))
        }
        b'k' | b'f' => {
            let (lifetime, rest) = rest.split_first_chunk::<8>()?;
            let (period, rest) = rest.split_first_chunk::<8>()?;
            let (bytes, mut rest) = rest.split_first_chunk::<32>()?;
            let bytes = Zeroizing::new(*bytes);
            let mut of_secret = None;
            if *kind == b'f' {
                let (digest, after) = rest.split_first_chunk::<32>()?;
                let (until, after) = after.split_first_chunk::<8>()?;
                of_secret = Some((*digest, u64::from_be_bytes(*until)));
                rest = after;
            }
            let (lifetime_ms, period) = (u64::from_be_bytes(*lifetime), u64::from_be_bytes(*period));
            Some((Entry::Key(ExportedKey { lifetime_ms, period, of_secret, bytes }), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::tls::{CacheLimits, Clock, Moment, SessionCache, TicketKeys};

    const NOW: Moment = Moment { monotonic: 1_000_000, unix: 1_700_000_000_000 };
    const LIFETIME: Duration = Duration::from_secs(300);

    fn cache(size: usize) -> (Arc<SessionCache>, Sessions) {
        let cache = Arc::new(SessionCache::new(CacheLimits::new(size, LIFETIME)));
        let clock: Arc<dyn Clock> = Arc::new(|| NOW);
        (cache.clone(), Sessions::Cache { cache, clock })
    }

    fn chunks(sessions: &Sessions) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        export_sessions(sessions, |chunk| {
            all.push(chunk.to_vec());
            true
        });
        all
    }

    #[test]
    fn sessions_arrive_with_their_age_and_their_order_of_use() {
        let binding = Binding::from_bytes([7; 16]);
        let (old, sessions) = cache(3);
        for (id, origin) in [(1u8, NOW.monotonic), (2, NOW.monotonic - 200_000), (3, NOW.monotonic - 10)] {
            assert!(old.put(&[id; 32], binding, origin, vec![id; 100], NOW.monotonic));
        }
        // Number 1 is the one used last.
        old.get(&[1; 32], binding, NOW.monotonic);
        let (new, taken) = cache(2);
        let took: usize = chunks(&sessions).iter().map(|chunk| import_sessions(&taken, chunk)).sum();
        assert_eq!(took, 3);
        assert_eq!(new.get(&[2; 32], binding, NOW.monotonic), None, "the least recently used one went");
        assert_eq!(new.get(&[1; 32], binding, NOW.monotonic), Some(vec![1; 100]));
        assert_eq!(new.get(&[3; 32], Binding::from_bytes([8; 16]), NOW.monotonic), None);
        // Its lifetime began in the other process.
        assert_eq!(new.get(&[3; 32], binding, NOW.monotonic + 299_995), None);
    }

    #[test]
    fn many_sessions_go_in_several_chunks() {
        let binding = Binding::from_bytes([7; 16]);
        let (old, sessions) = cache(20_000);
        for number in 0..10_000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            id[28..].copy_from_slice(&number.to_be_bytes());
            old.put(&id, binding, NOW.monotonic, vec![1; 200], NOW.monotonic);
        }
        let (new, taken) = cache(20_000);
        let chunks = chunks(&sessions);
        assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        chunks.iter().for_each(|chunk| {
            import_sessions(&taken, chunk);
        });
        assert_eq!(new.statistics().size, 10_000);
    }

    #[test]
    fn ticket_keys_open_what_was_sealed_before() {
        let clock: Arc<dyn Clock> = Arc::new(|| NOW);
        let tickets = |lifetime| Sessions::Tickets {
            keys: Arc::new(TicketKeys::random(lifetime).unwrap()),
            clock: clock.clone(),
        };
        let binding = Binding::from_bytes([7; 16]);
        let old = tickets(LIFETIME);
        let value = crate::tls::origin::example_value(NOW, &[5; 48]);
        let ticket = old.for_site(binding).tickets.encrypt(&value).unwrap();
        let exported = chunks(&old);
        for (lifetime, opens) in [(LIFETIME, true), (Duration::from_secs(60), false)] {
            let new = tickets(lifetime);
            exported.iter().for_each(|chunk| {
                import_sessions(&new, chunk);
            });
            assert_eq!(new.for_site(binding).tickets.decrypt(&ticket).is_some(), opens, "{lifetime:?}");
        }
    }

    #[test]
    fn a_fleets_secret_that_was_replaced_still_opens_in_the_next_process() {
        let moment = Arc::new(std::sync::Mutex::new(NOW));
        let clock: Arc<dyn Clock> = {
            let moment = moment.clone();
            Arc::new(move || *moment.lock().unwrap())
        };
        let tickets = |byte: u8| {
            let keys = Arc::new(TicketKeys::from_secret(&[byte; 32], LIFETIME).unwrap());
            (keys.clone(), Sessions::Tickets { keys, clock: clock.clone() })
        };
        let binding = Binding::from_bytes([7; 16]);
        let opens =
            |sessions: &Sessions, ticket: &[u8]| sessions.for_site(binding).tickets.decrypt(ticket).is_some();
        let seal = |sessions: &Sessions| {
            let value = crate::tls::origin::example_value(*moment.lock().unwrap(), &[5; 48]);
            sessions.for_site(binding).tickets.encrypt(&value).unwrap()
        };
        let take = |from: &Sessions, into: &Sessions| {
            chunks(from).iter().for_each(|chunk| {
                import_sessions(into, chunk);
            });
        };
        let (keys, first) = tickets(1);
        let of_one = seal(&first);
        // The file was replaced and not looked at again: the next process starts with what the old one never had.
        let (_, second) = tickets(2);
        take(&first, &second);
        assert!(opens(&second, &of_one));
        // It was looked at: the next process has the new one already, and gets the one before.
        keys.set_secret(&[2; 32], NOW).unwrap();
        let of_two = seal(&first);
        let (_, third) = tickets(2);
        take(&first, &third);
        assert!(opens(&third, &of_one) && opens(&third, &of_two));
        // And the one after that; nobody keeps it longer than its sessions live.
        let (keys, fourth) = tickets(2);
        take(&third, &fourth);
        assert!(opens(&fourth, &of_one) && opens(&fourth, &of_two));
        *moment.lock().unwrap() = NOW.plus(LIFETIME / 2);
        assert!(opens(&fourth, &of_one));
        let late = seal(&fourth);
        keys.set_secret(&[3; 32], *moment.lock().unwrap()).unwrap();
        assert!(opens(&fourth, &late), "the one that sealed until now");
        assert!(!opens(&fourth, &of_one), "two secrets at a time");
        *moment.lock().unwrap() = NOW.plus(LIFETIME + Duration::from_millis(1));
        assert!(!opens(&second, &of_one) && !opens(&third, &of_one));
    }

    #[test]
    fn cut_or_strange_chunks_give_what_is_whole() {
        let binding = Binding::from_bytes([7; 16]);
        let (old, sessions) = cache(8);
        for id in 1..=3u8 {
            old.put(&[id; 32], binding, NOW.monotonic, vec![id; 50], NOW.monotonic);
        }
        let whole = chunks(&sessions).concat();
        for cut in 0..whole.len() {
            let (_, taken) = cache(8);
            assert!(import_sessions(&taken, &whole[..cut]) <= 3);
        }
        let (_, taken) = cache(8);
        assert_eq!(import_sessions(&taken, &[2, b's', 1, 2]), 0);
        assert_eq!(import_sessions(&taken, &[1, b'x']), 0);
    }
}
