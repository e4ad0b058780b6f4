//! HTTP/2 with clients: the same answers as by HTTP/1.1, many at once on one connection.

use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::task::Poll;

use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request};

use crate::harness::http2::{begin, get, http2, http2_with, read, read_body};
use crate::harness::{
    Client, Server, Setup, Tls, Upstream, any_site, response_with, serve, site, skip_without,
    with_one_worker_and_two,
};

#[track_caller]
fn connect(server: &Server, name: &str) -> Client {
    let client = Tls::new().sni(name).alpn(&["h2", "http/1.1"]).connect(server.https()).expect("a handshake");
    assert_eq!(client.alpn().as_deref(), Some(&b"h2"[..]));
    client
}

#[test]
fn a_client_that_knows_both_gets_http2_and_one_that_does_not_gets_http1() {
    let upstream = Upstream::saying("hello");
    let server = serve(&upstream);
    let answered = http2(connect(&server, "a.test"), async |send| get(&send, "https://a.test/x?y").await);
    assert_eq!((answered.status(), answered.text().as_str()), (200, "hello"));
    assert_eq!(answered.field("content-length"), Some("5"));
    assert!(answered.field("date").is_some() && answered.field("connection").is_none());
    let request = upstream.only_request();
    assert_eq!((request.method(), request.target()), ("GET", "/x?y"));
    assert_eq!(request.field("host"), Some("a.test"));
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("via"), Some("2.0 portcullis"));
    let mut old = Tls::new().sni("a.test").alpn(&["http/1.1"]).connect(server.https()).expect("a handshake");
    assert_eq!(old.get("a.test", "/").text(), "hello");
}

#[test]
fn a_hundred_streams_at_once_get_each_their_own() {
    with_one_worker_and_two(|workers| {
        let upstream = Upstream::echo();
        let server = Setup::new(&any_site(&upstream)).workers(workers).start();
        http2(connect(&server, "a.test"), async |send| {
            let mut answers = Vec::new();
            for number in 0..100 {
                let request = Request::post(format!("https://a.test/{number}")).body(()).expect("a request");
                let (response, mut body) = begin(&send, request, false).await;
                body.send_data(Bytes::from(format!("number {number}")), true).expect("an open stream");
                answers.push((number, response));
            }
            for (number, response) in answers {
                assert_eq!(read(response).await.expect("an answer").text(), format!("number {number}"));
            }
        });
    });
}

#[test]
fn bodies_pass_both_ways_whole() {
    let upstream = Upstream::echo();
    let server = Setup::new(&any_site(&upstream)).limits("request_body_bytes = \"16MiB\"").start();
    let sent: Vec<u8> = (0..3_000_000u32).map(|number| ((number * 7) >> 3) as u8).collect();
    for declared in [true, false] {
        let answered = http2(connect(&server, "a.test"), async |send| {
            let mut request = Request::post("https://a.test/");
            if declared {
                request = request.header("content-length", sent.len());
            }
            let (response, mut body) = begin(&send, request.body(()).expect("a request"), false).await;
            let sender = async {
                let mut left = Bytes::from(sent.clone());
                while !left.is_empty() {
                    body.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                    let room = room.expect("an open stream").expect("room");
                    let piece = left.split_to(room.min(left.len()));
                    body.send_data(piece, left.is_empty()).expect("an open stream");
                }
            };
            let (answered, ()) = both(read(response), sender).await;
            answered.expect("an answer")
        });
        assert!(answered.body == sent, "declared: {declared}");
        let request = upstream.requests().pop().expect("a request");
        assert_eq!(request.chunked, !declared);
    }
}

/// Waits for both.
async fn both<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> (A, B) {
    let (mut left, mut right) = (std::pin::pin!(left), std::pin::pin!(right));
    let (mut a, mut b) = (None, None);
    std::future::poll_fn(|context| {
        use std::task::Poll::{Pending, Ready};
        if a.is_none()
            && let Ready(value) = left.as_mut().poll(context)
        {
            a = Some(value);
        }
        if b.is_none()
            && let Ready(value) = right.as_mut().poll(context)
        {
            b = Some(value);
        }
        if a.is_some() && b.is_some() { Ready(()) } else { Pending }
    })
    .await;
    (a.expect("ready"), b.expect("ready"))
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.request()? {
            assert_eq!(request.trailers, [("x-checksum".to_owned(), "abc".to_owned())]);
            assert_eq!(request.field("te"), Some("trailers"));
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\ngrpc-status: 0\r\n\r\n")?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    let answered = http2(connect(&server, "a.test"), async |send| {
        let request = Request::post("https://a.test/").header("te", "trailers").body(()).expect("a request");
        let (response, mut body) = begin(&send, request, false).await;
        body.send_data(Bytes::from_static(b"data"), false).expect("an open stream");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().expect("a value"));
        body.send_trailers(trailers).expect("an open stream");
        read(response).await.expect("an answer")
    });
    assert_eq!(answered.text(), "body");
    assert_eq!(answered.trailers.expect("trailers").get("grpc-status").expect("it came"), "0");
}

