//! What every client of ours that speaks the protocol on raw sockets shares: frames, the handshake and the dialling.
//!
//! The program `seawall-load` is built on it, and so is `seawall-ledger`.

pub mod frame;
pub mod socket;
pub mod upgrade;
