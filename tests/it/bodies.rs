//! Bodies in both directions: every framing, interim responses, trailers, and responses without one.

use crate::harness::{Client, End, Server, Upstream, response_with, serve};

fn both(server: &Server) -> [Client; 2] {
    [Client::http(server.http()), Client::https(server.https(), "a.test")]
}

#[test]
fn bodies_of_known_length_arrive_whole_at_every_size_that_matters() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    for mut client in both(&server) {
        // Around the sizes of our buffers and of TLS records.
        for size in [0, 1, 16_383, 16_384, 16_385, 18_000, 18_432, 65_536, 136 * 1024, 139_265, 300_000] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut request =
                format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            request.extend_from_slice(&body);
            client.send(request);
            let response = client.response();
            assert_eq!(response.field("content-length"), Some(size.to_string().as_str()));
            assert!(response.body == body, "{size} bytes");
        }
    }
    assert!(upstream.requests().iter().all(|request| !request.chunked));
}

#[test]
fn chunked_bodies_arrive_whole_and_chunked() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for piece in request.body.chunks(7_000) {
                peer.send(format!("{:x}\r\n", piece.len()).as_bytes())?;
                peer.send(piece)?;
                peer.send(b"\r\n")?;
            }
            peer.send(b"0\r\n\r\n")?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        for (size, piece) in
            [(0, 1), (1, 1), (1000, 1), (20_000, 3_000), (300_000, 100_000), (300_000, 16_384)]
        {
            let body: Vec<u8> = (0..size).map(|at| (at % 241) as u8).collect();
            let mut request =
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for (number, piece) in body.chunks(piece).enumerate() {
                let extension = if number == 0 { ";name=\"quoted\"" } else { "" };
                request.extend_from_slice(format!("{:X}{extension}\r\n", piece.len()).as_bytes());
                request.extend_from_slice(piece);
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\n\r\n");
            client.send(request);
            let response = client.response();
            assert_eq!(response.status(), 200, "{size} bytes in chunks of {piece}: {}", response.text());
            assert!(response.chunked && response.body == body, "{size} bytes in chunks of {piece}");
        }
    }
    assert!(upstream.requests().iter().all(|request| request.chunked));
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::script(|peer| {
        while peer.request()?.is_some() {
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 7\r\nX-More: yes\r\n\r\n",
            )?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Digest: abc\r\n\r\n",
        );
        let response = client.response();
        assert_eq!(response.text(), "ok");
        assert_eq!(response.field("trailer"), Some("X-Sum"));
        let expected = [("X-Sum", "7"), ("X-More", "yes")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(response.trailers, expected);
    }
    for request in upstream.requests() {
        assert_eq!(request.trailers, [("X-Digest".to_owned(), "abc".to_owned())]);
        assert_eq!(request.field("te"), Some("trailers"));
    }
}

#[test]
fn trailers_that_would_frame_or_route_do_not_pass() {
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
         Content-Length: 3\r\nHost: b.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Fine: 1\r\n\r\n",
    );
    let status = client.response().status();
    let trailers: Vec<_> = upstream.requests().into_iter().flat_map(|request| request.trailers).collect();
    let dangerous = trailers.iter().filter(|(name, _)| name != "X-Fine");
    assert_eq!(dangerous.count(), 0, "{trailers:?}");
    assert!(matches!(status, 200 | 400), "{status}");
}

#[test]
fn a_body_that_ends_with_the_connection_becomes_chunked() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")?;
        peer.send(b", world")
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..2 {
            let response = client.get("a.test", "/");
            assert!(response.chunked && !response.closes(), "{response:?}");
            assert_eq!(response.text(), "hello, world");
        }
    }
}

