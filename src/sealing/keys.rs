//! The keys, their file, and when the next one comes.

use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use zeroize::Zeroizing;

use super::problem::{KeyFileFlaw, KeyFileProblem};

const DAY: Duration = Duration::from_secs(86_400);

/// The age at which a key gets a successor.
pub const ROTATES_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// How long a new key only opens.
pub const SEALS_AFTER: Duration = Duration::from_secs(600);
/// How long a key opens after it has ceased to seal: as long as browsers keep cookies (RFC 6265bis §5.5).
pub const OPENS_FOR: Duration = Duration::from_secs(400 * 86_400);
/// Values under one key, after which it gets a successor whatever its age. Nonces are random: NIST SP 800-38D §8.3
/// allows 2^32, and the count begins anew with the process.
pub const SEALED_MAX: u64 = 1 << 30;
/// Random octets that a new key takes: its identifier and the key.
pub const KEY_RANDOM_BYTES: usize = ID_BYTES + KEY_BYTES;

pub(super) const ID_BYTES: usize = 4;
const KEY_BYTES: usize = 32;
const VERSION: &str = "1";
/// A key every few hours, for as long as keys open. The oldest ones go first.
const KEYS_MAX: usize = 4096;

/// The keys that open, and which of them seals. Without any, nothing is sealed and nothing opens.
#[derive(Default)]
pub struct Keys {
    // In the order they were made.
    keys: Vec<Key>,
    // < keys.len(), or there are none
    sealing: usize,
}

pub(super) struct Key {
    pub(super) id: [u8; ID_BYTES],
    pub(super) aead: LessSafeKey,
    /// Unix seconds.
    made: u64,
    seals_from: u64,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl Key {
    fn new(id: [u8; ID_BYTES], bytes: Zeroizing<[u8; KEY_BYTES]>, made: u64, seals_from: u64) -> Key {
        let unbound = UnboundKey::new(&AES_256_GCM, &*bytes).expect("a key of AES-256 has 32 octets");
        Key { id, aead: LessSafeKey::new(unbound), made, seals_from, bytes }
    }

    fn random(random: &[u8; KEY_RANDOM_BYTES], made: u64, seals_from: u64) -> Key {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&random[..ID_BYTES]);
        bytes.copy_from_slice(&random[ID_BYTES..]);
        Key::new(id, bytes, made, seals_from)
    }

    fn again(&self) -> Key {
        Key::new(self.id, self.bytes.clone(), self.made, self.seals_from)
    }
}

