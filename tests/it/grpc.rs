//! HTTP/2 to site servers, as gRPC needs it: calls of every shape, what becomes of them when something fails, and clients of
//! HTTP/1.1 in front.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};

use crate::harness::http2::{Answered, begin, get, http2, read, read_body};
use crate::harness::{
    Call, Client, Http2Upstream, Issued, Server, Setup, Tls, Upstream, wait_until, with_one_worker_and_two,
};

#[track_caller]
fn connect(server: &Server) -> Client {
    Tls::new().sni("a.test").alpn(&["h2"]).connect(server.https()).expect("a handshake")
}

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0], &length[..], text.as_bytes()].concat().into()
}

fn status(code: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().expect("a value"));
    trailers
}

/// A call as clients of gRPC begin it.
fn call(method: &str) -> Request<()> {
    Request::post(format!("https://a.test/test.Echo/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "10S")
        .header("x-user_id.bin", "7")
        .body(())
        .expect("a request")
}

/// Says each message of the call again, then that all is well.
async fn echo(mut call: Call) {
    let mut answer = call.begin();
    while let Some(piece) = call.piece().await {
        if answer.send_data(piece, false).is_err() {
            return;
        }
    }
    let _ = answer.send_trailers(status("0"));
}

async fn next(body: &mut RecvStream) -> Bytes {
    let piece = body.data().await.expect("a message").expect("an open stream");
    body.flow_control().release_capacity(piece.len()).expect("an open stream");
    piece
}

fn code(answered: &Answered) -> Option<&str> {
    answered.trailers.as_ref()?.get("grpc-status")?.to_str().ok()
}

async fn unary(send: &h2::client::SendRequest<Bytes>, text: &str) -> Answered {
    let (response, mut body) = begin(send, call("Say"), false).await;
    body.send_data(message(text), true).expect("an open stream");
    read(response).await.expect("an answer")
}

#[test]
fn a_unary_call_goes_there_and_back_with_its_trailers() {
    with_one_worker_and_two(|workers| {
        let upstream = Http2Upstream::new(echo);
        let mut server = Setup::new(&upstream.site()).workers(workers).start();
        for number in 0..3 {
            let text = format!("hello {number}");
            let answered = http2(connect(&server), async |send| unary(&send, &text).await);
            assert_eq!((answered.status(), code(&answered)), (200, Some("0")));
            assert_eq!(answered.body, message(&text));
            assert_eq!(answered.field("content-type"), Some("application/grpc"));
            assert_eq!(answered.field("content-length"), None);
        }
        let (_, request) = upstream.calls().remove(0);
        assert_eq!(request.uri, "http://a.test/test.Echo/Say");
        let field = |name: &str| request.headers.get(name).map(|value| value.to_str().expect("text"));
        assert_eq!(field("te"), Some("trailers"));
        assert_eq!(field("grpc-timeout"), Some("10S"));
        assert_eq!(field("x-forwarded-proto"), Some("https"));
        assert_eq!(field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field("via"), Some("2.0 portcullis"));
        assert!(field("x-request-id").is_some() && field("transfer-encoding").is_none());
        assert!(field("connection").is_none() && field("host").is_none());
        server.stop();
        // Each worker has its own.
        let (made, used) = (server.total("upstream_connects"), server.total("upstream_reuses"));
        assert!(made <= workers as u64 && made + used == 3, "{made} {used}");
    });
}

#[test]
fn a_stream_of_answers_comes_message_by_message() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let upstream = Http2Upstream::new(move |mut call: Call| {
        let wait = wait.clone();
        async move {
            call.read().await;
            let mut answer = call.begin();
            for number in 0..3 {
                std::future::poll_fn(|_| match wait.lock().expect("no panic").try_recv() {
                    Ok(()) => std::task::Poll::Ready(()),
                    Err(_) => std::task::Poll::Pending,
                })
                .await;
                answer.send_data(message(&format!("answer {number}")), false).expect("an open stream");
            }
            answer.send_trailers(status("0")).expect("an open stream");
        }
    });
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("List"), false).await;
        body.send_data(message("all"), true).expect("an open stream");
        // The head is there before the first message is.
        let response = response.await.expect("an answer");
        let mut answers = response.into_body();
        for number in 0..3 {
            go.send(()).expect("the site server waits");
            assert_eq!(next(&mut answers).await, message(&format!("answer {number}")));
        }
        assert!(answers.data().await.is_none());
        let trailers = answers.trailers().await.expect("an open stream").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_stream_of_requests_ends_with_one_answer() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        let (bytes, _) = call.read().await;
        let mut answer = call.begin();
        answer.send_data(message(&format!("{} octets", bytes.len())), false).expect("an open stream");
        answer.send_trailers(status("0")).expect("an open stream");
    });
    let server = Server::start(&upstream.site());
    let answered = http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Collect"), false).await;
        for number in 0..50 {
            body.send_data(message(&format!("{number:095}")), number == 49).expect("an open stream");
        }
        read(response).await.expect("an answer")
    });
    assert_eq!((answered.body, code_of(&answered.trailers)), (message("5000 octets").to_vec(), Some("0")));
}

