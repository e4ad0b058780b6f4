//! One order, from the account to a certificate that is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::failure::{OrderFailure, at};
use super::files::{Kept, OrderOf, SiteFiles, UnderWay, certificate_text};
use super::presented::Presented;
use super::settings::{AcmeCa, AcmeSite, Method};
use super::store::Fleet;
use crate::certs::{CertificateProblem, CertificateTrouble, verify};
use crate::tls::{PendingChallenges, ServerConfigs};

/// One request to a CA.
const REQUEST: Duration = Duration::from_secs(60);
/// Until a CA has validated, or issued.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(PATIENCE);
/// A CA may reject any nonce (RFC 8555 §6.5); the client tries thrice by itself.
const NONCES_MAX: usize = 10;

/// What all orders share.
pub(super) struct Means {
    pub state_directory: PathBuf,
    pub challenges: Arc<PendingChallenges>,
    pub configs: ServerConfigs,
}

/// What is ordered.
pub(super) struct Wanted<'a> {
    pub site: &'a AcmeSite,
    /// One of the site's.
    pub ca: &'a AcmeCa,
    /// Who gives the answers, too.
    pub fleet: Option<&'a Fleet>,
    /// The certificate that the new one takes the place of, when the same CA issued it (RFC 9773 §5).
    pub replaces: Option<CertificateDer<'static>>,
    /// Seconds since 1970.
    pub now: i64,
}

/// A certificate, and the file it is kept in.
pub(super) struct Ordered {
    pub kept: Kept,
    pub text: Zeroizing<String>,
}

/// Orders, or goes on with the order that a process before this one had under way, and proves what comes of it.
/// Nothing is kept yet.
pub(super) async fn order(
    means: &Means,
    account: &Account,
    mut wanted: Wanted<'_>,
) -> Result<Ordered, OrderFailure> {
    let files = SiteFiles::new(&means.state_directory, &wanted.site.site);
    let of = OrderOf { directory_url: &wanted.ca.directory_url, names: &wanted.site.names };
    let mut left = files.under_way()?;
    if left.take_if(|left| left.of != of.to_string()).is_some() {
        files.forget_order()?;
    }
    // The CA may have given up on it meanwhile; that is no failure of a new one.
    let mut may_be_stale = left.is_some();
    for _ in 0..NONCES_MAX {
        let failure = match run(means, account, &files, &wanted, of).await {
            Ok(ordered) => return Ok(ordered),
            Err(failure) => failure,
        };
        if failure.is_type("badNonce") {
            continue;
        }
        if failure.is_type("accountDoesNotExist")
            || failure.kind() != crate::tls::renewal::Failure::Unreachable
        {
            files.forget_order()?;
        }
        if failure.is_type("alreadyReplaced") && wanted.replaces.take().is_some() {
            continue;
        }
        let Some(stale) = Some(failure)
            .filter(|failure| !(may_be_stale && failure.kind() == crate::tls::renewal::Failure::Refused))
        else {
            tracing::info!(
                site = wanted.site.site,
                "the order left by an earlier process is of no use: making another"
            );
            may_be_stale = false;
            continue;
        };
        return Err(stale);
    }
    Err(OrderFailure::Internal("the CA rejected nonce after nonce".to_owned()))
}

