//! Which of a site's servers an exchange goes to.
//!
//! One balancer for each site and worker, made anew with each generation; what it knows of the servers' health is theirs
//! and stays. Every choice looks at all servers of the site: a few additions each, and sites have few.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use super::passive::{HealthRules, WARM};
use super::pool::Upstream;
use crate::config::Balance;

/// Servers one request may be sent to, one after another.
pub const TRIES_MAX: usize = 8;

pub struct Balancer {
    balance: Balance,
    servers: Vec<Server>,
    // Among equals it goes round.
    turn: Cell<usize>,
}

struct Server {
    upstream: Rc<Upstream>,
    weight: u64,
    // Of smooth weighted round robin, as nginx does it.
    current: Cell<i64>,
    // Tells servers apart for the hash, in all workers and processes alike.
    seed: u64,
}

/// The servers a request was sent to already.
#[derive(Default)]
pub struct Tried {
    servers: [u16; TRIES_MAX],
    // count <= TRIES_MAX
    count: usize,
}

impl Tried {
    pub fn add(&mut self, server: usize) {
        if let Some(slot) = self.servers.get_mut(self.count) {
            *slot = server as u16;
            self.count += 1;
        }
    }

    fn has(&self, server: usize) -> bool {
        self.servers[..self.count].contains(&(server as u16))
    }

    fn is_full(&self) -> bool {
        self.count == TRIES_MAX
    }
}

