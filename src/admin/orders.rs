//! Certificates that are ordered from authorities, as whoever orders them tells of them.

use serde_json::{Value, json};

/// All of it, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// How orders ended, each with how often.
    pub results: Vec<(&'static str, u64)>,
    pub sites: Vec<OrderedSite>,
    /// `None`: this machine is alone.
    pub store: Option<OrderStore>,
}

/// One certificate. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct OrderedSite {
    pub site: String,
    pub names: Vec<String>,
    /// A word: `wanted`, `ordering`, `elsewhere`, `valid` or `overdue`.
    pub state: &'static str,
    /// URL of the authority that issued what is kept.
    pub authority: Option<String>,
    pub not_after: Option<i64>,
    /// When the next order is due, and whom it goes to.
    pub next: i64,
    pub next_authority: String,
    /// The last failure, and when; none since the last certificate.
    pub last_error: Option<(i64, String)>,
}

/// The store that the machines of a fleet share.
#[derive(Clone, Debug)]
pub struct OrderStore {
    pub is_up: bool,
    /// Reasons, each with how often it was met.
    pub failures: Vec<(&'static str, u64)>,
}

impl Orders {
    pub(super) fn to_json(&self) -> Value {
        let results: Value =
            self.results.iter().map(|(result, count)| ((*result).to_owned(), Value::from(*count))).collect();
        let store = self.store.as_ref().map(|store| {
            let failures: Value = store
                .failures
                .iter()
                .map(|(reason, count)| ((*reason).to_owned(), Value::from(*count)))
                .collect();
            json!({ "up": store.is_up, "failures": failures })
        });
        let sites: Vec<Value> = self.sites.iter().map(OrderedSite::to_json).collect();
        json!({ "results": results, "sites": sites, "store": store })
    }
}

impl OrderedSite {
    /// As `/status` has it.
    pub fn to_json(&self) -> Value {
        let error = self.last_error.as_ref().map(|(at, text)| json!({ "time": at, "text": text }));
        json!({
            "site": self.site,
            "names": self.names,
            "state": self.state,
            "authority": self.authority,
            "not_after": self.not_after,
            "next": self.next,
            "next_authority": self.next_authority,
            "last_error": error,
        })
    }
}
