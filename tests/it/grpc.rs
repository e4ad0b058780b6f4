//! gRPC through HTTP/2 to site servers: calls of every shape, and what becomes of them when something fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Response};

use crate::harness::grpc::{call, code, code_of, connect, echo, message, status, unary};
use crate::harness::http2::{begin, http2, read, read_body};
use crate::harness::{Call, Http2Upstream, Server, Setup, wait_until, with_one_worker_and_two};

async fn next(body: &mut RecvStream) -> Bytes {
    let piece = body.data().await.expect("a message").expect("an open stream");
    body.flow_control().release_capacity(piece.len()).expect("an open stream");
    piece
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
