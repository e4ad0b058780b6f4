//! A ticket that these keys did not make opens to nothing; one they made opens to what went in, on its site.

use std::sync::Arc;
use std::time::Duration;

use portcullis::tls::{Binding, Clock, Moment, Policy, Sessions, TicketKeys, Versions};

pub fn check(bytes: &[u8]) {
    let policy = |versions| Policy::speaking(versions, &["http/1.1"]);
    let keys = TicketKeys::random(Duration::from_secs(300)).map_err(|_| ()).expect("long enough");
    let clock: Arc<dyn Clock> = Arc::new(|| Moment { monotonic: 1_000, unix: 1_000 });
    let sessions = Sessions::Tickets { keys: Arc::new(keys), clock };
    let tickets = |name, versions| sessions.for_site(Binding::of(name, &policy(versions))).tickets();
    let own = tickets("a", Versions::Tls12And13);
    assert_eq!(own.decrypt(bytes), None);
    let Some(ticket) = own.encrypt(bytes) else {
        // No session: it does not say when it began.
        return;
    };
    assert_eq!(own.decrypt(&ticket).as_deref(), Some(bytes));
    assert_eq!(tickets("b", Versions::Tls12And13).decrypt(&ticket), None);
    for at in [0, ticket.len() / 2, ticket.len() - 1] {
        let mut other = ticket.clone();
        other[at] ^= 1;
        assert_eq!(own.decrypt(&other), None, "{at}");
        assert_eq!(own.decrypt(&ticket[..at]), None, "{at}");
    }
}