async fn run(
    means: &Means,
    account: &Account,
    files: &SiteFiles,
    wanted: &Wanted<'_>,
    of: OrderOf<'_>,
) -> Result<Ordered, OrderFailure> {
    let (mut order, mut key) = match files.under_way()? {
        Some(UnderWay { url, key, .. }) => {
            tracing::debug!(site = wanted.site.site, step = "resume", "acme");
            let order = account.order(url);
            (within("order", async { order.await.map_err(at("order")) }).await?, key)
        }
        None => {
            let order = new_order(account, wanted).await?;
            files.put_order(order.url(), of, "")?;
            (order, None)
        }
    };
    if order.state().status == OrderStatus::Pending {
        let mut presented = Presented::new(&means.challenges, wanted.fleet);
        let validated = validate(&mut order, wanted, &mut presented).await;
        presented.take_back().await;
        validated?;
    }
    if order.state().status == OrderStatus::Ready {
        let text = finalize(&mut order, files, wanted, of).await?;
        key = Some(text);
    }
    if order.state().status == OrderStatus::Invalid {
        return Err(why_not(&mut order).await);
    }
    let key = key.ok_or_else(|| {
        OrderFailure::Setting("the order was finalized with a key that is not here".to_owned())
    })?;
    tracing::debug!(site = wanted.site.site, step = "download", "acme");
    let chain =
        within_long("certificate", async { order.poll_certificate(&POLL).await.map_err(at("certificate")) })
            .await?;
    tracing::debug!(site = wanted.site.site, step = "keep", "acme");
    let text = certificate_text(&wanted.ca.directory_url, &key, &chain);
    let kept = accept(files, &text, wanted.site, &means.configs, wanted.now)?;
    Ok(Ordered { kept, text })
}

async fn new_order(account: &Account, wanted: &Wanted<'_>) -> Result<Order, OrderFailure> {
    tracing::debug!(site = wanted.site.site, step = "order", "acme");
    let identifiers: Vec<Identifier> = wanted
        .site
        .names
        .iter()
        .map(|name| match bare(name).parse() {
            Ok(address) => Identifier::Ip(address),
            Err(_) => Identifier::Dns(name.clone()),
        })
        .collect();
    let mut new = NewOrder::new(&identifiers);
    if let Some(profile) = &wanted.ca.profile {
        if !account.profiles().any(|known| known.name == profile) {
            let known: Vec<&str> = account.profiles().map(|known| known.name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(OrderFailure::Setting(format!(
                "the CA has no profile \"{profile}\"; it has: {known}"
            )));
        }
        new = new.profile(profile);
    }
    let replaces = wanted.replaces.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
    let plain = NewOrder::new(&identifiers);
    let replacing = match replaces {
        Some(replaces) => new.replaces(replaces),
        None => new,
    };
    let made = within("order", async { account.new_order(&replacing).await.map_err(at("order")) }).await;
    match made {
        // A CA without renewal information.
        Err(OrderFailure::Ca { error: instant_acme::Error::Unsupported(_), .. }) => {
            let new = match &wanted.ca.profile {
                Some(profile) => plain.profile(profile),
                None => plain,
            };
            within("order", async { account.new_order(&new).await.map_err(at("order")) }).await
        }
        other => other,
    }
}

/// Has the CA validate every name that it has not validated before.
async fn validate(
    order: &mut Order,
    wanted: &Wanted<'_>,
    presented: &mut Presented<'_>,
) -> Result<(), OrderFailure> {
    let method = &wanted.ca.method;
    let kind = match method {
        Method::Http01 => ChallengeType::Http01,
        Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Method::Dns01(_) => ChallengeType::Dns01,
    };
    tracing::debug!(site = wanted.site.site, step = "present", "acme");
    let mut authorizations = order.authorizations();
    while let Some(authorization) = within("authorization", async { Ok(authorizations.next().await) }).await?
    {
        let mut authorization = authorization.map_err(at("authorization"))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(challenge) = authorization.challenge(kind.clone()) else {
            return Err(OrderFailure::NotOffered { name, method: method.word() });
        };
        let host = match challenge.identifier().identifier {
            Identifier::Dns(host) => host.clone(),
            Identifier::Ip(address) => address.to_string(),
            _ => return Err(OrderFailure::NotOffered { name, method: method.word() }),
        };
        let authorization = challenge.key_authorization();
        match method {
            Method::Http01 => presented.http(&challenge.token, authorization.as_str()),
            Method::TlsAlpn01 => presented.alpn(&host, authorization.digest().as_ref())?,
            Method::Dns01(command) => presented.dns(command, &host, authorization.dns_value()).await?,
        }
    }
    presented.share().await?;
    tracing::debug!(site = wanted.site.site, step = "validate", "acme");
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(at("authorization"))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(kind.clone())
            && challenge.status == ChallengeStatus::Pending
        {
            within("challenge", async { challenge.set_ready().await.map_err(at("challenge")) }).await?;
        }
    }
    let ready =
        within_long("validation", async { order.poll_ready(&POLL).await.map_err(at("validation")) }).await;
    match ready {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) | Err(OrderFailure::Ca { error: instant_acme::Error::Api(_), .. })
            if order.state().status == OrderStatus::Invalid =>
        {
            Err(why_not(order).await)
        }
        Ok(_) => Err(OrderFailure::TimedOut { step: "validation" }),
        Err(failure) => Err(failure),
    }
}

