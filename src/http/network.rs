//! Networks: the addresses of peers whose word counts.

use std::fmt;
use std::net::IpAddr;

/// An address and how many of its first bits count: `10.0.0.0/8`. The other bits are zero.
///
/// IPv4 as IPv6 writes it (`::ffff:10.0.0.0/104`) is kept as IPv4, as addresses of peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    // <= 32 for IPv4, <= 128 for IPv6
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNetwork {
    NotAnAddress,
    /// No number after the slash, or one past the bits of the address.
    Prefix,
    /// There are ones behind the prefix; the network that holds the address is given.
    BitsBehind(Network),
}

impl Network {
    /// `192.0.2.0/24`, `2001:db8::/32`, or an address alone, with or without brackets around IPv6.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Network, BadNetwork> {
        let (written, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: IpAddr = match bare {
            Some(bare) => IpAddr::V6(bare.parse().map_err(|_| BadNetwork::NotAnAddress)?),
            None => written.parse().map_err(|_| BadNetwork::NotAnAddress)?,
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            // Digits only: `u8::from_str` would take a plus sign.
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|prefix| *prefix <= bits).ok_or(BadNetwork::Prefix)?
            }
            Some(_) => return Err(BadNetwork::Prefix),
        };
        let (address, prefix) = match address.to_canonical() {
            // A prefix that reaches out of the mapped range is a network of IPv6.
            IpAddr::V4(v4) if address.is_ipv6() && prefix >= 96 => (IpAddr::V4(v4), prefix - 96),
            _ => (address, prefix),
        };
        let network = Network { address: masked(address, prefix), prefix };
        if network.address == address { Ok(network) } else { Err(BadNetwork::BitsBehind(network)) }
    }

    /// Whether the address is in it. IPv4 in an IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

/// With a slash, also for one address.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    #[test]
    fn reads_networks() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("[2001:db8::1]", "2001:db8::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/95", "::/95"),
        ] {
            assert_eq!(network(text).to_string(), shown, "{text}");
        }
        for (text, why) in [
            ("", BadNetwork::NotAnAddress),
            ("/8", BadNetwork::NotAnAddress),
            ("10.0.0/8", BadNetwork::NotAnAddress),
            ("lb.example/32", BadNetwork::NotAnAddress),
            ("10.0.0.0:80", BadNetwork::NotAnAddress),
            ("[10.0.0.0]/8", BadNetwork::NotAnAddress),
            ("fe80::1%eth0", BadNetwork::NotAnAddress),
            ("10.0.0.0/", BadNetwork::Prefix),
            ("10.0.0.0/33", BadNetwork::Prefix),
            ("10.0.0.0/+8", BadNetwork::Prefix),
            ("10.0.0.0/255.0.0.0", BadNetwork::Prefix),
            ("::/129", BadNetwork::Prefix),
            ("10.1.2.3/8", BadNetwork::BitsBehind(network("10.0.0.0/8"))),
            ("2001:db8::1/32", BadNetwork::BitsBehind(network("2001:db8::/32"))),
        ] {
            assert_eq!(Network::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn holds_the_addresses_that_begin_alike() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.6"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }
}
