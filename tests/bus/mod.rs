//! Two gateways on one PostgreSQL and one Redis, all of it real: what is published on one reaches the other, whatever the bus does.

mod calm;
mod faults;
mod rig;
