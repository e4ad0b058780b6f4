//! Dispatch: which site, which rule, which scheme.

pub mod erlang;
pub mod rule;
pub mod written_path;
pub mod zotonic;

pub use rule::{Element, Place, Rule, Ssl};
