//! Flags of the command line, put in the place of what the file says before anything is checked.

use crate::config::reader::Reader;
use crate::config::written::{Node, Table, Value};

/// What the command line says instead of the file, as typed.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--workers`: "auto" or a number.
    pub workers: Option<String>,
    /// `--session-cache-size`: sessions.
    pub session_cache_size: Option<String>,
    /// `--session-lifetime`: a duration.
    pub session_lifetime: Option<String>,
    /// `--session-mode`: "cache", "tickets" or "off".
    pub session_mode: Option<String>,
    /// `--certificate-cache-size`: names.
    pub certificate_cache_size: Option<String>,
    /// `--certificate-cache-lifetime`: a duration.
    pub certificate_cache_lifetime: Option<String>,
    /// `--http`, once for each address; when there is one, they stand for all of `[listen] http`.
    pub http: Vec<String>,
    /// `--https`, likewise.
    pub https: Vec<String>,
    /// `--log`: a level.
    pub log: Option<String>,
}

impl Overrides {
    /// Each value becomes a node whose place is its flag.
    pub(super) fn apply(&self, reader: &mut Reader<'_>, top: &mut Table) {
        let one = |reader: &mut Reader<'_>, flag: &str, text: &Option<String>, number: bool| {
            let text = text.as_deref()?;
            Some(Node { at: reader.flag(flag, text), value: value(text, number) })
        };
        let many = |reader: &mut Reader<'_>, flag: &str, texts: &[String]| {
            let nodes: Vec<Node> = texts
                .iter()
                .map(|text| Node { at: reader.flag(flag, text), value: value(text, false) })
                .collect();
            let at = nodes.first()?.at;
            Some(Node { value: Value::Array(nodes), at })
        };
        let settings = [
            ("", "workers", one(reader, "--workers", &self.workers, true)),
            ("", "log", one(reader, "--log", &self.log, false)),
            ("session_cache", "size", one(reader, "--session-cache-size", &self.session_cache_size, true)),
            ("session_cache", "lifetime", one(reader, "--session-lifetime", &self.session_lifetime, false)),
            ("session_cache", "mode", one(reader, "--session-mode", &self.session_mode, false)),
            (
                "certificate_cache",
                "size",
                one(reader, "--certificate-cache-size", &self.certificate_cache_size, true),
            ),
            (
                "certificate_cache",
                "lifetime",
                one(reader, "--certificate-cache-lifetime", &self.certificate_cache_lifetime, false),
            ),
            ("listen", "http", many(reader, "--http", &self.http)),
            ("listen", "https", many(reader, "--https", &self.https)),
        ];
        for (table, key, node) in settings {
            let Some(node) = node else { continue };
            if table.is_empty() {
                top.set(key, node);
            } else if let Some(table) = top.table_mut(table, node.at) {
                // When something else than a table has the name, that is reported, and the flag is moot.
                table.set(key, node);
            }
        }
    }
}

/// What the text would be in a file, where numbers stand without quotes.
fn value(text: &str, number: bool) -> Value {
    let digits = number && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if digits { Value::Integer(text.parse().ok()) } else { Value::Text(text.to_owned()) }
}
