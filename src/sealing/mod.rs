//! Sealing: the values of session cookies, closed for all but this front end.
//!
//! ```text
//! value in a cookie:  base64url( key id [4] | nonce [12] | AES-256-GCM(value) | tag [16] ), no padding
//! sealed with it:     SHA-256( "portcullis session cookie 1" | length u64 | site's name | cookie's name )
//! key file:           a line a key: "1 <id> <made> <seals from> <key>", times in Unix seconds, the rest hexadecimal
//! ```
//!
//! A value opens on the site and under the name it was sealed for, nowhere else. Who may ask, HTTPS alone, is the
//! caller's to say.
//!
//! Keys rotate. A new one opens at once and seals after [`SEALS_AFTER`], so that another process that reads the same
//! file knows it by then; an old one opens for [`OPENS_FOR`] after the next one has taken over. That is as long as a
//! browser keeps any cookie, whatever its `Max-Age` or `Expires` says (RFC 6265bis §5.5: 400 days), so a value that a
//! browser still has opens, and the attributes need no reading. Cookies without either live on in browsers that
//! restore their windows, and end with the key as well.
//!
//! Set aside: keys derived from one secret by the date, which need no rotation, and are not forgotten before the
//! secret is; and a time inside the value, which would end sessions that the site server thinks alive.
//!
//! Pure: time and randomness come as arguments, files are the caller's. Secrets have no `Debug` and are wiped.

mod base64url;
mod cookies;
mod keys;
mod problem;
mod shared;
mod value;

pub use cookies::SiteCookies;
pub use keys::{KEY_RANDOM_BYTES, Keys, OPENS_FOR, ROTATES_AFTER, SEALED_MAX, SEALS_AFTER};
pub use problem::{KeyFileFlaw, KeyFileProblem};
pub use shared::SharedKeys;
pub use value::{Binding, COOKIE_BYTES_MAX, NONCE_BYTES, sealed_length};
