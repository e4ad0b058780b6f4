//! The thread that orders certificates, and what each generation wants of it.

use std::io;

use crate::config::Generation;

#[cfg(feature = "acme")]
pub(super) use with::AcmeKeeper;
#[cfg(not(feature = "acme"))]
pub(super) use without::AcmeKeeper;

#[cfg(feature = "acme")]
mod with {
    use super::{Generation, io};
    use std::path::{Path, PathBuf};

    use crate::certs::acme::{Acme, AcmeCa, AcmeSite, DnsCommand, ExternalAccount, Method};
    use crate::config::{AcmeChallenge, AcmeSource, Site, Source};

    /// Runs the thread from the first generation on that orders certificates.
    pub(in crate::control) struct AcmeKeeper {
        renewed: Box<dyn Fn() -> Renewed>,
        running: Option<(PathBuf, Acme)>,
    }

    type Renewed = Box<dyn Fn(&str) + Send>;

    impl AcmeKeeper {
        /// `renewed` is called, by the thread, when the certificate of a site is another one.
        pub(in crate::control) fn new(renewed: impl Fn(&str) + Clone + Send + 'static) -> AcmeKeeper {
            AcmeKeeper { renewed: Box::new(move || Box::new(renewed.clone())), running: None }
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
                self.running = Some((directory.to_owned(), acme));
            }
            if let Some((_, acme)) = &self.running {
                acme.install(sites);
            }
            Ok(())
        }

        /// Orders nothing more: another process goes on with what is under way, or the next one will.
        pub(in crate::control) fn end(&mut self) {
            if let Some((_, acme)) = self.running.take() {
                acme.end();
            }
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

    pub(in crate::control) struct AcmeKeeper;

    impl AcmeKeeper {
        pub(in crate::control) fn new(_: impl Fn(&str) + Clone + Send + 'static) -> AcmeKeeper {
            AcmeKeeper
        }

        #[expect(clippy::unused_self, reason = "as with the feature")]
        pub(in crate::control) fn end(&mut self) {}

        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as with the feature")]
        pub(in crate::control) fn install(&mut self, _: &Generation) -> io::Result<()> {
            Ok(())
        }
    }
}
