//! Every metric that is not a plain counter of a worker: one list for the text, the documentation and its tests.

use super::exposition::{Family, Kind};

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order of the text.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD = Gauge "portcullis_build_info" ["version"] "1, with the version of the program.";
    WORKERS = Gauge "portcullis_workers" [] "Threads that serve.";
    DRAINING = Gauge "portcullis_draining" [] "1 when the process accepts no more and finishes what runs.";
    GENERATIONS = Gauge "portcullis_generations" [] "Configurations in memory: the one that serves, and earlier ones still in use.";
    RELOADS = Counter "portcullis_reloads_total" ["result"] "Reloads that were taken up (ok) and that changed nothing (failed).";
    RELOADED = Gauge "portcullis_last_reload_successful" [] "1 when the last reload was taken up or there was none; 0: the file on disk is not what serves.";
    RELOAD_TIME = Gauge "portcullis_last_reload_timestamp_seconds" [] "When the configuration that serves was taken up, in Unix time.";
    FAILURES = Counter "portcullis_requests_failed_total" ["reason"] "Requests that did not end as they should have, by the reason in the access log.";
    SITE_REQUESTS = Counter "portcullis_site_requests_total" ["site", "code"] "Requests of a site that have ended, by class of status; none: the client left before an answer.";
    SITE_DURATION = Histogram "portcullis_site_request_duration_seconds" ["site"] "From the first byte of a request to the last of its answer; of a tunnel, to its beginning.";
    SITE_RECEIVED = Counter "portcullis_site_received_bytes_total" ["site"] "Octets of requests, heads and bodies.";
    SITE_SENT = Counter "portcullis_site_sent_bytes_total" ["site"] "Octets of answers, heads among them, before TLS.";
    RULE_REQUESTS = Counter "portcullis_rule_requests_total" ["site", "rule", "code"] "Requests that a rule matched, by class of status.";
    RULE_DURATION = Summary "portcullis_rule_request_duration_seconds" ["site", "rule"] "How long requests that a rule matched took in all, and how many there were.";
    HANDSHAKES = Histogram "portcullis_handshake_duration_seconds" ["kind"] "TLS handshakes that were completed, full and resumed, from accept on.";
    HANDSHAKE_FAILURES = Counter "portcullis_handshake_failures_total" ["reason"] "TLS handshakes that were not completed, by reason.";
    CONNECT = Histogram "portcullis_upstream_connect_duration_seconds" [] "How long it took to connect to site servers; kept connections are not in it.";
    FIRST_BYTE = Histogram "portcullis_upstream_first_byte_duration_seconds" [] "From having a connection to a site server to the first byte of its answer.";
    LOOKUPS = Counter "portcullis_upstream_lookups_total" ["upstream", "result"] "Times the name of a site server was looked up again: addresses were found (ok), or none (failed) and those before stay.";
    SESSIONS = Gauge "portcullis_session_cache_sessions" [] "TLS sessions in the cache.";
    SESSIONS_MAX = Gauge "portcullis_session_cache_sessions_max" [] "TLS sessions the cache may hold.";
    SESSION_BYTES = Gauge "portcullis_session_cache_bytes" [] "Memory the sessions take, estimated.";
    SESSION_HITS = Counter "portcullis_session_cache_hits_total" [] "Times a client's session was found.";
    SESSION_MISSES = Counter "portcullis_session_cache_misses_total" [] "Times a client's session was not found: unknown, expired, or another site's.";
    SESSION_EVICTIONS = Counter "portcullis_session_cache_evictions_total" [] "Sessions removed before their time, to make room.";
    SESSION_EXPIRIES = Counter "portcullis_session_cache_expiries_total" [] "Sessions removed because their lifetime had ended.";
    CERTIFICATE_END = Gauge "portcullis_certificate_not_after_timestamp_seconds" ["site", "name", "key", "source"] "When a certificate that is served ends, in Unix time; of names that sources are asked for, up to 1,000.";
    CERTIFICATES_TAKEN_UP = Counter "portcullis_certificate_changes_taken_up_total" [] "Certificates, rules for clients and secrets taken up from changed files, or renewed.";
    CERTIFICATES_REFUSED = Counter "portcullis_certificate_changes_refused_total" ["reason"] "Files that could not be taken up; what was served before stayed.";
    QUESTIONS = Counter "portcullis_certificate_questions_total" [] "Questions put to sources that are asked for names.";
    QUESTIONS_FAILED = Counter "portcullis_certificate_questions_failed_total" ["reason"] "Questions without an answer that can be used, by reason.";
    QUESTIONS_REFUSED = Counter "portcullis_certificate_questions_refused_total" [] "Questions not put: the budget of unknown names was spent, or too many waited.";
    NAMES = Gauge "portcullis_certificate_cache_names" [] "Names whose answer is remembered, those without a certificate among them.";
    NAMES_MAX = Gauge "portcullis_certificate_cache_names_max" [] "Names that may be remembered.";
    NAME_HITS = Counter "portcullis_certificate_cache_hits_total" [] "Times the answer for a name was at hand.";
    NAME_MISSES = Counter "portcullis_certificate_cache_misses_total" [] "Times a handshake had to wait for the answer: unknown, or too old.";
    NAME_EVICTIONS = Counter "portcullis_certificate_cache_evictions_total" [] "Names forgotten before their time, to make room.";
    ORDERS = Counter "portcullis_acme_orders_total" ["result"] "How orders of certificates ended: ordered here, found in the fleet's store, or failed, by reason.";
    ORDER_NEXT = Gauge "portcullis_acme_next_order_timestamp_seconds" ["site"] "When the certificate of a site is ordered next, in Unix time.";
    ORDER_FAILED = Gauge "portcullis_acme_failing" ["site"] "1 when the last order of a site failed.";
    STORE_UP = Gauge "portcullis_acme_store_up" [] "1 when the fleet's store is reached; not there without one.";
    STORE_FAILURES = Counter "portcullis_acme_store_failures_total" ["reason"] "Times the fleet's store could not be used.";
    LOG_LOST = Counter "portcullis_access_log_lines_lost_total" [] "Lines of the access log that could not be written: a full disk, no syslog daemon.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" [] "Time of all threads in user and kernel.";
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" [] "Memory in use.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" [] "Address space.";
    PROCESS_FDS = Gauge "process_open_fds" [] "Descriptors open.";
    PROCESS_FDS_MAX = Gauge "process_max_fds" [] "Descriptors that may be open.";
    PROCESS_START = Gauge "process_start_time_seconds" [] "When the process began, in Unix time.";
}
