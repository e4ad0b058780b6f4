//! Dispatch: which site, which rule, which scheme.
//!
//! Sites and their rules go in once, at load ([`Sites::compile`]); questions about requests come out as
//! decisions ([`Sites::decide`]): forward, redirect, not found or refuse. The server, `explain` and `replay` ask the
//! same function. It never opens, awaits, locks or allocates, never looks at a clock, and knows neither
//! sockets nor TLS nor the configuration's syntax.
//!
//! ```text
//! authority ── Host::parse ── lower case ── exact ▸ longest wildcard ▸ fallback ── site
//!                                                                                  │ SNI's site, certificate, policy
//! target ── Reading: spans of at most 64 segments, `..` gone, language cut ────────┤
//!                                                                                  ▼
//! Table: nodes[] ── literals[]  open addressing, (node, segment) → node       first rule in order
//!                ├─ any         variable, `*` that is not last → node              │
//!                ├─ language    → node                                             ▼
//!                ├─ branches[]  pattern → node, lowest rule first          wanted scheme ▸ at most one redirect
//!                └─ end, rest, rest_some: rules that stop here; lowest: the bound that prunes
//! ```
//!
//! A request walks the table depth first and leaves out every branch whose lowest rule is not below the
//! best found. As each node has one depth, it is visited at most once: a request costs at most what
//! asking every rule would, and with literal prefixes, which rules have, it does not grow with their number. Segments are compared
//! and run through automata byte by byte out of the decoder, so nothing is copied but short segments with a `%` in them.
//!
//! Set aside: asking rules one by one as the original's compiled clauses do (5,000 rules cost 5,000 tests); one
//! regular expression for all rules (it has no bound on memory, and the decoded path has no separator left
//! that is not also a byte of it); a router crate (none has these elements, this order and this reading).

mod decision;
pub mod erlang;
mod explain;
mod host;
mod language;
mod marks;
mod matching;
mod normalize;
mod path;
mod pattern;
pub mod proof;
mod redirect;
pub mod rule;
mod rules;
mod site;
mod table;
#[cfg(test)]
mod tests;
pub mod written_path;
pub mod zotonic;

pub use decision::{Action, Covers, Decision, Handshake, Question, Refusal, Scheme, Wanted, WantedBy};
pub use explain::{Explanation, RuleTried};
pub use host::{BadHost, HOST_BYTES_MAX, Host};
pub use matching::{Binding, Bound};
pub use normalize::write_normalized;
pub use path::{TARGET_BYTES_MAX, is_dir};
pub use pattern::{PATTERN_BYTES_MAX, PatternProblem, PatternProblemKind};
pub use redirect::{Redirect, RedirectReason};
pub use rule::{Element, Place, Rule, Ssl};
pub use rules::Rules;
pub use site::{
    Alias, Found, FoundBy, Ports, RuleProblem, RuleProblemKind, Site, SiteRules, Sites, Unmatched,
};
pub use table::Mismatch;

/// Most elements of a rule's path.
pub const RULE_ELEMENTS_MAX: usize = 60;

/// Longest literal element, in bytes after decoding; file names have this bound too.
pub const LITERAL_BYTES_MAX: usize = 255;

/// The number of a site, in the order of [`Sites::compile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub u32);

impl SiteId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a rule within its site, in order, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

impl RuleId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
