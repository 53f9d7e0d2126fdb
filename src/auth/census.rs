//! Exact counts of connections per user and per address.
