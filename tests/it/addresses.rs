//! How much one client address may ask.

use crate::harness::{Client, Setup, Upstream, any_site, wait_until, with_one_worker_and_two};

#[test]
fn connections_of_an_address_past_the_limit_are_closed_at_once() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("ok");
        let mut server =
            Setup::new(&any_site(&upstream)).workers(workers).limits("connections_per_address = 10").start();
        let mut held: Vec<_> = (0..10).map(|_| Client::http(server.http())).collect();
        for client in &mut held {
            assert_eq!(client.get("a.test", "/").text(), "ok");
        }
        for _ in 0..5 {
            let mut client = Client::http(server.http());
            let _ = client.try_send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert!(client.try_response_to("GET").is_err(), "whatever worker it comes to");
        }
        held.truncate(5);
        wait_until("there is room again", || {
            let mut client = Client::http(server.http());
            let sent = client.try_send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            sent.is_ok() && client.try_response_to("GET").is_ok()
        });
        drop(held);
        server.stop();
        assert!(server.total("connections_limited") >= 5);
        assert_eq!(server.total("connections_open"), 0);
    });
}

#[test]
fn requests_of_an_address_past_the_rate_are_answered_429() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::saying("ok");
        let mut server = Setup::new(&any_site(&upstream))
            .workers(workers)
            .limits("requests_per_address = 1, requests_burst_per_address = 20")
            .start();
        let since = std::time::Instant::now();
        let mut statuses = Vec::new();
        for _ in 0..10 {
            let mut client = Client::http(server.http());
            for _ in 0..10 {
                let response = client.get("a.test", "/");
                if response.status() == 429 {
                    assert_eq!(response.field("retry-after"), Some("1"));
                    assert!(!response.closes());
                }
                statuses.push(response.status());
            }
        }
        let served = statuses.iter().filter(|status| **status == 200).count();
        // One more for each second it took.
        assert!((20..=21 + since.elapsed().as_secs() as usize).contains(&served), "{served}");
        server.stop();
        assert_eq!(server.total("requests_limited"), 100 - served as u64);
    });
}

#[test]
fn those_behind_a_trusted_proxy_are_counted_one_by_one() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream))
        .listen("http = [\"127.0.0.1:0\"], https = [], trusted_proxies = [\"127.0.0.1\"]")
        .limits("requests_per_address = 1, requests_burst_per_address = 2, connections_per_address = 1")
        .start();
    let ask = |address: &str| {
        let mut client = Client::http(server.http());
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6, {address}\r\n\r\n"));
        (client.response().status(), client)
    };
    let _held = ask("192.0.2.1");
    assert_eq!([ask("192.0.2.2").0, ask("192.0.2.2").0, ask("192.0.2.2").0], [200, 200, 429]);
    assert_eq!(ask("192.0.2.3").0, 200);
}

#[test]
fn a_request_that_goes_round_in_circles_is_stopped() {
    let upstream = Upstream::saying("ok");
    let server = crate::harness::serve(&upstream);
    let mut client = Client::http(server.http());
    let via = |count: usize| vec!["1.1 portcullis"; count].join(", ");
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 other, {}\r\n\r\n", via(4)));
    assert_eq!(client.response().status(), 200);
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nVia: {}\r\nVia: {}\r\n\r\n", via(2), via(3)));
    assert_eq!(client.response().status(), 508);
    assert_eq!(upstream.requests().len(), 1);
}
