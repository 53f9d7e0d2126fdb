//! Black-box tests: the real binary and real sockets, one behaviour per file.
//!
//! Tests run in parallel, so each has its own gateway on a free port, with its own folder.
//! Nothing sleeps: a test waits for a condition, with a deadline.
//!
//! `SEAWALL_TEST_TLS=1 cargo test --test program e2e` runs all of them over TLS.

mod admin;
mod alerts;
mod api_commands;
mod api_commands_drain;
mod audit;
mod backup_and_restore;
mod beat_and_ping;
mod capacity;
mod come_and_go;
mod connect_first;
mod connect_timeout;
mod connect_twice;
mod console;
mod disk_full;
mod drain;
mod drain_ends;
mod drain_operators;
mod edits_and_deletes;
mod erase;
mod fair_shares;
mod fair_table;
mod fair_times;
mod fd_limit;
mod frames_bad;
mod frames_good;
mod gateway_itself;
mod health_endpoints;
mod history_pages;
mod http_heads;
mod idempotent_keys;
mod json_bad;
mod kill9;
mod lookup;
mod metrics_endpoint;
mod never_reads;
mod objectives;
mod orders;
mod origin_and_host;
mod output_streams;
mod page;
mod presence;
mod proxies;
mod publish_and_receive;
mod rate_limits;
mod recovery;
mod relay;
mod returns;
mod running_gateway;
mod schema;
mod second_process_refused;
mod server_api;
mod server_api_bad;
mod server_api_shares;
mod server_api_tls;
mod server_api_tokens;
mod signals;
mod sigterm;
mod silent_connects;
mod slow_subscriber;
mod start_refused;
mod storm;
mod streams;
mod streams_end;
mod subprotocols;
mod subscriptions_bound;
mod surroundings;
mod tls_certificates;
mod tls_chat;
mod tls_handshakes;
mod tokens;
mod upgrade_faults;
