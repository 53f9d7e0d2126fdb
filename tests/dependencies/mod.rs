//! The gateway with real dependencies, and a fault proxy before each.

mod api_pressure;
mod broken_paths;
mod canary;
mod disk_full;
mod draining;
mod flapping;
mod instances;
mod lanes;
mod matrix;
mod newcomers;
mod one_database;
mod operators;
mod outage;
mod proxied;
mod server_api;
mod side_by_side;
mod unsure_client;
