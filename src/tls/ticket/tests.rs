//! Tickets sealed and opened, under clocks of our own.

use super::super::Policy;
use super::*;

const LIFETIME: Duration = Duration::from_secs(300);
const START: Moment = Moment { monotonic: 5_000, unix: 1_700_000_010_000 };

fn binding(site: &str) -> Binding {
    Binding::of(site, &Policy::default())
}

fn value(origin: Moment) -> Vec<u8> {
    origin::example_value(origin, &[7; 48])
}

fn both() -> [TicketKeys; 2] {
    [TicketKeys::random(LIFETIME).unwrap(), TicketKeys::from_secret(&[1; 32], LIFETIME).unwrap()]
}

#[test]
fn opens_until_the_lifetime_ends_and_not_after() {
    for keys in both() {
        for offset in [0, 1, 149, 150, 151, 299] {
            let began = START.plus(Duration::from_secs(offset));
            let ticket = keys.seal(&value(began), binding("a"), began).unwrap();
            let at = |ms| keys.open(&ticket, binding("a"), began.plus(Duration::from_millis(ms)));
            assert_eq!(at(0), Some(value(began)));
            assert_eq!(at(300_000), Some(value(began)), "{offset}");
            assert_eq!(at(300_001), None, "{offset}");
        }
    }
}

#[test]
fn a_renewed_ticket_keeps_the_first_time() {
    for keys in both() {
        let later = START.plus(Duration::from_secs(290));
        let ticket = keys.seal(&value(START), binding("a"), later).unwrap();
        let end = START.plus(LIFETIME);
        assert!(keys.open(&ticket, binding("a"), end).is_some());
        let past = end.plus(Duration::from_millis(1));
        assert_eq!(keys.open(&ticket, binding("a"), past), None);
        assert_eq!(keys.seal(&value(START), binding("a"), past), None);
    }
}

#[test]
fn opens_for_its_own_site_only_and_unchanged_only() {
    for keys in both() {
        let ticket = keys.seal(&value(START), binding("a"), START).unwrap();
        assert_eq!(keys.open(&ticket, binding("b"), START), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open(&changed, binding("a"), START), None, "{at}");
            assert_eq!(keys.open(&ticket[..at], binding("a"), START), None, "{at}");
        }
        assert!(!ticket.windows(48).any(|window| window == [7; 48]));
    }
}

#[test]
fn refuses_values_without_a_mark() {
    for keys in both() {
        assert_eq!(keys.seal(&[1; 200], binding("a"), START), None);
    }
}

#[test]
fn a_fleet_opens_each_others_tickets() {
    let secret = [3; 40];
    let one = TicketKeys::from_secret(&secret, LIFETIME).unwrap();
    let two = TicketKeys::from_secret(&secret, LIFETIME).unwrap();
    let other = TicketKeys::from_secret(&[4; 40], LIFETIME).unwrap();
    let hour = TicketKeys::from_secret(&secret, Duration::from_secs(3600)).unwrap();
    let ticket = one.seal(&value(START), binding("a"), START).unwrap();
    // Another machine runs for another time: only the date counts.
    let there = Moment { monotonic: 99_999_999, ..START };
    assert!(two.open(&ticket, binding("a"), there).is_some());
    assert!(other.open(&ticket, binding("a"), there).is_none());
    assert!(hour.open(&ticket, binding("a"), there).is_none());
    let behind = |ms| Moment { unix: START.unix - ms, ..START };
    assert!(two.open(&ticket, binding("a"), behind(9_999)).is_some());
    assert!(two.open(&ticket, binding("a"), behind(10_001)).is_none());
}

#[test]
fn old_keys_are_forgotten() {
    for keys in both() {
        for step in 0..10 {
            let now = START.plus(Duration::from_secs(150 * step));
            keys.seal(&value(now), binding("a"), now).unwrap();
            assert!(keys.ring.read().unwrap().keys.len() <= 4);
        }
        keys.rotate(START.plus(Duration::from_secs(10_000)));
        assert!(keys.ring.read().unwrap().keys.is_empty());
    }
}

#[test]
fn short_settings_are_refused() {
    let short = Duration::from_millis(1999);
    assert_eq!(TicketKeys::random(short).err(), Some(TlsProblem::ShortLifetime));
    assert_eq!(TicketKeys::from_secret(&[1; 31], LIFETIME).err(), Some(TlsProblem::ShortSecret));
}

#[test]
fn another_secret_seals_at_once_and_the_one_before_opens_for_a_lifetime() {
    let keys = TicketKeys::from_secret(&[1; 32], LIFETIME).unwrap();
    let new = TicketKeys::from_secret(&[2; 32], LIFETIME).unwrap();
    let late = START.plus(LIFETIME / 2);
    let old_ticket = keys.seal(&value(late), binding("a"), late).unwrap();
    assert_eq!(keys.set_secret(&[1; 32], late), Ok(false));
    assert_eq!(keys.set_secret(&[2; 31], late), Err(TlsProblem::ShortSecret));
    assert_eq!(keys.set_secret(&[2; 32], late), Ok(true));
    let ticket = keys.seal(&value(late), binding("a"), late).unwrap();
    assert!(new.open(&ticket, binding("a"), late).is_some(), "as the rest of the fleet seals");
    assert!(keys.open(&old_ticket, binding("a"), late.plus(LIFETIME)).is_some());
    let past = late.plus(LIFETIME + Duration::from_millis(1));
    assert!(keys.open(&old_ticket, binding("a"), past).is_none());
    keys.rotate(past);
    assert_eq!(keys.ring.read().unwrap().secrets.len(), 1);
    // Two changes within a lifetime: the oldest is forgotten.
    assert_eq!(keys.set_secret(&[3; 32], late), Ok(true));
    assert_eq!(keys.set_secret(&[4; 32], late), Ok(true));
    assert!(keys.open(&ticket, binding("a"), late).is_none());
}