#[test]
fn decisions_are_those_of_http1() {
    let upstream = Upstream::saying("ok");
    let sites = format!(
        "{}aliases = [\"www.a.test\"]\nsession_cookies = [\"z_sid\"]\n\
         dispatch = [{{ name = \"plain\", path = \"/plain\", ssl = false }}]\n{}tls_versions = [\"1.3\"]\n",
        site("a", &["a.test"], &upstream),
        site("b", &["b.test"], &upstream)
    );
    let cookies = Upstream::answering(
        &b"HTTP/1.1 200 OK\r\nSet-Cookie: z_sid=1\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n"[..],
    );
    let sites = format!(
        "{sites}{}session_cookies = [\"z_sid\"]\nhsts = {{ max_age = \"1d\" }}\n",
        site("c", &["c.test"], &cookies)
    );
    let server = Server::start(&sites);
    http2(connect(&server, "a.test"), async |send| {
        let plain = get(&send, "https://a.test/plain").await;
        assert_eq!(plain.status(), 302);
        let port = server.http().port();
        assert_eq!(plain.field("location"), Some(format!("http://a.test:{port}/plain").as_str()));
        assert!(plain.text().contains("Go there"));
        let alias = get(&send, "https://www.a.test/x").await;
        assert_eq!(alias.status(), 301);
        let port = server.https().port();
        assert_eq!(alias.field("location"), Some(format!("https://a.test:{port}/x").as_str()));
        // Another policy on this connection: not here (RFC 9110 §15.5.20).
        assert_eq!(get(&send, "https://b.test/").await.status(), 421);
        assert_eq!(get(&send, "https://nobody.test/").await.status(), 421);
        let head = Request::head("https://a.test/plain").body(()).expect("a request");
        let (response, _) = begin(&send, head, true).await;
        let head = read(response).await.expect("an answer");
        assert_eq!((head.status(), head.body.len()), (302, 0));
    });
    http2(connect(&server, "c.test"), async |send| {
        let answered = get(&send, "https://c.test/").await;
        assert_eq!(answered.field("set-cookie"), Some("z_sid=1; Secure"));
        assert_eq!(answered.field("x-hop"), None);
        assert_eq!(answered.field("strict-transport-security"), Some("max-age=86400"));
    });
}

#[test]
fn crumbs_of_cookies_are_joined_and_what_http2_forbids_is_refused() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    http2(connect(&server, "a.test"), async |send| {
        let crumbs = Request::get("https://a.test/crumbs").header("cookie", "a=1").header("cookie", "b=2");
        let (response, _) = begin(&send, crumbs.body(()).expect("a request"), true).await;
        assert_eq!(read(response).await.expect("an answer").status(), 200);
        let conflict = Request::get("https://a.test/").header("host", "other.test");
        let (response, _) = begin(&send, conflict.body(()).expect("a request"), true).await;
        assert_eq!(read(response).await.expect("an answer").status(), 400);
    });
    let request = upstream.only_request();
    assert_eq!(request.field("cookie"), Some("a=1; b=2"));
}

#[test]
fn a_stream_taken_back_ends_the_request_at_the_site_server() {
    let upstream = Upstream::script(|peer| {
        if let Some(request) = peer.request()?
            && request.target() == "/held"
        {
            // Until the front end closes.
            peer.rest()?;
            return Ok(());
        }
        peer.send(&response_with(b"ok"))
    });
    let mut server = serve(&upstream);
    http2(connect(&server, "a.test"), async |send| {
        let held = Request::get("https://a.test/held").body(()).expect("a request");
        let (response, mut stream) = begin(&send, held, true).await;
        until(|| upstream.requests().len() == 1).await;
        stream.send_reset(Reason::CANCEL);
        drop(response);
        // The connection goes on.
        assert_eq!(get(&send, "https://a.test/").await.text(), "ok");
        until(|| upstream.has_ended(0)).await;
    });
    server.stop();
    assert_eq!(server.total("http2_streams_reset"), 1);
}

