//! What a site's responses are told besides what the site server said, for every version of HTTP.

use super::service::Service;
use super::session_cookies::SessionCookies;
use crate::config::ServedSite;
use crate::http::cookies::Judge;
use crate::http::{BodyEnd, Reuse, Scheme, Version};
use crate::http1::Reply;

/// Calls `write` with it. `site`: `None` for answers of our own, which say it themselves.
pub(super) fn with_reply<T>(
    service: &Service,
    site: Option<&ServedSite>,
    scheme: Scheme,
    (client, reuse, body): (Version, Reuse, BodyEnd),
    write: impl FnOnce(&Reply<'_>) -> T,
) -> T {
    let sealing = site.and_then(|site| SessionCookies::of(service, site, scheme));
    let judge = sealing
        .as_ref()
        .map(|sealing| |name: &[u8], value: &[u8], out: &mut Vec<u8>| sealing.outgoing(name, value, out));
    // Where values are sealed, on HTTP these cookies do not go out at all.
    let cookies = site.filter(|_| scheme == Scheme::Https || judge.is_some());
    let date = service.local.clock.date();
    write(&Reply {
        client,
        reuse,
        body,
        date: &date,
        scheme,
        session_cookies: cookies.map_or(&[], |site| &site.session_cookies),
        cookies: judge.as_ref().map(|judge| judge as &Judge<'_>),
        hsts: site.and_then(|site| site.hsts_on(scheme)),
        location: None,
    })
}
