//! The tables about what the process tells of itself.

use std::path::PathBuf;

use crate::access_log::Destination;
use crate::config::config::AccessLog;
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::{defaults, keys};

impl Reader<'_> {
    pub(super) fn access_log(&mut self, top: Section<'_>) -> Option<AccessLog> {
        if !top.has("access_log") {
            return None;
        }
        let table = self.table(top, "access_log", "[access_log]");
        let section = self.section(&table, &keys::ACCESS_LOG);
        let format = self.choice(section, "format", defaults::ACCESS_LOG_FORMAT);
        let buffer_bytes_max = self.size(section, "buffer", &defaults::ACCESS_LOG_BUFFER);
        if !section.has("to") {
            self.missing(section, "to");
            return None;
        }
        let (text, at) = self.filled(section, "to")?;
        let to = match text.as_str() {
            "stdout" => Destination::Stdout,
            "syslog" => Destination::Syslog(PathBuf::from(defaults::SYSLOG_SOCKET)),
            _ => match text.strip_prefix("syslog:") {
                Some(path) => Destination::Syslog(self.beside(at, path)),
                None => Destination::File(self.beside(at, &text)),
            },
        };
        Some(AccessLog { to, format, buffer_bytes_max, place: self.place(at) })
    }
}
