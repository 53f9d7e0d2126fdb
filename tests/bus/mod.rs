//! Two gateways on one real PostgreSQL and one real Redis: publications of one reach the other, whatever the bus does.

mod calm;
mod cluster;
mod cluster_faults;
mod cluster_hang;
mod cluster_presence;
mod cluster_users;
mod faults;
mod forged;
mod orders;
pub mod rig;
mod rights;
mod sentinel;
mod streams;