#[test]
fn an_http_1_0_upstream_is_understood() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        peer.send(b"HTTP/1.0 200 Fine\r\nX-Old: yes\r\n\r\nold")
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        let response = client.get("a.test", "/");
        assert_eq!(response.start, "HTTP/1.1 200 Fine");
        assert_eq!((response.text().as_str(), response.field("x-old")), ("old", Some("yes")));
    }
    let keeping =
        Upstream::answering("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    let server = serve(&keeping);
    for mut client in both(&server) {
        assert_eq!(client.get("a.test", "/").text(), "ok");
        assert_eq!(client.get("a.test", "/").text(), "ok");
    }
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let cases: [(&str, &str, &str, Option<&str>); 7] = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "200", Some("1000")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200", None),
        ("HEAD", "HTTP/1.1 404 Not Found\r\n\r\n", "404", None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n", "304", Some("99")),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200", Some("0")),
        ("DELETE", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "205", Some("0")),
    ];
    for (method, response, status, length) in cases {
        let upstream = Upstream::answering(response);
        let server = serve(&upstream);
        for mut client in both(&server) {
            for _ in 0..3 {
                client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
                let answer = client.response_to(method);
                assert_eq!(answer.status().to_string(), status, "{method} {response}");
                assert_eq!(answer.field("content-length"), length, "{method} {response}");
                assert!(answer.body.is_empty());
            }
        }
        assert_eq!(upstream.connections(), 1, "{method} {response}");
    }
}

#[test]
fn answers_of_our_own_to_head_have_no_body() {
    let upstream = Upstream::saying("never asked");
    let server = Server::start(&(crate::harness::site("one", &["one.test"], &upstream)));
    let mut client = Client::http(server.http());
    client.send("HEAD / HTTP/1.1\r\nHost: other.test\r\n\r\nGET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    let (head, get) = (client.response_to("HEAD"), client.response());
    assert_eq!((head.status(), get.status()), (404, 404));
    assert_eq!(head.field("content-length"), get.field("content-length"));
}

#[test]
fn interim_responses_pass_before_the_final_one() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let server = serve(&upstream);
    for mut client in both(&server) {
        let hints = client.get("a.test", "/");
        assert_eq!((hints.status(), hints.field("link")), (103, Some("</style.css>")));
        assert_eq!(client.response().status(), 102);
        assert_eq!(client.response().text(), "ok");
        // HTTP/1.0 has none.
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn an_endless_row_of_interim_responses_is_a_bad_gateway() {
    let upstream = Upstream::script(|peer| {
        peer.request()?;
        for _ in 0..1000 {
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    let mut client = Client::http(server.http());
    let mut response = client.get("a.test", "/");
    let mut interims = 0;
    while response.status() == 102 {
        interims += 1;
        response = client.response();
    }
    assert_eq!(response.status(), 502);
    assert!(interims < 100);
}

#[test]
fn expect_100_continue_is_settled_between_client_and_site_server() {
    let upstream = Upstream::script(|peer| {
        while let Some(mut request) = peer.head()? {
            assert_eq!(request.field("expect"), Some("100-continue"));
            if request.target() == "/no" {
                peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                return Ok(());
            }
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            peer.body(&mut request)?;
            peer.send(&response_with(&request.body))?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client
            .send("POST /yes HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(client.response().status(), 100);
        client.send("hello");
        assert_eq!(client.response().text(), "hello");

        client.send("POST /no HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(client.response().status(), 401);
        // Whether the body will come is unknown: the connection is of no more use.
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let upstream = Upstream::script(|peer| {
        peer.head()?;
        peer.take(1000)?;
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig!")?;
        peer.finish();
        // It goes on reading for a while, as servers should.
        peer.rest()?;
        Ok(())
    });
    let server = serve(&upstream);
    for mut client in both(&server) {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
        client.send(vec![b'x'; 1000]);
        let response = client.response();
        assert_eq!((response.status(), response.text().as_str()), (413, "big!"));
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_unix_socket_serves_as_well() {
    let upstream = Upstream::echo_on_unix();
    let server = serve(&upstream);
    for mut client in both(&server) {
        for _ in 0..3 {
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
            assert_eq!(client.response().text(), "hello");
        }
    }
    assert_eq!(upstream.connections(), 1);
}
