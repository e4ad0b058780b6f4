//! Accounts with CAs: made once, kept, made anew when the CA does not know them any more.

use std::path::Path;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{Account, AccountBuilder, ExternalAccountKey, NewAccount};
use zeroize::Zeroizing;

use super::failure::{OrderFailure, at};
use super::files::AccountFile;
use super::order::within;
use super::settings::{AcmeCa, ExternalAccount};

/// The account with `ca`: the one kept, or a new one.
pub(super) async fn account(file: &AccountFile, ca: &AcmeCa) -> Result<Account, OrderFailure> {
    let builder = builder(ca)?;
    if let Some(text) = file.read()? {
        match serde_json::from_str(&text) {
            Ok(credentials) => {
                return within("directory", async {
                    builder.from_credentials(credentials).await.map_err(at("directory"))
                })
                .await;
            }
            Err(error) => {
                // The CA keeps accounts for those who have their key; this one is lost.
                tracing::warn!(ca = %ca.directory_url, %error, "the ACME account kept cannot be read: making another");
            }
        }
    }
    let contact: Vec<&str> = ca.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = ca.external_account.as_ref().map(external_account).transpose()?;
    let (account, credentials) = within("account", async {
        builder.create(&wanted, ca.directory_url.clone(), binding.as_ref()).await.map_err(at("account"))
    })
    .await?;
    let text = serde_json::to_string(&credentials);
    let text = Zeroizing::new(text.map_err(|error| OrderFailure::Internal(error.to_string()))?);
    file.write(&text)?;
    tracing::info!(ca = %ca.directory_url, account = account.id(), "ACME account made");
    Ok(account)
}

fn builder(ca: &AcmeCa) -> Result<AccountBuilder, OrderFailure> {
    match &ca.ca {
        Some(path) => {
            let unusable = |error| OrderFailure::Setting(format!("ca = {path:?}: {error}"));
            Account::builder_with_root(path).map_err(unusable)
        }
        None => Account::builder()
            .map_err(|error| OrderFailure::Setting(format!("the system's roots cannot be used: {error}"))),
    }
}

fn external_account(binding: &ExternalAccount) -> Result<ExternalAccountKey, OrderFailure> {
    let key = hmac_key(&binding.key_file)
        .map_err(|why| OrderFailure::Setting(format!("eab.key_file = {:?}: {why}", binding.key_file)))?;
    Ok(ExternalAccountKey::new(binding.key_id.clone(), &key))
}

fn hmac_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| error.to_string())?);
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    key.map(Zeroizing::new).map_err(|_| "not base64url".to_owned())
}