fn code_of(trailers: &Option<HeaderMap>) -> Option<&str> {
    trailers.as_ref()?.get("grpc-status")?.to_str().ok()
}

#[test]
fn both_sides_speak_in_turns_for_as_long_as_one_of_them_speaks() {
    let upstream = Http2Upstream::new(echo);
    // Each pause of the client is as long as a body may be idle, nearly.
    let server = Setup::new(&upstream.site()).timeouts("body_idle = \"600ms\"").start();
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Chat"), false).await;
        let mut answers = response.await.expect("an answer").into_body();
        for number in 0..6 {
            let said = message(&format!("turn {number}"));
            body.send_data(said.clone(), false).expect("an open stream");
            assert_eq!(next(&mut answers).await, said);
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        body.send_data(Bytes::new(), true).expect("an open stream");
        let (rest, trailers) = read_body(&mut answers).await.expect("an end");
        assert!(rest.is_empty() && code_of(&trailers) == Some("0"));
    });
}

#[test]
fn trailers_of_a_request_and_an_answer_of_trailers_alone_pass() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        let (_, trailers) = call.read().await;
        let said = trailers.expect("trailers")["x-checksum"].clone();
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .header("grpc-message", said)
            .body(())
            .expect("a head");
        call.respond.send_response(head, true).expect("an open stream");
    });
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Find"), false).await;
        body.send_data(message("what"), false).expect("an open stream");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().expect("a value"));
        body.send_trailers(trailers).expect("an open stream");
        let response = response.await.expect("an answer");
        assert_eq!(response.headers()["grpc-status"], "5");
        assert_eq!(response.headers()["grpc-message"], "abc");
        assert!(response.headers().get("content-length").is_none());
        assert!(response.body().is_end_stream(), "the head ends the stream");
    });
}

#[test]
fn a_client_that_gives_up_takes_its_call_back() {
    let cancelled = Arc::new(AtomicBool::new(false));
    let seen = cancelled.clone();
    let upstream = Http2Upstream::new(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            let mut answer = call.begin();
            let reason = std::future::poll_fn(|context| answer.poll_reset(context)).await;
            seen.store(matches!(reason, Ok(Reason::CANCEL)), Ordering::SeqCst);
        }
    });
    let mut server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Wait"), false).await;
        response.await.expect("an answer");
        body.send_reset(Reason::CANCEL);
        // The connection has to be driven on, so that it leaves.
        std::future::poll_fn(|_| match cancelled.load(Ordering::SeqCst) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
        // Others on the same connection to the site server are not concerned.
    });
    assert_eq!(upstream.open(), 1);
    server.stop();
    // Whether the one who reads its messages sees it first, or the one who answers.
    assert_eq!(server.total("http2_streams_reset") + server.total("requests_abandoned"), 1);
}

#[test]
fn a_call_taken_back_by_the_site_server_ends_with_its_reason() {
    for (reason, expected) in [
        (Reason::CANCEL, Reason::CANCEL),
        (Reason::ENHANCE_YOUR_CALM, Reason::ENHANCE_YOUR_CALM),
        (Reason::NO_ERROR, Reason::INTERNAL_ERROR),
        (Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR),
    ] {
        let upstream = Http2Upstream::new(move |mut call: Call| async move {
            let mut answer = call.begin();
            answer.send_data(message("first"), false).expect("an open stream");
            call.piece().await;
            answer.send_reset(reason);
        });
        let server = Server::start(&upstream.site());
        http2(connect(&server), async |send| {
            let (response, mut body) = begin(&send, call("Break"), false).await;
            let mut answers = response.await.expect("an answer").into_body();
            assert_eq!(next(&mut answers).await, message("first"));
            body.send_data(message("now"), false).expect("an open stream");
            let failed = answers.data().await.expect("no end").expect_err("a reset");
            assert_eq!(failed.reason(), Some(expected), "{reason:?}");
        });
    }
}