impl Keys {
    /// The first key there is: it seals at once. `now`: Unix seconds.
    pub fn new(now: u64, random: &[u8; KEY_RANDOM_BYTES]) -> Keys {
        Keys { keys: vec![Key::random(random, now, now)], sealing: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Reads a key file. Empty lines and lines that begin with `#` mean nothing.
    ///
    /// # Errors
    /// The first thing that is wrong; the file is used whole or not at all.
    pub fn read(text: &[u8], now: u64) -> Result<Keys, KeyFileProblem> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let wrong = |flaw| KeyFileProblem { line: at + 1, flaw };
            let key = read_line(line).map_err(wrong)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(wrong(KeyFileFlaw::IdTwice));
            }
            if keys.len() >= KEYS_MAX {
                return Err(wrong(KeyFileFlaw::TooManyKeys));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyFileProblem { line: 0, flaw: KeyFileFlaw::Empty });
        }
        Ok(Keys { sealing: sealing(&keys, now), keys })
    }

    /// The content of a key file.
    pub fn write(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(256 + self.keys.len() * 128));
        text.push_str(
            "# Portcullis seals session cookies with these keys. Who has them can make and read such cookies.\n\
             # Without this file all sessions of sites with session_protection = \"sealed\" end.\n\
             # version, identifier, made, seals from, key\n",
        );
        for key in &self.keys {
            let _ = write!(text, "{VERSION} ");
            hexadecimal(&mut text, &key.id);
            let _ = write!(text, " {} {} ", key.made, key.seals_from);
            hexadecimal(&mut text, &*key.bytes);
            text.push('\n');
        }
        text
    }

    /// The keys as they are to be from now on, when that is something else: a successor is due, or keys open
    /// nothing any more that a browser has.
    ///
    /// `sealed`: values sealed by now under the key that seals.
    pub fn rotated(&self, now: u64, sealed: u64, random: &[u8; KEY_RANDOM_BYTES]) -> Option<Keys> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, key) in self.keys.iter().enumerate() {
            let ceased =
                self.keys.get(at + 1).map(|next| next.seals_from.saturating_add(OPENS_FOR.as_secs()));
            if ceased.is_none_or(|ends| now < ends) {
                keys.push(key.again());
            }
        }
        let due = self.keys.last().is_none_or(|newest| {
            // A clock that was far ahead when the key was made is no reason to keep it for years.
            let aged = now >= newest.made.saturating_add(ROTATES_AFTER.as_secs())
                || newest.made > now.saturating_add(DAY.as_secs());
            let worn = sealed >= SEALED_MAX && self.sealing + 1 == self.keys.len();
            aged || worn
        });
        // An identifier that is taken is tried again next time.
        if due && !keys.iter().any(|key| key.id == random[..ID_BYTES]) {
            let wait = if keys.is_empty() { 0 } else { SEALS_AFTER.as_secs() };
            keys.push(Key::random(random, now, now.saturating_add(wait)));
        } else if keys.len() == self.keys.len() {
            return None;
        }
        keys.drain(..keys.len().saturating_sub(KEYS_MAX));
        Some(Keys { sealing: sealing(&keys, now), keys })
    }

    /// Whether both open the same values and seal alike.
    pub fn same_as(&self, other: &Keys) -> bool {
        let ids = |keys: &Keys| keys.keys.iter().map(|key| key.id).collect::<Vec<_>>();
        self.sealing_id() == other.sealing_id() && ids(self) == ids(other)
    }

    /// Identifies the key that seals.
    pub fn sealing_id(&self) -> Option<[u8; ID_BYTES]> {
        self.sealing().map(|key| key.id)
    }

    pub(super) fn sealing(&self) -> Option<&Key> {
        self.keys.get(self.sealing)
    }

    pub(super) fn with_id(&self, id: [u8; ID_BYTES]) -> Option<&Key> {
        self.keys.iter().rev().find(|key| key.id == id)
    }
}

/// The last key whose time has come; the first one when the clock says that none has.
fn sealing(keys: &[Key], now: u64) -> usize {
    keys.iter().rposition(|key| key.seals_from <= now).unwrap_or(0)
}

fn read_line(line: &[u8]) -> Result<Key, KeyFileFlaw> {
    let line = std::str::from_utf8(line).map_err(|_| KeyFileFlaw::Form)?;
    let mut words = line.split_ascii_whitespace();
    let mut word = || words.next().ok_or(KeyFileFlaw::Form);
    if word()? != VERSION {
        return Err(KeyFileFlaw::Version);
    }
    let mut id = [0; ID_BYTES];
    from_hexadecimal(word()?, &mut id)?;
    let mut time = || word()?.parse::<u64>().map_err(|_| KeyFileFlaw::Form);
    let (made, seals_from) = (time()?, time()?);
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    from_hexadecimal(word()?, &mut *bytes)?;
    if words.next().is_some() {
        return Err(KeyFileFlaw::Form);
    }
    Ok(Key::new(id, bytes, made, seals_from))
}

fn hexadecimal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit & 15)]);
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
}

