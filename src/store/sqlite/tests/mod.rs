//! Tests of the store on real files: first its log alone, then its threads.

mod erasures;
mod log;
mod measure;
mod model;
mod opening;
mod order_support;
mod orders;
mod support;
mod threads;