/// Why an order is invalid: what the CA says of the first challenge it was not content with.
async fn why_not(order: &mut Order) -> OrderFailure {
    let told = order.state().error.as_ref().map(ToString::to_string);
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if within("authorization", async {
            authorization.refresh().await.map(drop).map_err(at("authorization"))
        })
        .await
        .is_err()
        {
            break;
        }
        let name = authorization.identifier().to_string();
        if let Some(error) = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return OrderFailure::NotValidated { name, why: error.to_string() };
        }
    }
    let why = told.unwrap_or_else(|| "it does not say why".to_owned());
    OrderFailure::NotValidated { name: "the order".to_owned(), why }
}

/// Makes a key, keeps it, and asks for the certificate. Returns the key in PEM.
async fn finalize(
    order: &mut Order,
    files: &SiteFiles,
    wanted: &Wanted<'_>,
    of: OrderOf<'_>,
) -> Result<Zeroizing<String>, OrderFailure> {
    tracing::debug!(site = wanted.site.site, step = "finalize", "acme");
    let failed = |error: rcgen::Error| OrderFailure::Internal(format!("no request could be made: {error}"));
    let names: Vec<String> = wanted.site.names.iter().map(|name| bare(name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().map_err(failed)?;
    let text = Zeroizing::new(key.serialize_pem());
    // Before the CA knows of it: whoever dies now comes back and finds the order and its key.
    files.put_order(order.url(), of, &text)?;
    let request = params.serialize_request(&key).map_err(failed)?;
    within("finalize", async { order.finalize_csr(request.der()).await.map_err(at("finalize")) }).await?;
    Ok(text)
}

/// The certificate in `text`, if it can be served for all that is wanted. `now`: seconds since 1970.
pub(super) fn accept(
    files: &SiteFiles,
    text: &str,
    wanted: &AcmeSite,
    configs: &ServerConfigs,
    now: i64,
) -> Result<Kept, OrderFailure> {
    let kept = files.parse(text, configs.provider())?;
    let certificate = &kept.certificate;
    let problem = |trouble| OrderFailure::Certificate(CertificateProblem::new(&PathBuf::new(), trouble));
    if now > certificate.not_after() {
        return Err(problem(CertificateTrouble::Expired { not_after: certificate.not_after() }));
    }
    if let Some(name) = wanted.names.iter().find(|name| !certificate.names().covers_pattern(name.as_bytes()))
    {
        return Err(OrderFailure::Setting(format!("the certificate does not cover {name}")));
    }
    if !kept.is_for(wanted) {
        return Err(OrderFailure::Setting("the certificate is of another CA".to_owned()));
    }
    verify(certificate, configs).map_err(|error| problem(CertificateTrouble::Handshake(error)))?;
    Ok(kept)
}

/// `[v6]` without its brackets.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

/// A step that is one request.
pub(super) async fn within<T>(
    step: &'static str,
    run: impl Future<Output = Result<T, OrderFailure>>,
) -> Result<T, OrderFailure> {
    tokio::time::timeout(REQUEST, run).await.unwrap_or(Err(OrderFailure::TimedOut { step }))
}

/// A step for which the CA takes its time.
async fn within_long<T>(
    step: &'static str,
    run: impl Future<Output = Result<T, OrderFailure>>,
) -> Result<T, OrderFailure> {
    tokio::time::timeout(PATIENCE + REQUEST, run).await.unwrap_or(Err(OrderFailure::TimedOut { step }))
}