fn from_hexadecimal(text: &str, into: &mut [u8]) -> Result<(), KeyFileFlaw> {
    if text.len() != into.len() * 2 {
        return Err(KeyFileFlaw::Form);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(KeyFileFlaw::Form);
    for (pair, byte) in text.as_bytes().chunks_exact(2).zip(into) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn random(seed: u8) -> [u8; KEY_RANDOM_BYTES] {
        [seed; KEY_RANDOM_BYTES]
    }

    fn after(now: u64, duration: Duration) -> u64 {
        now + duration.as_secs()
    }

    #[test]
    fn a_file_reads_as_it_was_written() {
        let keys = Keys::new(NOW, &random(1));
        let keys = keys.rotated(after(NOW, ROTATES_AFTER), 0, &random(2)).unwrap();
        let text = keys.write();
        let again = Keys::read(text.as_bytes(), after(NOW, ROTATES_AFTER)).unwrap();
        assert!(again.same_as(&keys));
        assert_eq!(again.write(), text);
        assert_eq!(text.lines().filter(|line| line.starts_with("1 ")).count(), 2);
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let line = Keys::new(NOW, &random(1)).write().lines().last().unwrap().to_owned();
        for (text, line, flaw) in [
            (String::new(), 0, KeyFileFlaw::Empty),
            ("# nothing\n\n".to_owned(), 0, KeyFileFlaw::Empty),
            (format!("{line}\n{line}\n"), 2, KeyFileFlaw::IdTwice),
            (line.replacen('1', "2", 1), 1, KeyFileFlaw::Version),
            (line[..line.len() - 1].to_owned(), 1, KeyFileFlaw::Form),
            (format!("{line} more"), 1, KeyFileFlaw::Form),
            (line.replace("0101", "01g1"), 1, KeyFileFlaw::Form),
            (line.replace("1800000000", "-1"), 1, KeyFileFlaw::Form),
            ("1".to_owned(), 1, KeyFileFlaw::Form),
        ] {
            let problem = Keys::read(text.as_bytes(), NOW).err();
            assert_eq!(problem, Some(KeyFileProblem { line, flaw }), "{text}");
        }
        assert_eq!(Keys::read(b"\xff", NOW).err().map(|problem| problem.flaw), Some(KeyFileFlaw::Form));
    }

    #[test]
    fn a_new_key_opens_first_and_seals_later() {
        let first = Keys::new(NOW, &random(1));
        assert_eq!(first.sealing_id(), Some([1; ID_BYTES]));
        let due = after(NOW, ROTATES_AFTER);
        assert!(first.rotated(due - 1, 0, &random(2)).is_none());
        let two = first.rotated(due, 0, &random(2)).unwrap();
        assert!(two.with_id([2; ID_BYTES]).is_some());
        assert_eq!(two.sealing_id(), Some([1; ID_BYTES]));
        let at = |now| Keys::read(two.write().as_bytes(), now).unwrap().sealing_id();
        assert_eq!(at(after(due, SEALS_AFTER) - 1), Some([1; ID_BYTES]));
        assert_eq!(at(after(due, SEALS_AFTER)), Some([2; ID_BYTES]));
        // A clock that went back.
        assert_eq!(at(0), Some([1; ID_BYTES]));
    }

    #[test]
    fn an_old_key_opens_for_as_long_as_browsers_keep_cookies() {
        let due = after(NOW, ROTATES_AFTER);
        let two = Keys::new(NOW, &random(1)).rotated(due, 0, &random(2)).unwrap();
        let ends = after(after(due, SEALS_AFTER), OPENS_FOR);
        let later = two.rotated(ends - 1, 0, &random(3)).unwrap();
        assert!(later.with_id([1; ID_BYTES]).is_some() && later.with_id([3; ID_BYTES]).is_some());
        let later = two.rotated(ends, 0, &random(3)).unwrap();
        assert!(later.with_id([1; ID_BYTES]).is_none() && later.with_id([2; ID_BYTES]).is_some());
    }

    #[test]
    fn a_key_that_sealed_much_gets_a_successor_and_only_one() {
        let one = Keys::new(NOW, &random(1));
        assert!(one.rotated(NOW + 1, SEALED_MAX - 1, &random(2)).is_none());
        let two = one.rotated(NOW + 1, SEALED_MAX, &random(2)).unwrap();
        assert!(two.rotated(NOW + 2, SEALED_MAX, &random(3)).is_none(), "the successor has not begun");
    }

    #[test]
    fn a_key_from_the_future_gets_a_successor() {
        let keys = Keys::new(NOW + 2 * 86_400, &random(1));
        let keys = keys.rotated(NOW, 0, &random(2)).unwrap();
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn an_identifier_that_is_taken_is_not_given_twice() {
        let keys = Keys::new(NOW, &random(1));
        assert!(keys.rotated(after(NOW, ROTATES_AFTER), 0, &random(1)).is_none());
    }

    #[test]
    fn rotation_goes_on_for_years_with_a_bounded_number_of_keys() {
        let mut keys = Keys::new(NOW, &random(1));
        for day in 0..5_000u64 {
            let now = NOW + day * 86_400;
            let mut bytes = random(0);
            bytes[..8].copy_from_slice(&(day + 7).to_le_bytes());
            if let Some(next) = keys.rotated(now, 0, &bytes) {
                keys = next;
            }
            keys = Keys::read(keys.write().as_bytes(), now).unwrap();
            assert!(keys.len() <= 16, "{}", keys.len());
        }
        assert!(keys.len() >= 14, "{}", keys.len());
    }
}
