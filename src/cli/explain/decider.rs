//! A configuration made ready to decide, without sockets, certificates or threads.

use crate::config::Config;
use crate::control::{self, StartFailure};
use crate::dispatch::{Covers, Decision, Handshake, Host, Question, Sites};
use crate::http::Scheme;

/// The sites as the server compiles them, beside the configuration they are from.
pub struct Decider {
    pub config: Config,
    /// In the order of `config.sites`. A port the system would choose is 0 in them.
    pub sites: Sites,
}

impl Decider {
    /// # Errors
    /// As building a generation for these sites would fail.
    pub fn new(config: Config) -> Result<Decider, StartFailure> {
        let sites = control::sites(&config, config.listen.ports(0, 0))?;
        Ok(Decider { config, sites })
    }

    /// What a request gets. On https the handshake is taken to have chosen the site of the host: clients ask for
    /// the name they are going to.
    pub fn decide<'a>(
        &'a self,
        scheme: Scheme,
        authority: &'a [u8],
        method: &'a [u8],
        target: &'a [u8],
    ) -> Decision<'a> {
        let site = match (scheme, Host::parse(authority)) {
            (Scheme::Https, Ok(host)) => self.sites.find(host.name),
            _ => None,
        };
        let handshake = site.map(|site| Handshake { site: Some(site), certificate: &OfTheSite });
        self.sites.decide(&Question { scheme, handshake, authority, method, target })
    }
}

/// The certificate of the host's own site is never asked about the host.
struct OfTheSite;

impl Covers for OfTheSite {
    fn covers(&self, _host: &[u8]) -> bool {
        false
    }
}
