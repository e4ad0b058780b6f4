//! Site servers behind HTTPS: who vouches for them, and bodies both ways at once. The program itself is the site server.

use crate::harness::{Client, Issued, Server, Setup, Upstream};

/// A site server with this certificate for `inside.test`, in front of `upstream`.
fn inside(certificate: &Issued, upstream: &Upstream) -> Server {
    let sites = format!(
        "[[site]]\nname = \"inside\"\nhosts = [\"inside.test\", \"*\"]\nupstream = [{:?}]\n\
         certificate = [{{ source = \"files\", certificate = \"inside.pem\", key = \"inside.key\" }}]\n",
        upstream.url()
    );
    let setup = Setup::new(&sites);
    setup.file("inside.pem", &certificate.certificate).file("inside.key", &certificate.key).start()
}

/// In front of it: trusts `authority` alone, asks for `name`.
fn front(inside: &Server, authority: &Issued, name: &str) -> Server {
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\n\
         upstream = [{{ url = \"https://{}\", ca = \"ca.pem\", server_name = {name:?} }}]\n",
        inside.https()
    );
    Setup::new(&sites).file("ca.pem", &authority.certificate).start()
}

#[test]
fn requests_go_through_and_connections_are_kept() {
    let upstream = Upstream::echo();
    let issued = Issued::for_names(&["inside.test"]);
    let inside = inside(&issued, &upstream);
    let mut front = front(&inside, &issued, "inside.test");
    for mut client in [Client::http(front.http()), Client::https(front.https(), "a.test")] {
        for body in ["", "hello", "again"] {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(client.response().text(), body);
        }
    }
    assert!(upstream.requests().iter().all(|request| request.field("host") == Some("a.test")));
    front.stop();
    assert_eq!(front.total("upstream_connects"), 1, "one connection carried them all");
}

#[test]
fn large_bodies_pass_both_ways_at_once() {
    let upstream = Upstream::script(|peer| {
        while let Some(request) = peer.head()? {
            let size: usize = request.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes())?;
            let mut left = size;
            while left > 0 {
                let piece = peer.take(left.min(50_000))?;
                left -= piece.len();
                peer.send(&piece)?;
            }
        }
        Ok(())
    });
    let issued = Issued::for_names(&["inside.test"]);
    let inside = inside(&issued, &upstream);
    let front = front(&inside, &issued, "inside.test");
    let body: Vec<u8> = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
    for mut client in [Client::http(front.http()), Client::https(front.https(), "a.test")] {
        let mut sent = 0;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()));
        let mut received = Vec::new();
        let mut head = None;
        // Piece by piece: whoever sends all before reading would wait for itself.
        while received.len() < body.len() {
            if sent < body.len() {
                let piece = &body[sent..(sent + 200_000).min(body.len())];
                client.send(piece);
                sent += piece.len();
            }
            if head.is_none() {
                head = Some(client.response_head());
            }
            let wanted = (sent - received.len()).min(100_000);
            received.extend_from_slice(&client.take(wanted));
        }
        assert_eq!(head.expect("there was one").status(), 200);
        assert!(received == body);
    }
}

#[test]
fn a_certificate_nobody_vouches_for_is_a_bad_gateway() {
    let upstream = Upstream::saying("never");
    let issued = Issued::for_names(&["inside.test"]);
    let inside = inside(&issued, &upstream);
    let another = Issued::for_names(&["inside.test"]);
    let front = self::front(&inside, &another, "inside.test");
    assert_eq!(Client::http(front.http()).get("a.test", "/").status(), 502);
    let mut front = self::front(&inside, &issued, "other.test");
    assert_eq!(Client::http(front.http()).get("a.test", "/").status(), 502, "not for this name");
    front.wait_for_line("no TLS with a site server");
    assert!(upstream.requests().is_empty());
}

#[test]
fn authorities_that_cannot_be_had_keep_it_from_starting() {
    let setup = Setup::new(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{ url = \"https://127.0.0.1:1\", ca = \"/nowhere/ca.pem\" }]\n",
    );
    let output = setup.run_to_end();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("cannot read /nowhere/ca.pem") && text.contains("do: check the path"), "{text}");
}

/// Without `ca` those of the system may vouch: here they are in the file that `SSL_CERT_FILE` names.
#[test]
fn the_authorities_of_the_system_vouch_when_none_is_written() {
    let upstream = Upstream::saying("inside");
    let issued = Issued::for_names(&["inside.test"]);
    let inside = inside(&issued, &upstream);
    let sites = format!(
        "[[site]]\nname = \"any\"\nhosts = [\"*\"]\nupstream = [{{ url = \"https://{}\", server_name = \"inside.test\" }}]\n",
        inside.https()
    );
    let other = Issued::for_names(&["inside.test"]);
    for (system, status) in [(&issued, 200), (&other, 502)] {
        let setup = Setup::new(&sites).file("roots.pem", &system.certificate);
        let roots = setup.directory().join("roots.pem");
        let server = setup.start_with(|command| {
            command.env("SSL_CERT_FILE", roots).env("SSL_CERT_DIR", "/nonexistent");
        });
        assert_eq!(Client::http(server.http()).get("a.test", "/").status(), status);
    }
}
