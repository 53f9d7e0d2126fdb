//! One file a server.

mod disk;
mod http;
mod postgres;
mod redis;
