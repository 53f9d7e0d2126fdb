//! The store against real files: its log by itself, then its threads.

mod log;
mod measure;
mod model;
mod opening;
mod support;
mod threads;
