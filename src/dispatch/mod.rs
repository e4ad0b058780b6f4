//! Dispatch: which site, which rule, which scheme.

pub mod rule;

pub use rule::{Element, Place, Rule, Ssl};
