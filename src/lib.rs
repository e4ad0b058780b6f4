//! Portcullis: a TLS front end for site servers. The rooms, in reading order.
//!
//! Core rooms turn bytes into decisions: they open nothing, await nothing, lock nothing.
//! Shell rooms own sockets, timers, files and threads. `ARCHITECTURE.md` has the way of one request.

// Core.
pub mod access_log;
pub mod config;
pub mod dispatch;
pub mod http;
pub mod http1;
pub mod metrics;
pub mod sealing;
pub mod tls;

// Shell.
pub mod certs;
pub mod cli;
pub mod control;
pub mod demo;
pub mod downstream;
pub mod net;
pub mod proxy;
pub mod sandbox;
pub mod spool;
pub mod upstream;
pub mod worker;
