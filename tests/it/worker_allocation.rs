//! A worker at work allocates nothing for a request on kept connections: counted in a process of its own, in which
//! the whole program runs with the allocator of the tests.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;

use portcullis::config::{self, Config, FilesInMemory, Overrides, Problems};
use portcullis::control;
use portcullis::http::Scheme;
use portcullis::worker::Ring;

use crate::allocation::allocations_of;
use crate::harness::{Client, Upstream, any_site, response_with};

/// Connections, pools and scratch have their sizes after so many.
const WARM_UP: usize = 30;
const REQUESTS: usize = 100;

const NAME: &str = "portcullis.toml";

/// The number of the first worker's thread in the kernel.
fn worker_thread() -> i32 {
    let threads = std::fs::read_dir("/proc/self/task").expect("threads");
    let mut numbers = threads.flatten().filter_map(|thread| {
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let number = thread.file_name().to_str()?.parse().ok()?;
        (name.trim() == "worker-0").then_some(number)
    });
    numbers.next().expect("a worker")
}

/// Serves in this process until it ends.
fn serve(sites: String) -> (std::net::SocketAddr, std::net::SocketAddr) {
    let state = tempfile::tempdir().expect("a directory").keep();
    let text = format!(
        "workers = 1\nstate_directory = {state:?}\nlisten = {{ http = [\"127.0.0.1:0\"], https = [\"127.0.0.1:0\"] }}\n{sites}"
    );
    let read = move || -> Result<Config, Problems> {
        let mut files = FilesInMemory::default().with(NAME, text.clone());
        config::read(Path::new(NAME), &mut files, &Overrides::default())
    };
    let (ready, addresses) = channel();
    std::thread::spawn(move || {
        let config = read().expect("a sound configuration");
        let start = control::Start {
            config,
            ring: Ring::DeferTaskrun,
            predecessor: None,
            program: None,
            reread: Arc::new(read),
            ready: Box::new(move |addresses, _| drop(ready.send(addresses.to_vec()))),
            reloaded: Box::new(|_| {}),
        };
        control::run(start).expect("it serves");
    });
    let addresses = addresses.recv().expect("it starts");
    let of = |scheme| addresses.iter().find(|(s, _)| *s == scheme).expect("listened on").1;
    (of(Scheme::Http), of(Scheme::Https))
}

/// What the process of its own does.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn in_a_process_of_its_own() {
    let small = Upstream::answering(response_with(&[b'x'; 100]));
    let large = Upstream::answering(response_with(&vec![b'x'; 64 * 1024]));
    let sites = format!(
        "{}dispatch = [{{ name = \"secure\", path = \"/secure\", ssl = true }}]\n{}",
        any_site(&small),
        crate::harness::site("large", &["large.test"], &large)
    );
    let (http, https) = serve(sites);
    let thread = worker_thread();
    type Ask = Box<dyn Fn(&mut Client)>;
    let cases: [(&str, Ask, Client); 5] = [
        (
            "small responses over TLS",
            Box::new(|client| assert_eq!(client.get("a.test", "/").body.len(), 100)),
            Client::https(https, "a.test"),
        ),
        (
            "small responses",
            Box::new(|client| assert_eq!(client.get("a.test", "/").body.len(), 100)),
            Client::http(http),
        ),
        (
            "responses of 64 KiB over TLS",
            Box::new(|client| assert_eq!(client.get("large.test", "/").body.len(), 64 * 1024)),
            Client::https(https, "large.test"),
        ),
        (
            "redirects",
            Box::new(|client| assert_eq!(client.get("a.test", "/secure").status(), 302)),
            Client::http(http),
        ),
        (
            "uploads over TLS",
            Box::new(|client| {
                client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20000\r\n\r\n");
                client.send([b'u'; 20_000]);
                assert_eq!(client.response().body.len(), 100);
            }),
            Client::https(https, "a.test"),
        ),
    ];
    for (what, ask, mut client) in cases {
        (0..WARM_UP).for_each(|_| ask(&mut client));
        let count = allocations_of(thread, || (0..REQUESTS).for_each(|_| ask(&mut client)));
        assert_eq!(count, 0, "{what}: allocations for {REQUESTS} requests");
    }
}

#[test]
fn a_worker_allocates_nothing_for_a_request_on_a_kept_connection() {
    let this = std::env::current_exe().expect("this program");
    let words = ["--exact", "--ignored", "--nocapture", "worker_allocation::in_a_process_of_its_own"];
    let ended = Command::new(this).args(words).output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}
