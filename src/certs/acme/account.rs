//! Accounts with CAs: made once, kept, made anew when the CA does not know them any more.
//!
//! A key is kept before the CA hears of it, here and in the fleet's store: whoever dies in between comes back with
//! the same key and is given the account it made, and machines that start at once make one account. An account that is
//! bound to an external one is the exception, since the client makes its key: if the process dies in the second between the
//! CA's answer and the file, the CA has an account that nobody has the key of, and another one is made.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::failure::{OrderFailure, at};
use super::files::AccountFile;
use super::order::within;
use super::settings::{AcmeCa, ExternalAccount};
use super::store::Fleet;

/// Those that are open, by the name of their file; each is opened by one at a time.
#[derive(Clone, Default)]
pub(super) struct Accounts(Rc<RefCell<HashMap<String, Opened>>>);

type Opened = Rc<Mutex<Option<Account>>>;

impl Accounts {
    /// The account with `ca`: the one open, the one kept, or a new one. `fleet`: who shares it.
    pub(super) async fn open(
        &self,
        file: &AccountFile,
        ca: &AcmeCa,
        fleet: Option<&Fleet>,
    ) -> Result<Account, OrderFailure> {
        let opened = self.0.borrow_mut().entry(file.name.clone()).or_default().clone();
        let mut opened = opened.lock().await;
        if let Some(account) = &*opened {
            return Ok(account.clone());
        }
        let account = open(file, ca, fleet).await?;
        *opened = Some(account.clone());
        Ok(account)
    }

    /// Its directory may have moved: it is read anew at the next order.
    pub(super) fn close(&self, file: &AccountFile) {
        self.0.borrow_mut().remove(&file.name);
    }
}

async fn open(file: &AccountFile, ca: &AcmeCa, fleet: Option<&Fleet>) -> Result<Account, OrderFailure> {
    let (text, key) = match kept(file, ca, fleet).await? {
        Some(Kept::Account(credentials)) => {
            let builder = builder(ca)?;
            return within("directory", async {
                builder.from_credentials(*credentials).await.map_err(at("directory"))
            })
            .await;
        }
        Some(Kept::Key(text, key)) => (Some(text), Some(key)),
        None => (None, None),
    };
    let (account, credentials) = match key {
        Some(key) => from_key(ca, key).await?,
        None => bound(ca).await?,
    };
    let new = serde_json::to_string(&credentials);
    let new = Zeroizing::new(new.map_err(|error| OrderFailure::Internal(error.to_string()))?);
    file.write(&new)?;
    if let Some(fleet) = fleet {
        match text {
            Some(text) => fleet.replace_account(&file.name, &text, Some(&new)).await?,
            None => drop(fleet.put_account(&file.name, &new).await?),
        }
    }
    tracing::info!(ca = %ca.directory_url, account = account.id(), "ACME account made");
    Ok(account)
}

/// What there is of an account.
enum Kept {
    Account(Box<AccountCredentials>),
    /// A key that the CA may know or not; as it is kept, and as it is.
    Key(Zeroizing<String>, PrivatePkcs8KeyDer<'static>),
}

/// What is kept, by the fleet before by this machine; if nothing is, a key, kept from here on. `None`: nothing can be
/// kept before the CA has answered.
async fn kept(file: &AccountFile, ca: &AcmeCa, fleet: Option<&Fleet>) -> Result<Option<Kept>, OrderFailure> {
    let here = file.read()?;
    let there = match fleet {
        Some(fleet) => fleet.account(&file.name).await?,
        None => None,
    };
    let is_there = there.is_some();
    for text in [there, here.clone()].into_iter().flatten() {
        let Some(kept) = read(&text) else {
            // The CA keeps accounts for those who have their key; this one is lost.
            tracing::warn!(ca = %ca.directory_url, "the ACME account kept cannot be read: making another");
            continue;
        };
        if here.as_deref() != Some(&text) {
            file.write(&text)?;
        }
        if let (Some(fleet), false) = (fleet, is_there) {
            fleet.put_account(&file.name, &text).await?;
        }
        return Ok(Some(kept));
    }
    if ca.external_account.is_some() {
        return Ok(None);
    }
    let (_, key) = Key::generate_pkcs8().map_err(at("account"))?;
    let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()));
    let mut text = Zeroizing::new(json!({ "key_pkcs8": encoded.as_str() }).to_string());
    if let Some(fleet) = fleet {
        // Whoever was first: its key is ours.
        text = fleet.put_account(&file.name, &text).await?.unwrap_or(text);
    }
    file.write(&text)?;
    Ok(read(&text))
}

fn read(text: &Zeroizing<String>) -> Option<Kept> {
    if let Ok(credentials) = serde_json::from_str(text) {
        return Some(Kept::Account(Box::new(credentials)));
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let key = BASE64_URL_SAFE_NO_PAD.decode(value["key_pkcs8"].as_str()?).ok()?;
    Some(Kept::Key(text.clone(), PrivatePkcs8KeyDer::from(key)))
}

/// The account of a key: made if the CA does not know it.
async fn from_key(
    ca: &AcmeCa,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<(Account, AccountCredentials), OrderFailure> {
    let builder = builder(ca)?;
    let signing = Key::from_pkcs8_der(key.clone_key()).map_err(at("account"))?;
    let key = (signing, PrivateKeyDer::Pkcs8(key));
    let (account, credentials) = within("account", async {
        builder.create_from_key(key, ca.directory_url.clone()).await.map_err(at("account"))
    })
    .await?;
    if !ca.contact.is_empty() {
        let contact: Vec<&str> = ca.contact.iter().map(String::as_str).collect();
        within("account", async { account.update_contacts(&contact).await.map_err(at("account")) }).await?;
    }
    Ok((account, credentials))
}

/// An account that is bound to another one (RFC 8555 §7.3.4).
async fn bound(ca: &AcmeCa) -> Result<(Account, AccountCredentials), OrderFailure> {
    let builder = builder(ca)?;
    let contact: Vec<&str> = ca.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = ca.external_account.as_ref().map(external_account).transpose()?;
    within("account", async {
        builder.create(&wanted, ca.directory_url.clone(), binding.as_ref()).await.map_err(at("account"))
    })
    .await
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
