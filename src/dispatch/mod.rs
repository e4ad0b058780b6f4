//! Dispatch: which site, which rule, which scheme.

pub mod rule;
pub mod written_path;

pub use rule::{Element, Place, Rule, Ssl};
