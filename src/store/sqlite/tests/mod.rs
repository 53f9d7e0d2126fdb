//! Tests of the store on real files: first its log alone, then its threads.

mod erasures;
mod log;
mod measure;
mod model;
mod opening;
mod order_support;
mod orders;
mod relay;
mod relay_model;
mod relay_support;
mod relay_sweeps;
mod stream_retention;
mod stream_support;
mod stream_threads;
mod stream_writers;
mod streams;
mod support;
mod thread_producers;
mod threads;