#[test]
fn a_response_that_is_cut_is_a_reset_and_an_early_one_arrives() {
    let upstream = Upstream::script(|peer| {
        let request = peer.head()?.unwrap_or_default();
        match request.target() {
            "/cut" => peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\nhalf"),
            "/early" => {
                peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")?;
                peer.rest().map(drop)
            }
            "/hints" => peer.send(
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ),
            _ => Ok(()),
        }
    });
    let server = serve(&upstream);
    http2(connect(&server, "a.test"), async |send| {
        let cut = Request::get("https://a.test/cut").body(()).expect("a request");
        let (response, _) = begin(&send, cut, true).await;
        let failed = read(response).await.expect_err("it is not whole");
        assert_eq!(failed.reason(), Some(Reason::INTERNAL_ERROR));
        let early = Request::post("https://a.test/early").body(()).expect("a request");
        let (response, _body) = begin(&send, early, false).await;
        let answered = read(response).await.expect("an answer");
        assert_eq!((answered.status(), answered.text().as_str()), (403, "no"));
        assert_eq!(get(&send, "https://a.test/hints").await.text(), "ok");
        assert_eq!(get(&send, "https://a.test/nothing").await.status(), 502);
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_site_server_and_costs_little() {
    const LARGE: usize = 50_000_000;
    let (done, finished) = mpsc::channel();
    let done = Mutex::new(done);
    let upstream = Upstream::script(move |peer| {
        while peer.request()?.is_some() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes())?;
            let piece = vec![b'x'; 1_000_000];
            for _ in 0..LARGE / piece.len() {
                peer.send(&piece)?;
            }
            let _ = done.lock().expect("no panic").send(());
        }
        Ok(())
    });
    let server = serve(&upstream);
    let (before, _) = server.memory_kib();
    http2(connect(&server, "a.test"), async |send| {
        let request = Request::get("https://a.test/").body(()).expect("a request");
        let (response, _) = begin(&send, request, true).await;
        let (_, mut body) = response.await.expect("a head").into_parts();
        // Nothing is read: what was sent fills the window, and the site server waits.
        let small = Request::get("https://a.test/small").body(()).expect("a request");
        drop(small);
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(finished.try_recv().is_err(), "the site server has sent all of it");
        let (now, _) = server.memory_kib();
        assert!(now < before + 8 * 1024, "{before} KiB before, {now} KiB with a client that does not read");
        let (bytes, _) = read_body(&mut body).await.expect("all of it");
        assert_eq!(bytes.len(), LARGE);
    });
}

#[test]
fn what_is_urgent_goes_first_whether_the_client_says_so_or_the_site_server() {
    const LARGE: usize = 8_000_000;
    let upstream = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let urgency = if request.target() == "/script" { "Priority: u=1\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\n{urgency}Content-Length: {LARGE}\r\n\r\n");
            peer.send(&[head.as_bytes(), &vec![b'x'; LARGE]].concat())?;
        }
        Ok(())
    });
    let server = serve(&upstream);
    for (path, said) in [("/style", Some("u=0")), ("/script", None), ("/other", None)] {
        let client = connect(&server, "a.test");
        // The streams' windows are no bound: the connection's is, and what the socket takes.
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(2 * LARGE as u32);
        let meanwhile = http2_with(client, &builder, async |send| {
            let image = Request::get("https://a.test/image").header("priority", "u=5, i");
            let (image, _) = begin(&send, image.body(()).expect("a request"), true).await;
            let (_, mut image) = image.await.expect("a head").into_parts();
            let mut urgent = Request::get(format!("https://a.test{path}"));
            if let Some(said) = said {
                urgent = urgent.header("priority", said);
            }
            let (urgent, _) = begin(&send, urgent.body(()).expect("a request"), true).await;
            let (_, mut urgent) = urgent.await.expect("a head").into_parts();
            // Both are read as they come; counted is what came of the image until the other was whole.
            let mut counts = [0, 0];
            let mut meanwhile = None;
            std::future::poll_fn(|context| {
                for (body, count) in [&mut image, &mut urgent].into_iter().zip(&mut counts) {
                    while let Poll::Ready(Some(data)) = body.poll_data(context) {
                        let data = data.expect("octets");
                        *count += data.len();
                        body.flow_control().release_capacity(data.len()).expect("its window");
                    }
                }
                if counts[1] == LARGE {
                    meanwhile.get_or_insert(counts[0]);
                }
                if counts == [LARGE; 2] { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            meanwhile.expect("it was whole")
        });
        // What was on its way when the other began. The default, 3, is more urgent than the image, too.
        assert!(meanwhile < LARGE / 4, "{path}: {meanwhile} octets of the image came before the more urgent");
    }
}

#[test]
fn a_websocket_passes_through_a_stream() {
    let upstream = Upstream::script(|peer| {
        let request = peer.head()?.unwrap_or_default();
        assert_eq!((request.method(), request.target()), ("GET", "/chat"));
        assert_eq!(request.field("upgrade"), Some("websocket"));
        assert_eq!(request.field("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(request.field("sec-websocket-key").map(str::len), Some(24));
        assert_eq!(request.field("sec-websocket-version"), Some("13"));
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello",
        )?;
        loop {
            let message = peer.take(4)?;
            peer.send(&message)?;
        }
    });
    let server = serve(&upstream);
    http2(connect(&server, "a.test"), async |send| {
        // SETTINGS of the server say that it takes them.
        let mut ready = send.clone().ready().await.expect("room for a stream");
        while !ready.is_extended_connect_protocol_enabled() {
            ready = ready.ready().await.expect("room for a stream");
            yield_now().await;
        }
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("https://a.test/chat")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            // Not one of HTTP/2: ours is the only one behind.
            .header("sec-websocket-key", "of-the-client")
            .header("sec-websocket-protocol", "chat")
            .body(())
            .expect("a request");
        let (response, mut up) = ready.send_request(request, false).expect("a request");
        let (head, mut down) = response.await.expect("an answer").into_parts();
        assert_eq!(head.status, 200);
        assert_eq!(head.headers.get("sec-websocket-protocol").expect("it is there"), "chat");
        assert!(head.headers.get("upgrade").is_none() && head.headers.get("sec-websocket-accept").is_none());
        let mut got = Vec::new();
        for message in [&b""[..], b"ping", b"pong"] {
            up.send_data(Bytes::copy_from_slice(message), false).expect("an open stream");
            let wanted = got.len() + if message.is_empty() { 5 } else { message.len() };
            while got.len() < wanted {
                let piece = down.data().await.expect("more").expect("an open stream");
                got.extend_from_slice(&piece);
            }
        }
        assert_eq!(got, b"hellopingpong");
    });
}

/// Lets the connection go on until this is so.
async fn until(state: impl Fn() -> bool) {
    while !state() {
        yield_now().await;
    }
}

async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut yielded, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[test]
fn a_drain_says_goaway_and_finishes_what_runs() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::script(move |peer| {
        while peer.request()?.is_some() {
            released.lock().expect("no panic").recv().map_err(std::io::Error::other)?;
            peer.send(&response_with(b"held"))?;
        }
        Ok(())
    });
    let mut server = Setup::new(&any_site(&upstream)).drain_timeout("60s").start();
    let idle = connect(&server, "a.test");
    http2(connect(&server, "a.test"), async |send| {
        let (response, _) =
            begin(&send, Request::get("https://a.test/").body(()).expect("a request"), true).await;
        until(|| upstream.requests().len() == 1).await;
        server.signal(rustix::process::Signal::TERM);
        server.wait_for_line("draining");
        // No new streams, the old one to its end.
        for _ in 0..200 {
            yield_now().await;
        }
        release.send(()).expect("it waits");
        assert_eq!(read(response).await.expect("an answer").text(), "held");
        let ready = send.clone().ready().await;
        let refused = match ready {
            Err(_) => true,
            Ok(mut ready) => {
                let request = Request::get("https://a.test/").body(()).expect("a request");
                match ready.send_request(request, true) {
                    Err(_) => true,
                    Ok((response, _)) => response.await.is_err(),
                }
            }
        };
        assert!(refused, "a draining server takes no new streams");
    });
    drop(idle);
    assert!(server.wait_for_end().success());
}

#[test]
fn an_idle_connection_is_ended_with_goaway() {
    let upstream = Upstream::saying("ok");
    let server = Setup::new(&any_site(&upstream)).timeouts("keep_alive = \"1s\"").start();
    http2(connect(&server, "a.test"), async |send| {
        assert_eq!(get(&send, "https://a.test/").await.text(), "ok");
        let mut ended = false;
        while !ended {
            ended = match send.clone().ready().await {
                Err(error) => {
                    assert!(error.is_go_away() || error.is_io(), "{error}");
                    true
                }
                Ok(_) => false,
            };
            yield_now().await;
        }
    });
}

#[test]
fn many_small_streams_do_not_starve_another_client() {
    let upstream = Upstream::saying("ok");
    let server = serve(&upstream);
    let mut other = Client::https(server.https(), "a.test");
    http2_with(
        connect(&server, "a.test"),
        h2::client::Builder::new().max_concurrent_streams(100),
        async |send| {
            let mut waiting = Vec::new();
            for number in 0..500 {
                let request = Request::get(format!("https://a.test/{number}")).body(()).expect("a request");
                let (response, _) = begin(&send, request, true).await;
                waiting.push(response);
                if number % 50 == 0 {
                    assert_eq!(other.get("a.test", "/other").text(), "ok");
                }
                if waiting.len() == 100 {
                    for response in waiting.drain(..) {
                        assert_eq!(read(response).await.expect("an answer").text(), "ok");
                    }
                }
            }
        },
    );
}

#[test]
fn curl_speaks_it() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip_without("curl");
    }
    let upstream = Upstream::echo();
    let server = serve(&upstream);
    let output = Command::new("curl")
        .args(["-sSk", "--http2", "--max-time", "20", "--data-binary", "over two", "-w", " %{http_version}"])
        .arg(format!("https://{}/", server.https()))
        .args(["-H", "Host: a.test"])
        .output()
        .expect("curl runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "over two 2", "{output:?}");
}
