//! What every version of HTTP shares: framing words, field names, hop-by-hop rules, forwarded fields, cookies.
//!
//! Nothing here reads a wire. `http1` and the HTTP/2 side turn bytes into these words and back; the rules that keep a
//! request from meaning one thing to us and another to the site server are written once, here.
//!
//! Three rules hold everywhere:
//!
//! - **A field is classified, not copied.** [`FieldName::of`] looks at length and first byte and compares at most a few
//!   times; nothing is lowercased into a buffer.
//! - **What a front end says about a visitor is said by the front end.** Inbound copies of those fields go, whatever
//!   their spelling: names with bytes other than letters, digits and `-` go too, since servers that hand fields on as
//!   `HTTP_*` variables fold them onto a name of ours (`X_Forwarded_For`).
//! - **`Connection` may not strip what others rely on.** Nominating a framing, routing or end-to-end field is refused
//!   rather than obeyed (RFC 9110 §7.6.1: such a field is never a connection option).

pub mod cookies;
pub mod date;
pub mod field;
pub mod forwarded;
pub mod framing;
pub mod hop_by_hop;
pub mod location;
pub mod network;
pub mod status;
pub mod told;

pub use date::HttpDate;
pub use field::{FieldName, FieldSink};
pub use forwarded::{Forwarded, Hop};
pub use framing::{BodyEnd, HEADERS_CEILING, Limits, Reuse, Scheme, Version};
pub use hop_by_hop::{BadConnection, ConnectionOptions};
pub use network::{BadNetwork, Network};
pub use told::{BadTold, Told};

/// A field line: `name` as spelled (a token), `value` without the white space around it.
pub use httparse::Header;
