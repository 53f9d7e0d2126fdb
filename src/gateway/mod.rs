//! Composition: a configuration becomes threads, and signals end them.

mod admin;
mod api;
mod auth;
mod backing;
mod bus;
mod capacity;
pub mod cli;
pub mod config;
mod doctor_command;
mod drain;
mod drain_command;
mod greeting;
mod health_command;
mod lookup_command;
mod output;
mod reload;
mod remote;
mod running;
mod serve;
mod setup;
mod store_command;
mod systemd;
mod threads;
mod tls;
mod token;
mod token_command;
mod watch;
