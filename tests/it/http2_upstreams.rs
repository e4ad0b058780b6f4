//! HTTP/2 to site servers where it is no call: pages, clients of HTTP/1.1 in front, TLS, unix sockets, health checks, reloads.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use crate::harness::grpc::{call, code, code_of, connect, echo, status, unary};
use crate::harness::http2::{begin, get, http2, read};
use crate::harness::{Call, Client, Http2Upstream, Issued, Server, Setup, Upstream, wait_until};

/// An answer that is no call: what the path says.
async fn page(mut call: Call) {
    let (body, _) = call.read().await;
    let path = call.request.uri.path().to_owned();
    let text = format!("{} {path} {}", call.request.method, String::from_utf8_lossy(&body));
    let head = Response::builder().header("x-one", "1");
    match path.as_str() {
        "/length" => {
            let head = head.header("content-length", text.len()).body(()).expect("a head");
            let mut answer = call.respond.send_response(head, false).expect("an open stream");
            answer.send_data(text.into(), true).expect("an open stream");
        }
        "/none" => {
            let head = head.status(204).body(()).expect("a head");
            call.respond.send_response(head, true).expect("an open stream");
        }
        "/early" => {
            let interim = Response::builder().status(103).header("link", "</a>").body(()).expect("a head");
            call.respond.send_informational(interim).expect("an open stream");
            let head = head.header("content-length", "0").body(()).expect("a head");
            call.respond.send_response(head, true).expect("an open stream");
        }
        _ => {
            let head = head.body(()).expect("a head");
            let ends = call.request.method == "HEAD";
            let mut answer = call.respond.send_response(head, ends).expect("an open stream");
            if !ends {
                answer.send_data(text.into(), false).expect("an open stream");
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", "9".parse().expect("a value"));
                answer.send_trailers(trailers).expect("an open stream");
            }
        }
    }
}

#[test]
fn clients_of_http1_are_served_too() {
    let upstream = Http2Upstream::new(page);
    let server = Server::start(&upstream.site());
    let mut client = Client::http(server.http());
    client.send("POST /chunks HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.chunked), ("POST /chunks abcde", true));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "9".to_owned())]);
    client.send("PUT /length HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nwhole");
    let response = client.response();
    assert_eq!((response.text().as_str(), response.chunked), ("PUT /length whole", false));
    assert_eq!(response.field("content-length"), Some("17"));
    client.send("GET /none HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status(), 204);
    client.send("GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status(), 103);
    assert_eq!(client.response().status(), 200);
    assert_eq!(client.get("a.test", "/again?x=<y>").text(), "GET /again ");
    let calls = upstream.calls();
    assert_eq!(calls.last().expect("a call").1.uri.query(), Some("x=%3Cy%3E"));
    assert_eq!(upstream.connections(), 1);
    // HTTP/1.0 gets the close.
    let mut old = Client::http(server.http());
    old.send("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert_eq!(old.response().text(), "GET /old ");
}

#[test]
fn declared_lengths_and_trailers_pass_to_clients_of_http2() {
    let upstream = Http2Upstream::new(page);
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let answered = get(&send, "https://a.test/length").await;
        assert_eq!(
            (answered.text().as_str(), answered.field("content-length")),
            ("GET /length ", Some("12"))
        );
        let answered = get(&send, "https://a.test/chunks").await;
        assert_eq!(answered.trailers.as_ref().expect("trailers")["x-sum"], "9");
        let head = Request::head("https://a.test/any").body(()).expect("a request");
        let (response, _) = begin(&send, head, true).await;
        let answered = read(response).await.expect("an answer");
        assert!(answered.status() == 200 && answered.body.is_empty());
    });
}

#[test]
fn large_bodies_pass_both_ways() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        let mut answer = call.begin();
        while let Some(mut piece) = call.piece().await {
            while !piece.is_empty() {
                answer.reserve_capacity(piece.len());
                let Some(Ok(room)) = std::future::poll_fn(|context| answer.poll_capacity(context)).await
                else {
                    return;
                };
                let part = piece.split_to(room.min(piece.len()));
                if answer.send_data(part, false).is_err() {
                    return;
                }
            }
        }
        let _ = answer.send_trailers(status("0"));
    });
    let server = Setup::new(&upstream.site()).limits("request_body_bytes = \"unlimited\"").start();
    let sent: Vec<u8> = (0..5_000_000u32).map(|number| ((number * 7) >> 3) as u8).collect();
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Chat"), false).await;
        let mut answers = response.await.expect("an answer").into_body();
        let mut left = Bytes::from(sent.clone());
        let mut back = Vec::new();
        std::future::poll_fn(|context| {
            use std::task::Poll::{Pending, Ready};
            while !left.is_empty() {
                body.reserve_capacity(left.len().min(100_000));
                let Ready(room) = body.poll_capacity(context) else { break };
                let room = room.expect("an open stream").expect("room");
                let piece = left.split_to(room.min(left.len()));
                body.send_data(piece, left.is_empty()).expect("an open stream");
            }
            loop {
                match answers.poll_data(context) {
                    Ready(Some(piece)) => {
                        let piece = piece.expect("an open stream");
                        answers.flow_control().release_capacity(piece.len()).expect("an open stream");
                        back.extend_from_slice(&piece);
                    }
                    Ready(None) => return Ready(()),
                    Pending => return Pending,
                }
            }
        })
        .await;
        assert!(back == sent, "{} of {} octets", back.len(), sent.len());
        assert_eq!(code_of(&answers.trailers().await.expect("an end")), Some("0"));
    });
}

