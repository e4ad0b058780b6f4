//! Whatever a client sends first, the acceptor reads it to an end: a handshake that goes on, or an alert and
//! nothing after it. What leaves is whole records.

use std::cell::OnceCell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::certs::parse_answer;
use portcullis::net::{ClientHello, Local, Socket};
use portcullis::tls::{
    Binding, CacheLimits, Clock, Moment, Policy, ServedTls, ServerConfigs, SessionCache, Sessions,
    SourceWord, Versions,
};

const ANSWER: &[u8] = include_bytes!("../corpus/certs_answer/certificate");
const NOW: Moment = Moment { monotonic: 1_000_000, unix: 1_700_000_000_000 };
const ALERT: u8 = 21;

/// One acceptor for each thread: a socket to be reached at, and sites of two policies.
struct Bench {
    runtime: monoio::Runtime<monoio::time::TimeDriver<monoio::LegacyDriver>>,
    local: Local,
    listener: UnixListener,
    path: PathBuf,
    sites: [Arc<ServedTls>; 2],
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Bench {
    fn new() -> Bench {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("portcullis-hello-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a directory to write to");
        let runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build();
        let runtime = runtime.expect("epoll");
        let configs = ServerConfigs::new(None);
        let clock: Arc<dyn Clock> = Arc::new(|| NOW);
        let limits = CacheLimits::new(100, Duration::from_secs(300));
        let sessions = Sessions::Cache { cache: Arc::new(SessionCache::new(limits)), clock };
        let site = |name: &str, versions| {
            let answer = parse_answer(ANSWER, SourceWord::Command, &[], configs.provider());
            let certificate = answer.ok().flatten().expect("the seed is a good one").certificate;
            let policy = Arc::new(Policy::speaking(versions, &["h2", "http/1.1"]));
            let _ = Binding::of(name, &policy);
            let served =
                ServedTls::new(name, policy.number(), policy, certificate.into(), &sessions, &configs);
            Arc::new(served.expect("it goes together"))
        };
        let sites = [site("a.test", Versions::Tls12And13), site("b.test", Versions::Tls12)];
        Bench { runtime, local: Local::new(), listener, path, sites }
    }

    /// Accepts one connection whose client sends `bytes` and no more; how it ended, and what was sent back.
    fn accept(&mut self, bytes: &[u8]) -> (std::io::Result<()>, Vec<u8>) {
        let Bench { runtime, local, listener, path, sites } = self;
        let mut client: Option<UnixStream> = None;
        let ended = runtime.block_on(async {
            let socket = Socket::connect_unix(path, local).await?;
            let (mut other, _) = listener.accept()?;
            // As much as fits into the socket; more than a ClientHello may have.
            other.set_nonblocking(true)?;
            let _ = other.write(bytes);
            other.shutdown(Shutdown::Write)?;
            other.set_nonblocking(false)?;
            client = Some(other);
            let until = local.clock.after(Duration::from_secs(3600));
            let hello = ClientHello::read(socket, local, until).await?;
            if let Some(config) = hello.validation(|_| Some(sites[0].config.clone())) {
                let stream = hello.accept(config, until).await?;
                return stream.handshake(until, &|| NOW).await;
            }
            let site = hello.with_server_name(|name| {
                if let Some(name) = name {
                    assert!(!name.is_empty() && name.len() <= 255 && !name.ends_with(b"."), "{name:?}");
                    assert!(!name.iter().any(u8::is_ascii_uppercase), "{name:?}");
                }
                match name {
                    Some(b"a.test") | None => Some(&sites[0]),
                    Some(b"b.test") => Some(&sites[1]),
                    Some(_) => None,
                }
            });
            let Some(site) = site else {
                hello.refuse_name(until).await;
                return Err(ErrorKind::NotFound.into());
            };
            hello.accept(site.config.clone(), until).await?.handshake(until, &|| NOW).await
        });
        let mut sent = Vec::new();
        if let Some(mut client) = client {
            client.read_to_end(&mut sent).expect("the other side is gone");
        }
        (ended, sent)
    }
}

pub fn check(bytes: &[u8]) {
    thread_local! {
        static BENCH: OnceCell<std::cell::RefCell<Bench>> = const { OnceCell::new() };
    }
    let (ended, sent) = BENCH.with(|bench| {
        let bench = bench.get_or_init(|| std::cell::RefCell::new(Bench::new()));
        bench.borrow_mut().accept(bytes)
    });
    let mut kinds = Vec::new();
    let mut rest = &sent[..];
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        assert!((20..=23).contains(&head[0]) && head[1] == 3 && (1..=16_640).contains(&length), "{head:?}");
        assert!(after.len() >= length, "a record that is not whole");
        kinds.push(head[0]);
        rest = &after[length..];
    }
    assert!(rest.is_empty(), "a record that is not whole");
    match ended {
        Ok(()) => panic!("a client that sends no second flight has finished a handshake"),
        // Sealed where keys are there already.
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            assert!(kinds.last().is_some_and(|kind| [ALERT, 23].contains(kind)), "{error}: {kinds:?}");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => assert_eq!(kinds, [ALERT]),
        Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}"),
    }
}
