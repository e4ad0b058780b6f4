//! WebSockets between a client and a server that others wrote.

use std::net::{TcpListener, TcpStream};

use tungstenite::{Message, WebSocket};

use crate::harness::{PATIENCE, Server, Setup};

/// Says everything back, and ends when the client does.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    let sent = match message {
                        Message::Text(_) | Message::Binary(_) => socket.send(message),
                        _ => socket.flush(),
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn connect(server: &Server) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.http()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
    let (socket, response) = tungstenite::client("ws://a.test/socket", stream).expect("a handshake");
    assert_eq!(response.status(), 101);
    socket
}

#[test]
fn messages_of_any_size_pass_both_ways_and_the_close_is_clean() {
    let site = format!("[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}]\n", echo());
    let server = Server::start(&site);
    let mut socket = connect(&server);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let message = Message::binary((0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
        socket.send(message.clone()).expect("it takes messages");
        assert_eq!(socket.read().expect("it says them back"), message, "{size}");
    }
    // Many at once, answered in order.
    for number in 0..200 {
        socket.write(Message::text(format!("message {number}"))).expect("there is room");
    }
    socket.flush().expect("it takes messages");
    for number in 0..200 {
        assert_eq!(socket.read().expect("an answer").to_text().expect("text"), format!("message {number}"));
    }
    socket.send(Message::Ping(vec![1, 2, 3].into())).expect("it takes pings");
    assert_eq!(socket.read().expect("a pong"), Message::Pong(vec![1, 2, 3].into()));
    socket.close(None).expect("it can be closed");
    let end = loop {
        if let Err(end) = socket.read() {
            break end;
        }
    };
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end:?}");
}

#[test]
fn many_sockets_at_once_keep_their_messages_apart() {
    let site = format!("[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}]\n", echo());
    let server = Server::start(&site);
    let mut sockets: Vec<_> = (0..30).map(|_| connect(&server)).collect();
    for round in 0..5 {
        for (number, socket) in sockets.iter_mut().enumerate() {
            socket.send(Message::text(format!("{number} {round}"))).expect("it takes messages");
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            let message = socket.read().expect("an answer");
            assert_eq!(message.to_text().expect("text"), format!("{number} {round}"));
        }
    }
}

#[test]
fn a_socket_lives_through_a_reload_and_ends_with_the_drain() {
    let site = format!("[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}]\n", echo());
    let mut server = Setup::new(&site).drain_timeout("1s").timeouts("tunnel_idle = \"10s\"").start();
    let mut socket = connect(&server);
    let mut says = |text: &str| {
        socket.send(Message::text(text)).expect("it takes messages");
        assert_eq!(socket.read().expect("an answer").to_text().expect("text"), text);
    };
    says("before");
    server.reload(&site);
    says("after a reload");
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_line("draining");
    says("while it drains");
    assert!(socket.read().is_err(), "its time is over, and nobody closed it");
    server.wait_for_end();
}

#[test]
fn a_socket_in_which_nothing_moves_is_closed() {
    let site = format!("[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{:?}]\n", echo());
    let server = Setup::new(&site).timeouts("tunnel_idle = \"500ms\"").start();
    let mut socket = connect(&server);
    // A ping now and then keeps it.
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(250));
        socket.send(Message::Ping(vec![1].into())).expect("it is open");
        assert_eq!(socket.read().expect("a pong"), Message::Pong(vec![1].into()));
    }
    assert!(socket.read().is_err());
}
