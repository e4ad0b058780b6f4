//! Several servers of a site: who is asked, who is not, and what a request does that met the wrong one.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Client, Server, Setup, Upstream, response_with, wait_until};

/// A port where nobody listens.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    format!("http://127.0.0.1:{port}")
}

fn site_of(upstreams: &[String], keys: &str) -> String {
    format!("[[site]]\nname = \"any\"\nhosts = [\"a.test\", \"*\"]\nupstream = {upstreams:?}\n{keys}\n")
}

fn told(server: &Server, times: usize) -> Vec<String> {
    let mut client = Client::http(server.http());
    (0..times).map(|_| client.get("a.test", "/").text()).collect()
}

fn count(answers: &[String], text: &str) -> usize {
    answers.iter().filter(|answer| *answer == text).count()
}

#[test]
fn requests_go_round_by_weight() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let site = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}, {{ url = {:?}, weight = 3 }}]\n",
        one.url(),
        two.url()
    );
    let server = Server::start(&site);
    let answers = told(&server, 40);
    assert_eq!((count(&answers, "one"), count(&answers, "two")), (10, 30));
}

#[test]
fn a_visitor_stays_with_a_server_and_leaves_it_only_when_it_is_down() {
    let (one, two) = (Upstream::saying("one"), Upstream::saying("two"));
    let urls = [one.url(), two.url()];
    let server = Server::start(&site_of(&urls, "balance = \"hash\""));
    let answers = told(&server, 10);
    let (mine, other) = if answers[0] == "one" { (one, two) } else { (two, one) };
    assert_eq!(count(&answers, &answers[0]), 10);
    let mine_url = mine.url();
    drop(mine);
    let rest = told(&server, 10);
    assert_eq!(count(&rest, &answers[0]), 0, "{mine_url} is gone");
    drop(other);
}

#[test]
fn least_connections_leaves_the_busy_one_alone() {
    let held = Arc::new(AtomicBool::new(true));
    let holds = held.clone();
    let slow = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            while request.target() == "/hold" && holds.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            peer.send(&response_with(b"slow"))?;
        }
        Ok(())
    });
    let held_too = held.clone();
    let quick = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            while request.target() == "/hold" && held_too.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            peer.send(&response_with(b"quick"))?;
        }
        Ok(())
    });
    let server = Server::start(&site_of(&[slow.url(), quick.url()], "balance = \"least_connections\""));
    let mut holding = Client::http(server.http());
    holding.send("GET /hold HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait_until("the held request", || slow.connections() + quick.connections() == 1);
    let busy = if slow.connections() == 1 { "slow" } else { "quick" };
    let answers = told(&server, 10);
    assert_eq!(count(&answers, busy), 0, "{answers:?}");
    held.store(false, Ordering::SeqCst);
    assert_eq!(holding.response().text(), busy);
}

#[test]
fn a_server_that_fails_is_not_asked_for_a_while() {
    let up = Upstream::saying("up");
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    // It takes connections and answers nothing.
    let broken = Upstream::script(move |peer| {
        counted.fetch_add(1, Ordering::SeqCst);
        peer.request().map(drop)
    });
    let mut server = Setup::new(&site_of(&[broken.url(), up.url()], ""))
        .table("upstream_pool", "ejection = \"1h\", ejection_max = \"1h\"")
        .start();
    let answers = told(&server, 50);
    assert_eq!(count(&answers, "up"), 50, "a GET is asked again elsewhere");
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    server.stop();
    assert_eq!(server.total("upstream_ejections"), 1);
    assert_eq!(server.total("upstream_retries"), 3);
}

#[test]
fn what_is_not_idempotent_is_asked_once() {
    let up = Upstream::saying("up");
    let broken = Upstream::script(|peer| peer.request().map(drop));
    let server = Setup::new(&site_of(&[broken.url(), up.url()], ""))
        .table("upstream_pool", "eject_after = 1000")
        .start();
    let mut client = Client::http(server.http());
    let statuses: Vec<u16> = (0..6)
        .map(|_| {
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi");
            client.response().status()
        })
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 3, "{statuses:?}");
    assert_eq!(up.requests().len() + broken.requests().len(), 6, "none came twice");
}

#[test]
fn repetitions_have_a_budget() {
    let broken = [0, 1].map(|_| Upstream::script(|peer| peer.request().map(drop)));
    let urls = broken.each_ref().map(Upstream::url);
    let mut server = Setup::new(&site_of(&urls, ""))
        .table("upstream_pool", "eject_after = 1000, retry_percent = 0")
        .start();
    let mut client = Client::http(server.http());
    for _ in 0..30 {
        assert_eq!(client.get("a.test", "/").status(), 502);
    }
    server.stop();
    assert_eq!(server.total("upstream_retries"), 10);
    assert_eq!(server.total("upstream_retries_denied"), 20);
}