#[test]
fn a_call_taken_back_before_its_answer_is_a_502() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        call.read().await;
        call.respond.send_reset(Reason::INTERNAL_ERROR);
    });
    let mut server = Server::start(&upstream.site());
    let answered = http2(connect(&server), async |send| unary(&send, "x").await);
    assert_eq!(answered.status(), 502);
    server.stop();
    assert_eq!(upstream.calls().len(), 1, "it may have been worked off");
}

#[test]
fn a_refused_call_is_made_again_whole() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = refusals.clone();
    let upstream = Http2Upstream::new(move |mut call: Call| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !first {
                return echo(call).await;
            }
            // The message has come by then.
            call.piece().await;
            call.respond.send_reset(Reason::REFUSED_STREAM);
        }
    });
    let mut server = Server::start(&upstream.site());
    let answered = http2(connect(&server), async |send| unary(&send, "once").await);
    assert_eq!((answered.body, code_of(&answered.trailers)), (message("once").to_vec(), Some("0")));
    server.stop();
    assert_eq!((server.total("upstream_refusals"), server.total("upstream_retries")), (1, 1));
}

#[test]
fn who_refuses_always_is_answered_for_with_503() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        call.respond.send_reset(Reason::REFUSED_STREAM);
    });
    let server = Server::start(&upstream.site());
    let answered = http2(connect(&server), async |send| unary(&send, "x").await);
    assert_eq!(answered.status(), 503);
    assert_eq!(upstream.calls().len(), 2);
}

#[test]
fn after_goaway_calls_end_where_they_are_and_new_ones_go_elsewhere() {
    let upstream = Http2Upstream::new(echo);
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Chat"), false).await;
        let mut answers = response.await.expect("an answer").into_body();
        upstream.go_away();
        let mut made = 0;
        // The word is on its way: until it is there, calls may still go the old way.
        while upstream.connections() < 2 {
            made += 1;
            assert!(made < 10_000, "GOAWAY is not heard");
            assert_eq!(code(&unary(&send, "another").await), Some("0"));
        }
        body.send_data(message("still here"), true).expect("an open stream");
        let (rest, trailers) = read_body(&mut answers).await.expect("an end");
        assert_eq!((rest, code_of(&trailers)), (message("still here").to_vec(), Some("0")));
    });
    wait_until("the end of the old connection", || upstream.open() == 1);
}

