//! Tests of the servers themselves, one file for each.

mod disk;
mod http;
mod postgres;
mod redis;
