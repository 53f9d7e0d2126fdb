//! Tests that start no server and no gateway: the source against its rules, the wire format against its examples, and
//! the fuzz targets over their corpora.

mod fuzz_corpus;
mod rosters;
#[path = "../support_schema/mod.rs"]
mod support_schema;
#[path = "../tidy/mod.rs"]
mod tidy;
#[path = "../vectors/mod.rs"]
mod vectors;
