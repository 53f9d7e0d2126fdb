//! The parts shared by our clients that speak the protocol on raw sockets: frames, the handshake and dialling.
//!
//! `seawall-load` and `seawall-ledger` are built on it.

pub mod frame;
pub mod socket;
pub mod upgrade;
