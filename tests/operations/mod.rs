//! A gateway as its supervisor and the network before it see it: reloads, systemd's protocol, a successor at the same port.

mod proxies;
mod reload;
mod reload_dependencies;
mod reload_incomplete;
mod systemd;
mod takeover;