impl Balancer {
    pub(super) fn new(balance: Balance, servers: impl Iterator<Item = (Rc<Upstream>, u32)>) -> Balancer {
        let servers = servers.map(|(upstream, weight)| {
            let seed = hash(upstream.label().as_bytes(), 0);
            Server { upstream, weight: u64::from(weight), current: Cell::new(0), seed }
        });
        Balancer { balance, servers: servers.collect(), turn: Cell::new(0) }
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub fn server(&self, index: usize) -> &Rc<Upstream> {
        &self.servers[index].upstream
    }

    /// The server to ask; `None`: all that are well were tried. `visitor`: what the hash goes by.
    pub fn pick(&self, rules: &HealthRules, now: u64, visitor: IpAddr, tried: &Tried) -> Option<usize> {
        if tried.is_full() {
            return None;
        }
        let usable = |index: &usize| !tried.has(*index) && self.servers[*index].upstream.is_usable(now);
        let picked = match self.servers.as_slice() {
            [_] => Some(0).filter(usable),
            _ => match self.balance {
                Balance::RoundRobin => self.in_turn(rules, now, usable),
                Balance::LeastConnections => self.least(rules, now, usable),
                Balance::Hash => self.by_hash(number_of(visitor), usable),
            },
        };
        if let Some(index) = picked {
            self.servers[index].upstream.tried(rules, now);
        }
        picked
    }

    /// Whether [`pick`](Self::pick) would find one.
    pub fn has_usable(&self, now: u64, tried: &Tried) -> bool {
        let usable = |index| !tried.has(index) && self.servers[index].upstream.is_usable(now);
        !tried.is_full() && (0..self.servers.len()).any(usable)
    }

    fn in_turn(&self, rules: &HealthRules, now: u64, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for index in (0..self.servers.len()).filter(usable) {
            let server = &self.servers[index];
            let share = server.share(rules, now) as i64;
            total += share;
            let current = server.current.get() + share;
            server.current.set(current);
            if best.is_none_or(|(_, most)| current > most) {
                best = Some((index, current));
            }
        }
        let (index, current) = best?;
        self.servers[index].current.set(current - total);
        Some(index)
    }

    fn least(&self, rules: &HealthRules, now: u64, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let count = self.servers.len();
        let first = self.turn.get() % count;
        self.turn.set(first + 1);
        let order = (0..count).map(|step| (first + step) % count).filter(usable);
        // Fewest under way for its share: compared crosswise, without fractions. The first of equals.
        order
            .map(|index| {
                let server = &self.servers[index];
                (index, u64::from(server.upstream.under_way()) + 1, server.share(rules, now))
            })
            .reduce(|best, other| if other.1 * best.2 < best.1 * other.2 { other } else { best })
            .map(|(index, ..)| index)
    }

    /// Weighted rendezvous: a server that goes or comes moves its own visitors and no others.
    fn by_hash(&self, visitor: u64, usable: impl Fn(&usize) -> bool) -> Option<usize> {
        let score = |index: usize| {
            let server = &self.servers[index];
            // Between 0 and 1, neither of them.
            let unit = ((mix(visitor ^ server.seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -(server.weight as f64) / unit.ln()
        };
        (0..self.servers.len()).filter(usable).max_by(|a, b| score(*a).total_cmp(&score(*b)))
    }
}

impl Server {
    fn share(&self, rules: &HealthRules, now: u64) -> u64 {
        self.weight * self.upstream.warmth(rules, now).min(WARM)
    }
}

fn number_of(visitor: IpAddr) -> u64 {
    match visitor.to_canonical() {
        IpAddr::V4(v4) => hash(&v4.octets(), 0),
        IpAddr::V6(v6) => hash(&v6.octets(), 0),
    }
}

/// FNV-1a: the same in every process, so that the machines of a fleet send a visitor to the same server.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The finalizer of SplitMix64: every bit depends on every bit.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::tests::server;
    use std::time::Duration;

    const RULES: HealthRules = HealthRules {
        eject_after: 1,
        ejection: Duration::from_secs(1),
        ejection_max: Duration::from_secs(8),
        slow_start: Duration::from_secs(10),
    };

    fn balancer(balance: Balance, weights: &[u32]) -> Balancer {
        let servers = weights.iter().enumerate().map(|(number, weight)| (server(number as u16 + 1), *weight));
        Balancer::new(balance, servers)
    }

    fn address(number: u64) -> IpAddr {
        IpAddr::from((number as u32).to_be_bytes())
    }

    fn counts(balancer: &Balancer, now: u64, rounds: u64) -> Vec<usize> {
        let mut counts = vec![0; balancer.len()];
        for visitor in 0..rounds {
            counts[balancer.pick(&RULES, now, address(visitor), &Tried::default()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_goes_by_weight_and_smoothly() {
        let balancer = balancer(Balance::RoundRobin, &[5, 1, 1]);
        let picks: Vec<_> =
            (0..7).map(|_| balancer.pick(&RULES, 0, address(0), &Tried::default()).unwrap()).collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn what_was_tried_or_is_out_is_not_picked() {
        for balance in [Balance::RoundRobin, Balance::LeastConnections, Balance::Hash] {
            let balancer = balancer(balance, &[1, 1, 1]);
            let mut tried = Tried::default();
            let mut seen = Vec::new();
            while let Some(index) = balancer.pick(&RULES, 0, address(7), &tried) {
                tried.add(index);
                seen.push(index);
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2], "{balance:?}");
            balancer.server(1).failed(&RULES, 0);
            assert_eq!(counts(&balancer, 1, 90)[1], 0, "{balance:?}");
        }
    }

    #[test]
    fn one_that_is_back_is_asked_once_until_it_answers_and_then_warms_up() {
        let balancer = balancer(Balance::RoundRobin, &[1, 1]);
        balancer.server(0).failed(&RULES, 0);
        assert_eq!(counts(&balancer, 999, 10), [0, 10]);
        assert_eq!(counts(&balancer, 1000, 10)[0], 1);
        balancer.server(0).answered(1000);
        let early = counts(&balancer, 2000, 1100)[0];
        assert!((80..=120).contains(&early), "{early}");
        assert_eq!(counts(&balancer, 12_000, 100), [50, 50]);
    }

    #[test]
    fn least_connections_goes_to_the_one_with_fewest_for_its_weight() {
        let balancer = balancer(Balance::LeastConnections, &[1, 2]);
        let mut held = Vec::new();
        for _ in 0..9 {
            let index = balancer.pick(&RULES, 0, address(0), &Tried::default()).unwrap();
            held.push(Upstream::busy(balancer.server(index)));
        }
        assert_eq!([balancer.server(0).under_way(), balancer.server(1).under_way()], [3, 6]);
    }

    #[test]
    fn the_hash_keeps_visitors_where_they_are() {
        let three = balancer(Balance::Hash, &[1, 1, 2]);
        let counts = counts(&three, 0, 4000);
        assert!((800..1200).contains(&counts[0]) && (1800..2200).contains(&counts[2]), "{counts:?}");
        let two = Balancer::new(Balance::Hash, (0..2).map(|number| (server(number + 1), 1)));
        for visitor in (0..1000).map(address) {
            let before = three.pick(&RULES, 0, visitor, &Tried::default()).unwrap();
            if before < 2 {
                assert_eq!(two.pick(&RULES, 0, visitor, &Tried::default()), Some(before));
            }
        }
    }

    #[test]
    fn nobody_is_picked_when_all_are_out() {
        let balancer = balancer(Balance::RoundRobin, &[1]);
        balancer.server(0).failed(&RULES, 0);
        assert_eq!(balancer.pick(&RULES, 500, address(0), &Tried::default()), None);
        assert_eq!(balancer.pick(&RULES, 1000, address(0), &Tried::default()), Some(0));
        assert_eq!(balancer.pick(&RULES, 1000, address(0), &Tried::default()), None, "one request tries it");
    }
}