#[test]
fn what_is_no_http2_is_a_bad_answer() {
    let upstream =
        crate::harness::Upstream::answering(&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..]);
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}]\n",
        upstream.url().replace("http://", "h2://")
    );
    let server = Server::start(&sites);
    let answered = http2(connect(&server), async |send| unary(&send, "x").await);
    assert_eq!(answered.status(), 502);
}

#[test]
fn health_checks_speak_it_too() {
    let upstream = Http2Upstream::new(page);
    let sites = format!("{}health_check = {{ path = \"/health\", interval = \"100ms\" }}\n", upstream.site());
    let server = Server::start(&sites);
    wait_until("health checks", || upstream.calls().len() >= 3);
    let (_, request) = upstream.calls().remove(0);
    assert_eq!((request.uri.path(), request.uri.host()), ("/health", Some("a.test")));
    assert_eq!(Client::http(server.http()).get("a.test", "/length").text(), "GET /length ");
}

#[test]
fn over_tls_it_is_agreed_on_and_over_unix_sockets_it_is_known() {
    // The program itself is the site server: it speaks HTTP/2 over TLS and says who a PROXY header says is asking.
    let inside_upstream = Upstream::echo();
    let issued = Issued::for_names(&["inside.test"]);
    let sites = format!(
        "[[site]]\nname = \"inside\"\nhosts = [\"inside.test\", \"*\"]\nupstream = [{:?}]\n\
         certificate = [{{ source = \"files\", certificate = \"inside.pem\", key = \"inside.key\" }}]\n",
        inside_upstream.url()
    );
    let inside = |listen: &str| {
        let setup = Setup::new(&sites).listen(listen);
        setup.file("inside.pem", &issued.certificate).file("inside.key", &issued.key).start()
    };
    for (listen, proxy) in [("", ""), (", proxy_protocol = [\"127.0.0.0/8\"]", ", proxy_protocol = \"v2\"")] {
        let mut inside = inside(&format!("http = [], https = [\"127.0.0.1:0\"]{listen}"));
        let url = format!("h2s://{}", inside.https());
        let front = Setup::new(&format!(
            "[[site]]\nname = \"any\"\nhosts = [\"*\"]\n\
             upstream = [{{ url = {url:?}, ca = \"ca.pem\", server_name = \"inside.test\"{proxy} }}]\n"
        ));
        let front = front.file("ca.pem", &issued.certificate).start();
        http2(connect(&front), async |send| {
            for text in ["one", "two"] {
                let request = Request::post("https://a.test/").body(()).expect("a request");
                let (response, mut body) = begin(&send, request, false).await;
                body.send_data(text.into(), true).expect("an open stream");
                assert_eq!(read(response).await.expect("an answer").text(), text);
            }
        });
        inside.stop();
        assert_eq!(inside.total("http2_streams"), 2);
        // With a header that says whose it is, a connection carries one request.
        let made = if proxy.is_empty() { 1 } else { 2 };
        assert_eq!(inside.total("http2_connections"), made);
    }
    let upstream = Http2Upstream::on_unix(echo);
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| assert_eq!(code(&unary(&send, "x").await), Some("0")));
}

#[test]
fn who_does_not_agree_on_it_is_not_spoken_to() {
    // Offers no protocol at all.
    let issued = Issued::for_names(&["inside.test"]);
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = peer.local_addr().expect("bound");
    let chain = vec![rustls::pki_types::CertificateDer::from(issued.der.clone())];
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let config = Arc::new(config.expect("a pair"));
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = peer.accept() {
            let mut session = rustls::ServerConnection::new(config.clone()).expect("a session");
            let _ = session.complete_io(&mut stream);
            let _ = std::io::Read::read(&mut stream, &mut [0; 64]);
        }
    });
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\n\
         upstream = [{{ url = \"h2s://{address}\", ca = \"ca.pem\", server_name = \"inside.test\" }}]\n"
    );
    let mut server = Setup::new(&sites).file("ca.pem", &issued.certificate).start();
    let answered = http2(connect(&server), async |send| unary(&send, "x").await);
    assert_eq!(answered.status(), 502);
    server.wait_for_line("does not agree on h2");
}

#[test]
fn other_protocols_are_refused_plainly() {
    let upstream = Http2Upstream::new(page);
    let server = Server::start(&upstream.site());
    let mut client = Client::http(server.http());
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status(), 502);
    assert_eq!(client.get("a.test", "/length").status(), 200);
    assert_eq!(upstream.calls().len(), 1);
}

#[test]
fn a_reload_keeps_connections_that_are_used_on() {
    let upstream = Http2Upstream::new(echo);
    let mut server = Server::start(&upstream.site());
    let mut client = connect(&server);
    for _ in 0..2 {
        http2(client, async |send| assert_eq!(code(&unary(&send, "x").await), Some("0")));
        server.reload(&upstream.site());
        client = connect(&server);
    }
    assert_eq!(upstream.connections(), 1);
}