#[test]
fn when_all_are_down_the_answer_is_503_at_once_and_they_come_back_by_themselves() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mut server = Setup::new(&site_of(&[format!("http://{address}")], ""))
        .table("upstream_pool", "eject_after = 2, ejection = \"200ms\", ejection_max = \"200ms\"")
        .start();
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/").status(), 502);
    assert_eq!(client.get("a.test", "/").status(), 502);
    let down = client.get("a.test", "/");
    assert_eq!((down.status(), down.field("retry-after")), (503, Some("1")));
    assert!(!down.closes(), "the connection is fine");
    // It comes back at the same address.
    let listener = TcpListener::bind(address).expect("nobody took it");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::{Read as _, Write as _};
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback");
        }
    });
    wait_until("it is asked again", || client.get("a.test", "/").status() == 200);
    server.stop();
    assert!(server.total("upstream_recoveries") >= 1);
}

#[test]
fn a_check_takes_a_server_out_and_puts_it_back() {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let checked = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            match (request.target(), is_well.load(Ordering::SeqCst)) {
                ("/health", false) => peer.send(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")?,
                _ => peer.send(&response_with(b"checked"))?,
            }
        }
        Ok(())
    });
    let other = Upstream::saying("other");
    let mut server = Setup::new(&site_of(
        &[checked.url(), other.url()],
        "health_check = { path = \"/health\", interval = \"100ms\", timeout = \"2s\", unhealthy_after = 2, healthy_after = 2 }",
    ))
    .workers(2)
    .start();
    assert!(count(&told(&server, 10), "checked") > 0);
    well.store(false, Ordering::SeqCst);
    wait_until("both workers leave it alone", || (0..4).all(|_| count(&told(&server, 4), "checked") == 0));
    well.store(true, Ordering::SeqCst);
    wait_until("it is asked again", || count(&told(&server, 4), "checked") > 0);
    assert!(checked.requests().iter().any(|request| request.field("host") == Some("a.test")
        && request.target() == "/health"
        && request.field("user-agent") == Some("portcullis")));
    server.stop();
    assert!(server.total("upstream_checks_failed") >= 2);
}

#[test]
fn one_that_lets_nobody_connect_is_a_gateway_timeout() {
    // A full queue: the kernel answers nothing more.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener
        .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into())
        .expect("a free port");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
    let mut fillers = Vec::new();
    loop {
        let connect = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300));
        match connect {
            Ok(filler) => fillers.push(filler),
            Err(_) => break,
        }
        assert!(fillers.len() < 100, "its queue is never full");
    }
    let server = Setup::new(&site_of(&[format!("http://{address}")], ""))
        .timeouts("upstream_connect = \"300ms\"")
        .start();
    let mut client = Client::http(server.http());
    assert_eq!(client.get("a.test", "/").status(), 504);
    assert_eq!(client.get("a.test", "/").status(), 504);
}

#[test]
fn names_are_resolved_and_asked_at_any_of_their_addresses() {
    let up = Upstream::saying("by name");
    let port = up.url().rsplit(':').next().expect("a port").to_owned();
    // It may be ::1 first, where nobody listens.
    let server = Server::start(&site_of(&[format!("http://localhost:{port}")], ""));
    assert_eq!(count(&told(&server, 3), "by name"), 3);
}

#[test]
fn what_is_known_of_a_server_outlives_a_reload() {
    let up = Upstream::saying("up");
    let down = nobody();
    let mut server = Setup::new(&site_of(&[down, up.url()], ""))
        .table("upstream_pool", "eject_after = 1, ejection = \"1h\", ejection_max = \"1h\"")
        .start();
    assert_eq!(count(&told(&server, 4), "up"), 4);
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_line("reloaded: generation 2 serves");
    assert_eq!(count(&told(&server, 4), "up"), 4);
    server.stop();
    assert_eq!(server.total("upstream_connects_failed"), 1);
}

/// Answers with this text at an address that was bound before.
fn saying_at(address: std::net::SocketAddr, text: &'static str) {
    let listener = TcpListener::bind(address).expect("nobody took it");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            use std::io::{Read as _, Write as _};
            let _ = stream.read(&mut [0; 4096]);
            let response = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            let _ = stream.write_all(response.as_bytes());
        }
    });
}

#[test]
fn a_server_that_came_back_gets_its_share_slowly() {
    let steady = Upstream::saying("steady");
    let address = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let server = Setup::new(&site_of(&[format!("http://{address}"), steady.url()], ""))
        .table(
            "upstream_pool",
            "eject_after = 1, ejection = \"100ms\", ejection_max = \"100ms\", slow_start = \"4s\"",
        )
        .start();
    assert_eq!(count(&told(&server, 4), "steady"), 4);
    saying_at(address, "back");
    let mut client = Client::http(server.http());
    wait_until("it is asked again", || client.get("a.test", "/").text() == "back");
    // At once it gets a few; each further look says that it gets more, until it has its half.
    let first = count(&told(&server, 32), "back");
    assert!(first <= 8, "{first} of the first 32");
    let mut most = first;
    wait_until("it has its half", || {
        most = most.max(count(&told(&server, 32), "back"));
        most == 16
    });
}
