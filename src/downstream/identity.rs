//! Who the client is by its certificate: told to the site server, and nobody else's word for it passed on.

use crate::config::{CLIENT_AUTH_HEADER, CLIENT_AUTH_IDENTITY, Generation, IDENTITY_FIELDS_MAX};
use crate::dispatch::SiteId;
use crate::tls::IdentityForm;

use super::Visitor;

/// Fields to set in a request. Those of all sites are taken out of every request, whatever site and scheme it is
/// for: sites may share a server.
pub(super) struct IdentityFields<'a> {
    fields: [(&'a [u8], &'a [u8]); IDENTITY_FIELDS_MAX],
    count: usize,
}

impl<'a> IdentityFields<'a> {
    pub(super) fn of(generation: &'a Generation, visitor: &'a Visitor, site: SiteId) -> IdentityFields<'a> {
        let mut fields: [(&[u8], &[u8]); IDENTITY_FIELDS_MAX] = [(b"", b""); IDENTITY_FIELDS_MAX];
        let names = generation.identity_fields();
        if names.is_empty() {
            return IdentityFields { fields, count: 0 };
        }
        let identity = visitor.handshake.as_ref().and_then(|shaken| shaken.identity.as_deref());
        let (told_in, _) = told(generation, site);
        for (field, name) in fields.iter_mut().zip(names) {
            let is_it = name.eq_ignore_ascii_case(told_in.as_bytes());
            *field = (name, identity.filter(|_| is_it).unwrap_or_default());
        }
        IdentityFields { fields, count: names.len().min(IDENTITY_FIELDS_MAX) }
    }

    pub(super) fn as_slice(&self) -> &[(&'a [u8], &'a [u8])] {
        &self.fields[..self.count]
    }
}

/// In which field and form a site's server is told.
pub(super) fn told(generation: &Generation, site: SiteId) -> (&str, IdentityForm) {
    let auth = generation.config.sites.get(site.index()).and_then(|site| site.client_auth.as_ref());
    auth.map_or((CLIENT_AUTH_HEADER, CLIENT_AUTH_IDENTITY), |auth| (&auth.header, auth.identity))
}
