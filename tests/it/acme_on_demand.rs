//! Names that are ordered when a client asks for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Pebble, Setup, Tls, Upstream, site, wait_until};

/// The certificate for a name, and whether it was ordered.
fn served(address: SocketAddr, name: &str) -> (bool, Vec<u8>) {
    let der = Tls::new().sni(name).connect(address).expect("a handshake").certificate();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("a certificate");
    (certificate.issuer().to_string().contains("Pebble"), der.clone())
}

fn setup(pebble: &Pebble, upstream: &Upstream, on_demand: &str) -> Setup {
    let source = pebble.source(&format!("on_demand = {{ {on_demand} }}"));
    let site = site("shops", &["*.shops.test", "*.other.test"], upstream);
    // What is remembered of a name is not remembered for long.
    Setup::new(&format!("{site}certificate = [{source}]\n"))
        .listen(&pebble.listen())
        .table("certificate_cache", "lifetime = \"1s\"")
}

#[test]
fn a_name_is_ordered_when_a_client_asks_for_it_within_a_budget() {
    let Some(pebble) = Pebble::start() else { return };
    let upstream = Upstream::saying("hello");
    let state = tempfile::tempdir().expect("a directory");
    let on_demand = "allow = [\"*.shops.test\"], per_hour = 2";
    let mut server = setup(&pebble, &upstream, on_demand).state_directory(state.path()).start();
    // The first client waits for it, when the authority is quick.
    for name in ["one.shops.test", "two.shops.test"] {
        wait_until("it is ordered", || served(server.https(), name).0);
    }
    assert!(!served(server.https(), "three.shops.test").0, "two are the budget");
    server.wait_for_line("the budget of this hour is spent");
    assert!(!served(server.https(), "one.other.test").0, "it is not allowed");
    assert!(!server.log_text().contains("one.other.test@"), "{}", server.log_text());
    let first = served(server.https(), "one.shops.test").1;
    server.stop();
    let orders = server.log_text().matches("certificate issued").count();
    assert_eq!(orders, 2);

    // The next process has them, and asks nobody.
    let again = setup(&pebble, &upstream, on_demand).state_directory(state.path());
    drop(pebble);
    let server = again.start();
    assert!(served(server.https(), "one.shops.test") == (true, first));
}

#[test]
fn whether_a_name_may_is_asked_and_again_for_each_renewal() {
    let setup_of_ca = crate::harness::PebbleSetup { validity: 30, ..crate::harness::PebbleSetup::default() };
    let Some(pebble) = setup_of_ca.start() else { return };
    let upstream = Upstream::saying("hello");
    let may = Arc::new(AtomicBool::new(true));
    let says = may.clone();
    let asked = Upstream::script(move |peer| {
        while let Some(request) = peer.request()? {
            let is_customer =
                request.target().contains("domain=one.shops.test") && says.load(Ordering::SeqCst);
            let status = if is_customer { "200 OK" } else { "404 Not Found" };
            peer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        }
        Ok(())
    });
    let mut server = setup(&pebble, &upstream, &format!("ask = \"{}/allowed\"", asked.url())).start();
    wait_until("it is ordered", || served(server.https(), "one.shops.test").0);
    assert!(!served(server.https(), "two.shops.test").0);
    server.wait_for_line("it may not have one");
    let targets = |name: &str| {
        let wanted = format!("/allowed?domain={name}");
        asked.requests().iter().filter(|request| request.target() == wanted).count()
    };
    // Once for each client whose patience ended before the order did.
    let asked_at_first = targets("one.shops.test");
    assert!(asked_at_first > 0 && targets("two.shops.test") == 1);
    let first = served(server.https(), "one.shops.test").1;
    // While clients come, it is renewed.
    wait_until("it is renewed", || served(server.https(), "one.shops.test").1 != first);
    assert!(targets("one.shops.test") > asked_at_first);
    assert!(!server.log_text().contains("ordering a certificate site=\"shops@two"), "{}", server.log_text());
}
