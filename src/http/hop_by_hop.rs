//! `Connection`: what it asks of this hop and which fields it takes away (RFC 9110 §7.6.1).

use super::field::{FieldName, is_end_to_end, is_token, list};

/// Fields `Connection` may take away beyond the well-known ones. Clients nominate one or two; the bound keeps the
/// comparison of every field with every nominee small.
const NOMINATED_MAX: usize = 8;
/// List elements looked at, empty ones included.
const ELEMENTS_MAX: usize = 32;

/// A `Connection` field that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadConnection {
    /// An element that is not a token.
    Syntax,
    /// It nominates a field meant for all recipients, or one that frames or routes the message.
    Nomination,
    /// More elements than anybody needs.
    TooMany,
}

/// The options of all `Connection` fields of a head, in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions<'b> {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    pub te: bool,
    nominated: [&'b [u8]; NOMINATED_MAX],
    // nominated_count <= NOMINATED_MAX
    nominated_count: usize,
    elements: usize,
}

impl<'b> ConnectionOptions<'b> {
    /// Takes in the value of one `Connection` field.
    ///
    /// # Errors
    /// [`BadConnection`]: the message must not be passed on.
    pub fn add(&mut self, value: &'b [u8]) -> Result<(), BadConnection> {
        for element in list(value) {
            self.elements += 1;
            if self.elements > ELEMENTS_MAX {
                return Err(BadConnection::TooMany);
            }
            if element.is_empty() {
                continue; // RFC 9110 §5.6.1.2: recipients ignore empty elements
            }
            if element.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if element.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else {
                self.nominate(element)?;
            }
        }
        Ok(())
    }

    fn nominate(&mut self, name: &'b [u8]) -> Result<(), BadConnection> {
        match FieldName::of(name) {
            FieldName::Upgrade => self.upgrade = true,
            FieldName::Te => self.te = true,
            // These go in any case.
            FieldName::Connection | FieldName::KeepAlive | FieldName::Http2Settings | FieldName::Proxy => {}
            _ if !is_token(name) => return Err(BadConnection::Syntax),
            _ if is_end_to_end(name) => return Err(BadConnection::Nomination),
            _ => {
                let slot = self.nominated.get_mut(self.nominated_count).ok_or(BadConnection::TooMany)?;
                *slot = name;
                self.nominated_count += 1;
            }
        }
        Ok(())
    }

    /// Whether a field of this name ends at this hop because `Connection` says so.
    #[inline]
    pub fn nominates(&self, name: &[u8]) -> bool {
        self.nominated_count > 0
            && self
                .nominated
                .iter()
                .take(self.nominated_count)
                .any(|nominee| nominee.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Result<ConnectionOptions<'static>, BadConnection> {
        let mut options = ConnectionOptions::default();
        for value in values {
            options.add(value.as_bytes())?;
        }
        Ok(options)
    }

    #[test]
    fn reads_options_in_any_case_over_several_fields() {
        let options = read(&["Keep-Alive , ,UPGRADE", "te,\tX-Hop"]).unwrap();
        assert!(options.keep_alive && options.upgrade && options.te && !options.close);
        assert!(options.nominates(b"x-hop") && !options.nominates(b"X-Other"));
    }

    #[test]
    fn refuses_to_strip_what_others_rely_on() {
        for name in [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Cookie",
            "Set-Cookie",
            "Authorization",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Forwarded",
            "Via",
            "X-Request-Id",
            "X-Real-IP",
            "Cache-Control",
            "Content-Type",
            "If-Match",
            "Range",
            "Expect",
            "Date",
            "Location",
            "Sec-WebSocket-Key",
            "Accept-Encoding",
        ] {
            assert_eq!(read(&["close", name]), Err(BadConnection::Nomination), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_no_token() {
        for value in ["close;x", "a b", "\"close\"", "x@y", "clos\u{e9}"] {
            assert_eq!(read(&[value]), Err(BadConnection::Syntax), "{value}");
        }
    }

    #[test]
    fn is_bounded() {
        assert_eq!(read(&["a,b,c,d,e,f,g,h,i"]), Err(BadConnection::TooMany));
        assert!(read(&["a,b,c,d,e,f,g,h"]).is_ok());
        assert_eq!(read(&[",".repeat(40).leak()]), Err(BadConnection::TooMany));
    }
}
