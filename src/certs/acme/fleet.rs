//! What machines of a fleet share: accounts, certificates, who orders, and answers to challenges.
//!
//! ```text
//! portcullis:certificate:<site>   the file of the certificate, sealed
//! portcullis:account:<digest>     account and key, sealed
//! portcullis:lock:<site>          who orders; expires LOCK after its last sign of life
//! portcullis:challenges           hash: "http <token>" and "alpn <name>" to answer and end, sealed
//! portcullis:changes              counted up with each certificate
//! ```
//!
//! Everything but locks is sealed with a key derived from the fleet's secret and bound to its place: whoever can
//! write to the store can neither read a key nor have us answer a challenge of theirs.

use std::io;
use std::sync::Mutex;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::redis::{Redis, StoreUrl};
use super::resp::Reply;

/// A holder that is silent for so long has died.
pub(super) const LOCK_MS: u64 = 20_000;

pub(super) struct Fleet {
    redis: Mutex<Redis>,
    key: Key,
    /// Tells this process from others.
    holder: String,
}

/// Seals what is put into the store.
struct Key(LessSafeKey);

impl Key {
    fn from_secret(secret: &[u8]) -> Result<Key, aws_lc_rs::error::Unspecified> {
        let mut bytes = Zeroizing::new([0; 32]);
        // A label of its own: session tickets are derived from the same secret.
        let salt = Salt::new(HKDF_SHA256, b"portcullis fleet store 1");
        salt.extract(secret).expand(&[b"seal"], &AES_256_GCM)?.fill(&mut *bytes)?;
        Ok(Key(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes)?)))
    }

    fn seal(&self, place: &str, content: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut sealed = Zeroizing::new(content.to_vec());
        self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.as_bytes()),
            &mut *sealed,
        )?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut content = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(place.as_bytes()), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

/// An answer to a challenge, on its way to the other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// Token and key authorization.
    Http(String, String),
    /// Host, and digest of the key authorization.
    Alpn(String, Vec<u8>),
}

impl Shared {
    fn field(&self) -> String {
        match self {
            Shared::Http(token, _) => format!("http {token}"),
            Shared::Alpn(host, _) => format!("alpn {host}"),
        }
    }
}

/// Nobody validates for longer; then an answer left by a machine that died is of no use.
const CHALLENGE_SECONDS: i64 = 900;

