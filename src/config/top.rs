//! The tables about the process: everything but the listeners and the sites.

use std::num::NonZeroU16;
use std::path::PathBuf;

use crate::config::config::{Limits, LogLevel, Sandbox, Timeouts, Workers};
use crate::config::defaults;
use crate::config::keys;
use crate::config::message::{Expected, What};
use crate::config::reader::Reader;
use crate::config::values::Section;
use crate::config::written::Value;
use crate::limits::Rate;

impl Reader<'_> {
    pub(super) fn workers(&mut self, top: Section<'_>) -> Workers {
        let Some(node) = top.get("workers") else {
            return Workers::PerCore;
        };
        if let Value::Text(text) = &node.value {
            if text != "auto" && self.text(node.at.source).is_flag {
                self.error(node.at, What::NotANumber { text: text.clone() });
            } else if text != "auto" {
                self.wrong_type(node.at, "workers", Expected::Workers, &node.value);
            }
            return Workers::PerCore;
        }
        let count = self.count_of(node, "workers", &defaults::WORKERS, Expected::Workers);
        let count = count.and_then(|count| u16::try_from(count).ok()).and_then(NonZeroU16::new);
        count.map_or(Workers::PerCore, Workers::Count)
    }

    pub(super) fn log(&mut self, top: Section<'_>) -> LogLevel {
        self.choice(top, "log", defaults::LOG)
    }

    pub(super) fn state_directory(&mut self, top: Section<'_>) -> PathBuf {
        match self.filled(top, "state_directory") {
            Some((path, at)) => self.beside(at, &path),
            None => PathBuf::from(defaults::STATE_DIRECTORY),
        }
    }

    pub(super) fn limits(&mut self, top: Section<'_>) -> Limits {
        let table = self.table(top, "limits", "[limits]");
        let section = self.section(&table, &keys::LIMITS);
        let body = &defaults::REQUEST_BODY_BYTES;
        Limits {
            request_head_bytes_max: usize::try_from(self.size(
                section,
                "request_head_bytes",
                &defaults::REQUEST_HEAD_BYTES,
            ))
            .unwrap_or(usize::MAX),
            headers_max: self.usize(section, "headers", &defaults::HEADERS),
            request_body_bytes_max: self.size_or_unlimited(section, "request_body_bytes", body, body.default),
            response_head_bytes_max: usize::try_from(self.size(
                section,
                "response_head_bytes",
                &defaults::RESPONSE_HEAD_BYTES,
            ))
            .unwrap_or(usize::MAX),
            response_headers_max: self.usize(section, "response_headers", &defaults::RESPONSE_HEADERS),
            body_rate_min: self.size(section, "body_rate", &defaults::BODY_RATE),
            connections_max: self.usize(section, "connections", &defaults::CONNECTIONS),
            connections_per_address: self
                .count_if_written(section, "connections_per_address", &defaults::CONNECTIONS_PER_ADDRESS)
                .and_then(|count| u16::try_from(count).ok()),
            requests_per_address: self.requests_per_address(section),
            handshakes_per_worker: self.usize(
                section,
                "handshakes_per_worker",
                &defaults::HANDSHAKES_PER_WORKER,
            ),
        }
    }

    fn requests_per_address(&mut self, section: Section<'_>) -> Option<Rate> {
        let bounds = &defaults::REQUESTS_PER_ADDRESS;
        let per_second = self.count_if_written(section, "requests_per_address", bounds);
        let burst = self.count_if_written(section, "requests_burst_per_address", bounds);
        if burst.is_some() && !section.has("requests_per_address") {
            self.error(section.key_at("requests_burst_per_address"), What::BurstWithoutRate {});
        }
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let per_second = small(per_second?);
        Some(Rate { per_second, burst: burst.map_or(per_second, small) })
    }

    pub(super) fn timeouts(&mut self, top: Section<'_>) -> Timeouts {
        let table = self.table(top, "timeouts", "[timeouts]");
        let section = self.section(&table, &keys::TIMEOUTS);
        Timeouts {
            handshake: self.duration(section, "handshake", &defaults::HANDSHAKE),
            request_head: self.duration(section, "request_head", &defaults::REQUEST_HEAD),
            body_idle: self.duration(section, "body_idle", &defaults::BODY_IDLE),
            keep_alive: self.duration(section, "keep_alive", &defaults::KEEP_ALIVE),
            upstream_connect: self.duration(section, "upstream_connect", &defaults::UPSTREAM_CONNECT),
            response_head: self.duration(section, "response_head", &defaults::RESPONSE_HEAD),
            tunnel_idle: self.duration(section, "tunnel_idle", &defaults::TUNNEL_IDLE),
        }
    }

    pub(super) fn sandbox(&mut self, top: Section<'_>) -> Sandbox {
        let table = self.table(top, "sandbox", "[sandbox]");
        let section = self.section(&table, &keys::SANDBOX);
        Sandbox {
            no_new_privileges: self.boolean(section, "no_new_privileges", defaults::NO_NEW_PRIVILEGES),
            landlock: self.boolean(section, "landlock", defaults::LANDLOCK),
            seccomp: self.boolean(section, "seccomp", defaults::SECCOMP),
        }
    }
}
