//! The thread that orders certificates, and what each generation wants of it.

use std::io;

use crate::config::Generation;

#[cfg(feature = "acme")]
pub(super) use with::AcmeKeeper;
#[cfg(feature = "acme")]
pub use with::orders_kept;
#[cfg(not(feature = "acme"))]
pub(super) use without::AcmeKeeper;
#[cfg(not(feature = "acme"))]
pub use without::orders_kept;

#[cfg(feature = "acme")]
mod with {
    use super::{Generation, io};
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex, PoisonError};

    use crate::admin::{OrderStore, OrderedSite, Orders};
    use crate::certs::acme::{
        self, Acme, AcmeCa, AcmeSeen, AcmeSite, AcmeStatus, DnsCommand, ExternalAccount, Method,
    };
    use crate::config::{AcmeChallenge, AcmeSource, Config, Site, Source};
    use crate::control::{StartFailure, store};

    /// Runs the thread from the first generation on that orders certificates.
    pub(in crate::control) struct AcmeKeeper {
        renewed: Box<dyn Fn() -> Renewed>,
        running: Option<(PathBuf, Acme)>,
        /// What the thread that runs tells.
        seen: Arc<Mutex<Option<AcmeSeen>>>,
    }

    type Renewed = Box<dyn Fn(&str) + Send>;

    impl AcmeKeeper {
        /// `renewed` is called, by the thread, when the certificate of a site is another one.
        pub(in crate::control) fn new(renewed: impl Fn(&str) + Clone + Send + 'static) -> AcmeKeeper {
            AcmeKeeper {
                renewed: Box::new(move || Box::new(renewed.clone())),
                running: None,
                seen: Arc::default(),
            }
        }

        /// From here on the certificates of this generation are ordered.
        ///
        /// # Errors
        /// When no thread can be had.
        pub(in crate::control) fn install(&mut self, generation: &Generation) -> io::Result<()> {
            let config = &generation.config;
            let sites: Vec<AcmeSite> = config.sites.iter().filter_map(acme_site).collect();
            let directory: &Path = &config.state_directory;
            self.running.take_if(|(known, _)| known != directory);
            if self.running.is_none() && !sites.is_empty() {
                let acme = Acme::start(directory, generation.challenges.clone(), (self.renewed)())?;
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(acme.seen().clone());
                self.running = Some((directory.to_owned(), acme));
            }
            if let Some((_, acme)) = &self.running {
                match store::settings(config) {
                    Ok(store) => acme.install(sites, store),
                    // It was good when the generation was built.
                    Err((_, problem)) => {
                        tracing::error!("the fleet's store is not used: {problem}");
                        acme.install(sites, None);
                    }
                }
            }
            Ok(())
        }

        /// Orders the certificate of a site now. False: none of it is ordered.
        pub(in crate::control) fn renew(&self, site: &str) -> bool {
            self.running.as_ref().is_some_and(|(_, acme)| acme.renew(site))
        }

        /// What there is to see of it, at any time.
        pub(in crate::control) fn seen(&self) -> impl Fn() -> Option<Orders> + Send + Sync + 'static {
            let seen = self.seen.clone();
            move || seen.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(orders)
        }

        /// Whether what a configuration names for the fleet's store can be used.
        ///
        /// # Errors
        /// It cannot.
        pub(in crate::control) fn verify(config: &Config) -> Result<(), StartFailure> {
            let settings = store::settings(config).map(drop);
            settings.map_err(|(place, problem)| StartFailure::Store(place, problem))
        }
    }

    /// How far each certificate is, as the state directory says. `now`: seconds since 1970.
    pub fn orders_kept(config: &Config, now: i64) -> Vec<OrderedSite> {
        let wanted = config.sites.iter().filter_map(acme_site);
        wanted.map(|wanted| ordered_site(acme::status_kept(&config.state_directory, wanted, now))).collect()
    }

    fn ordered_site(status: AcmeStatus) -> OrderedSite {
        OrderedSite {
            site: status.site,
            names: status.names,
            state: status.state.word(),
            authority: status.issuer,
            not_after: status.not_after,
            next: status.next,
            next_authority: status.next_ca,
            last_error: status.last_error,
        }
    }

    fn orders(seen: &AcmeSeen) -> Orders {
        Orders {
            results: seen.results().into(),
            sites: seen.statuses().into_iter().map(ordered_site).collect(),
            store: seen
                .store()
                .map(|store| OrderStore { is_up: store.is_up(), failures: store.failures().collect() }),
        }
    }

    /// What a site wants ordered; `None`: nothing.
    fn acme_site(site: &Site) -> Option<AcmeSite> {
        let sources: Vec<&AcmeSource> = site
            .certificate
            .iter()
            .filter_map(|written| match &written.source {
                Source::Acme(source) => Some(&**source),
                _ => None,
            })
            .collect();
        // Each CA must be able to issue what another may.
        let all: Vec<Vec<String>> = sources.iter().map(|source| site.acme_names(source)).collect();
        let names: Vec<String> = all
            .first()?
            .iter()
            .filter(|name| all.iter().all(|names| names.contains(*name)))
            .cloned()
            .collect();
        if !site.ssl || names.is_empty() {
            return None;
        }
        Some(AcmeSite { site: site.name.clone(), names, cas: sources.into_iter().map(ca).collect() })
    }

    fn ca(source: &AcmeSource) -> AcmeCa {
        let method = match (&source.challenge, &source.dns) {
            (AcmeChallenge::Http01, _) => Method::Http01,
            (AcmeChallenge::TlsAlpn01, _) => Method::TlsAlpn01,
            (AcmeChallenge::Dns01, dns) => {
                let dns = dns.as_ref().expect("the configuration wants a command for dns-01");
                Method::Dns01(DnsCommand { run: dns.run.clone(), timeout: dns.timeout })
            }
        };
        let binding = source.eab.as_ref();
        AcmeCa {
            directory_url: source.directory_url.clone(),
            contact: source.contact.clone(),
            method,
            profile: source.profile.clone(),
            external_account: binding.map(|binding| ExternalAccount {
                key_id: binding.key_id.clone(),
                key_file: binding.key_file.clone(),
            }),
            ca: source.ca.clone(),
        }
    }
}

/// Without the feature there is no such source, and nothing to do.
#[cfg(not(feature = "acme"))]
mod without {
    use super::{Generation, io};
    use crate::admin::{OrderedSite, Orders};
    use crate::config::Config;
    use crate::control::StartFailure;

    pub(in crate::control) struct AcmeKeeper;

    /// Nothing is ordered.
    pub fn orders_kept(_: &Config, _: i64) -> Vec<OrderedSite> {
        Vec::new()
    }

    impl AcmeKeeper {
        pub(in crate::control) fn new(_: impl Fn(&str) + Clone + Send + 'static) -> AcmeKeeper {
            AcmeKeeper
        }

        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as with the feature")]
        pub(in crate::control) fn install(&mut self, _: &Generation) -> io::Result<()> {
            Ok(())
        }

        #[expect(clippy::unused_self, reason = "as with the feature")]
        pub(in crate::control) fn renew(&self, _: &str) -> bool {
            false
        }

        #[expect(clippy::unused_self, reason = "as with the feature")]
        pub(in crate::control) fn seen(&self) -> impl Fn() -> Option<Orders> + Send + Sync + 'static {
            || None
        }

        #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
        pub(in crate::control) fn verify(_: &Config) -> Result<(), StartFailure> {
            Ok(())
        }
    }
}