impl Fleet {
    pub(super) fn new(url: StoreUrl, secret: &[u8]) -> Option<Fleet> {
        let key = Key::from_secret(secret).ok()?;
        let mut random = [0; 16];
        rand::fill(&mut random).ok()?;
        let holder = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Fleet { redis: Mutex::new(Redis::new(url)), key, holder })
    }

    fn run(&self, arguments: &[&[u8]]) -> io::Result<Reply> {
        self.redis.lock().unwrap_or_else(std::sync::PoisonError::into_inner).run(arguments)
    }

    fn get(&self, place: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match self.run(&[b"GET", place.as_bytes()])? {
            Reply::Bulk(Some(sealed)) => {
                let opened = self.key.open(place, &sealed);
                opened.map(Some).ok_or_else(|| not_ours(place))
            }
            Reply::Bulk(None) => Ok(None),
            _ => Err(unexpected()),
        }
    }

    fn sealed(&self, place: &str, content: &[u8]) -> io::Result<Vec<u8>> {
        self.key.seal(place, content).map_err(|_| io::Error::other("no random numbers"))
    }

    /// The file of a site's certificate.
    pub(super) fn certificate(&self, site: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.get(&format!("portcullis:certificate:{site}"))
    }

    pub(super) fn put_certificate(&self, site: &str, text: &[u8]) -> io::Result<()> {
        let place = format!("portcullis:certificate:{site}");
        self.run(&[b"SET", place.as_bytes(), &self.sealed(&place, text)?])?;
        self.run(&[b"INCR", b"portcullis:changes"])?;
        Ok(())
    }

    /// Counts certificates put: another number says that one is new.
    pub(super) fn changes(&self) -> io::Result<Vec<u8>> {
        match self.run(&[b"GET", b"portcullis:changes"])? {
            Reply::Bulk(count) => Ok(count.unwrap_or_default()),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn account(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.get(&format!("portcullis:account:{name}"))
    }

    /// False: another machine was faster, and its account is the one to use.
    pub(super) fn put_account(&self, name: &str, text: &[u8]) -> io::Result<bool> {
        let place = format!("portcullis:account:{name}");
        let reply = self.run(&[b"SET", place.as_bytes(), &self.sealed(&place, text)?, b"NX"])?;
        Ok(reply != Reply::Bulk(None))
    }

    /// True: this machine orders from here on, or did before.
    pub(super) fn lock(&self, site: &str) -> io::Result<bool> {
        const EXTEND: &[u8] =
            b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) \
            elseif redis.call('set',KEYS[1],ARGV[1],'NX','PX',ARGV[2]) then return 1 else return 0 end";
        let place = format!("portcullis:lock:{site}");
        let until = LOCK_MS.to_string();
        let reply =
            self.run(&[b"EVAL", EXTEND, b"1", place.as_bytes(), self.holder.as_bytes(), until.as_bytes()])?;
        Ok(reply == Reply::Integer(1))
    }

    pub(super) fn unlock(&self, site: &str) -> io::Result<()> {
        const RELEASE: &[u8] =
            b"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
        let place = format!("portcullis:lock:{site}");
        self.run(&[b"EVAL", RELEASE, b"1", place.as_bytes(), self.holder.as_bytes()]).map(drop)
    }

    const CHALLENGES: &str = "portcullis:challenges";

    pub(super) fn put_challenge(&self, shared: &Shared, now: i64) -> io::Result<()> {
        let field = shared.field();
        let value: Vec<u8> = match shared {
            Shared::Http(_, authorization) => authorization.clone().into_bytes(),
            Shared::Alpn(_, digest) => digest.clone(),
        };
        let until = (now + CHALLENGE_SECONDS).to_be_bytes();
        let place = format!("{} {field}", Self::CHALLENGES);
        let sealed = self.sealed(&place, &[&until[..], &value].concat())?;
        self.run(&[b"HSET", Self::CHALLENGES.as_bytes(), field.as_bytes(), &sealed])?;
        self.run(&[b"EXPIRE", Self::CHALLENGES.as_bytes(), CHALLENGE_SECONDS.to_string().as_bytes()])?;
        Ok(())
    }

    pub(super) fn remove_challenge(&self, shared: &Shared) -> io::Result<()> {
        self.run(&[b"HDEL", Self::CHALLENGES.as_bytes(), shared.field().as_bytes()]).map(drop)
    }

    /// Those that are pending on any machine. What is not sealed by the fleet is passed over.
    pub(super) fn challenges(&self, now: i64) -> io::Result<Vec<Shared>> {
        let Reply::Array(items) = self.run(&[b"HGETALL", Self::CHALLENGES.as_bytes()])? else {
            return Err(unexpected());
        };
        let pairs = items.chunks_exact(2).filter_map(|pair| match pair {
            [Reply::Bulk(Some(field)), Reply::Bulk(Some(sealed))] => {
                Some((std::str::from_utf8(field).ok()?, sealed))
            }
            _ => None,
        });
        let opened = pairs.filter_map(|(field, sealed)| {
            let content = self.key.open(&format!("{} {field}", Self::CHALLENGES), sealed)?;
            let (until, value) = content.split_first_chunk::<8>()?;
            if i64::from_be_bytes(*until) < now {
                return None;
            }
            let (kind, name) = field.split_once(' ')?;
            match kind {
                "http" => Some(Shared::Http(name.to_owned(), String::from_utf8(value.to_vec()).ok()?)),
                "alpn" if value.len() == 32 => Some(Shared::Alpn(name.to_owned(), value.to_vec())),
                _ => None,
            }
        });
        Ok(opened.collect())
    }
}

fn not_ours(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{place} was not sealed with this fleet's secret"))
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the store answers something else than it was asked")
}
