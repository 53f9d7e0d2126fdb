//! The gateway and what it stands on, all of it real, with a fault proxy before each.

mod disk_full;
mod draining;
mod flapping;
mod instances;
mod matrix;
mod newcomers;
mod one_database;
mod operators;
mod outage;
mod side_by_side;
mod stand;
mod unsure_client;
