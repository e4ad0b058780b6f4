//! The tables about what the process tells of itself.

use std::path::{Path, PathBuf};

use crate::access_log::Destination;
use crate::config::address;
use crate::config::config::{AccessLog, AdminAddress, AdminListener, AdminSocket, TokenFile};
use crate::config::message::What;
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

    pub(super) fn admin(&mut self, top: Section<'_>, state_directory: &Path) -> AdminListener {
        let table = self.table(top, "admin", "[admin]");
        let section = self.section(&table, &keys::ADMIN);
        let access = self.choice(section, "socket_access", defaults::SOCKET_ACCESS);
        let socket = match self.filled(section, "socket") {
            Some((text, _)) if text == "off" => None,
            Some((text, at)) => {
                Some(AdminSocket { path: self.beside(at, &text), place: Some(self.place(at)) })
            }
            None => Some(AdminSocket { path: state_directory.join(defaults::ADMIN_SOCKET), place: None }),
        };
        let token_file = self.filled(section, "token_file");
        let token_file =
            token_file.map(|(text, at)| TokenFile { path: self.beside(at, &text), place: self.place(at) });
        let listen = self.admin_addresses(section);
        if !listen.is_empty() && !section.has("token_file") {
            self.error(section.at("listen"), What::AdminToken {});
        }
        AdminListener { socket, access, listen, token_file }
    }

    fn admin_addresses(&mut self, section: Section<'_>) -> Vec<AdminAddress> {
        let mut listen: Vec<AdminAddress> = Vec::new();
        for (text, at) in self.texts(section, "listen", "\"127.0.0.1:9180\"") {
            if listen.len() >= defaults::ADMIN_ADDRESSES_MAX {
                let most = defaults::ADMIN_ADDRESSES_MAX;
                self.error(at, What::TooMany { what: "addresses for administration", most });
                break;
            }
            match address::listen(&text) {
                Ok(address) => listen.push(AdminAddress { address, place: self.place(at) }),
                Err(why) => self.error(at, What::BadListenAddress { text, why }),
            }
        }
        listen
    }
}
