//! Operation of a gateway: reloads, systemd's protocol, a successor on the same port, and proxies in front of it.

mod demo;
mod flags;
mod hints;
mod proxies;
mod reload;
mod reload_dependencies;
mod reload_incomplete;
mod reload_relay;
mod systemd;
mod takeover;