#[test]
fn a_site_server_that_dies_cuts_what_runs_and_is_asked_anew() {
    let upstream = Http2Upstream::new(echo);
    let server = Server::start(&upstream.site());
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Chat"), false).await;
        let mut answers = response.await.expect("an answer").into_body();
        body.send_data(message("one"), false).expect("an open stream");
        assert_eq!(next(&mut answers).await, message("one"));
        upstream.cut();
        let failed = answers.data().await.expect("no end").expect_err("a reset");
        assert_eq!(failed.reason(), Some(Reason::INTERNAL_ERROR));
        assert_eq!(code(&unary(&send, "again").await), Some("0"));
    });
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_dead_site_server_is_left_for_another() {
    let gone = { std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound") };
    let upstream = Http2Upstream::new(echo);
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [\"h2://{gone}\", {:?}]\n",
        upstream.url()
    );
    let mut server = Server::start(&sites);
    http2(connect(&server), async |send| {
        for _ in 0..10 {
            assert_eq!(code(&unary(&send, "x").await), Some("0"));
        }
    });
    server.stop();
    assert_eq!(server.total("upstream_ejections"), 1);
    let alone =
        Server::start(&format!("[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [\"h2://{gone}\"]\n"));
    let answered = http2(connect(&alone), async |send| unary(&send, "x").await);
    assert_eq!(answered.status(), 502);
}

#[test]
fn many_calls_share_connections_and_none_has_too_many() {
    for (allowed, at_least, at_most) in [(None, 3, 3), (Some(10), 3, 40)] {
        let mut builder = h2::server::Builder::new();
        if let Some(allowed) = allowed {
            builder.max_concurrent_streams(allowed);
        }
        let upstream = Http2Upstream::with(builder, echo);
        let server = Server::start(&upstream.site());
        let clients: Vec<_> = (0..3).map(|_| connect(&server)).collect();
        std::thread::scope(|scope| {
            for client in clients {
                scope.spawn(|| {
                    http2(client, async |send| {
                        let mut calls = Vec::new();
                        for number in 0..100 {
                            let (response, mut body) = begin(&send, call("Say"), false).await;
                            body.send_data(message(&format!("{number}")), false).expect("an open stream");
                            calls.push((number, response, body));
                        }
                        let mut answers = Vec::new();
                        // All of them are open at once.
                        for (number, response, body) in calls {
                            answers.push((number, response.await.expect("an answer").into_body(), body));
                        }
                        for (number, mut answer, mut body) in answers {
                            body.send_data(Bytes::new(), true).expect("an open stream");
                            let (bytes, trailers) = read_body(&mut answer).await.expect("an end");
                            assert_eq!(bytes, message(&format!("{number}")));
                            assert_eq!(code_of(&trailers), Some("0"));
                        }
                    });
                });
            }
        });
        let made = upstream.connections();
        assert!((at_least..=at_most).contains(&made), "{allowed:?}: {made} connections");
    }
}

#[test]
fn what_nobody_reads_is_not_sent_on_either_way() {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let upstream = Http2Upstream::new(move |mut call: Call| {
        let count = count.clone();
        async move {
            let mut answer = call.begin();
            if call.request.uri.path().ends_with("Pour") {
                // As much as the windows have room for.
                loop {
                    answer.reserve_capacity(16 * 1024);
                    let room = std::future::poll_fn(|context| answer.poll_capacity(context)).await;
                    let Some(Ok(room)) = room else { return };
                    count.fetch_add(room, Ordering::SeqCst);
                    if answer.send_data(Bytes::from(vec![7; room]), false).is_err() {
                        return;
                    }
                }
            }
            std::future::pending::<()>().await;
        }
    });
    let server = Setup::new(&upstream.site()).limits("request_body_bytes = \"unlimited\"").start();
    http2(connect(&server), async |send| {
        let (response, _body) = begin(&send, call("Pour"), false).await;
        let mut answers = response.await.expect("an answer").into_body();
        let mut before = usize::MAX;
        while before != taken.load(Ordering::SeqCst) {
            before = taken.load(Ordering::SeqCst);
            pause(30).await;
        }
        // Our window (256 KiB), the blocks on the way and the client's window.
        assert!(before < 1024 * 1024, "{before} octets for a client that reads nothing");
        // Others are served meanwhile.
        drain(&mut answers, 4 * 1024 * 1024).await;
    });
    http2(connect(&server), async |send| {
        let (response, mut body) = begin(&send, call("Ignore"), false).await;
        response.await.expect("an answer");
        let mut sent = 0;
        let mut waited = 0;
        while waited < 50 {
            body.reserve_capacity(64 * 1024);
            match std::future::poll_fn(|context| std::task::Poll::Ready(body.poll_capacity(context))).await {
                std::task::Poll::Ready(Some(Ok(room))) if room > 0 => {
                    body.send_data(Bytes::from(vec![7; room]), false).expect("an open stream");
                    (sent, waited) = (sent + room, 0);
                }
                _ => {
                    waited += 1;
                    pause(10).await;
                }
            }
        }
        assert!(sent < 1024 * 1024, "{sent} octets for a site server that reads nothing");
    });
}

/// Lets the connection go on for so many milliseconds.
async fn pause(milliseconds: u64) {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(milliseconds);
    std::future::poll_fn(|_| match std::time::Instant::now() < until {
        true => std::task::Poll::Pending,
        false => std::task::Poll::Ready(()),
    })
    .await;
}

async fn drain(body: &mut RecvStream, wanted: usize) {
    let mut read = 0;
    while read < wanted {
        read += next(body).await.len();
    }
}

#[test]
fn waits_have_their_deadlines() {
    let upstream = Http2Upstream::new(|mut call: Call| async move {
        if call.request.uri.path().ends_with("Begin") {
            let mut answer = call.begin();
            answer.send_data(message("one"), false).expect("an open stream");
            std::future::pending::<()>().await;
        }
        std::future::pending::<()>().await;
    });
    let server =
        Setup::new(&upstream.site()).timeouts("response_head = \"300ms\", body_idle = \"400ms\"").start();
    http2(connect(&server), async |send| {
        assert_eq!(unary(&send, "x").await.status(), 504);
        let (response, mut body) = begin(&send, call("Begin"), false).await;
        body.send_data(message("x"), true).expect("an open stream");
        let mut answers = response.await.expect("an answer").into_body();
        assert_eq!(next(&mut answers).await, message("one"));
        let failed = answers.data().await.expect("no end").expect_err("a reset");
        assert_eq!(failed.reason(), Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let upstream = Http2Upstream::new(echo);
    let server = Setup::new(&upstream.site()).table("upstream_pool", "idle_timeout = \"1s\"").start();
    http2(connect(&server), async |send| assert_eq!(code(&unary(&send, "x").await), Some("0")));
    wait_until("the end of an idle connection", || upstream.open() == 0);
}

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
