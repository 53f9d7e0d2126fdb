//! The store in PostgreSQL, with a real server that is killed, stopped and cut off.

mod backup;
mod contract;
mod counts;
mod duty;
mod epoch;
mod erase;
mod faults;
mod hold_ups;
mod hosts;
mod instances;
mod odd_servers;
mod orders;
mod pooler;
mod relay;
mod retention;
mod rig;
mod security;
mod source;
mod streams;
mod work;
