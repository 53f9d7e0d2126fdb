//! Which instances serve together, which of them live, and which one leads.
//!
//! Each instance gives two independent signs of life: a lease in Redis, renewed every second, and a row in PostgreSQL, renewed
//! every two. Every instance judges all others from both, by its own monotonic clock: clocks of different machines are never
//! compared. An instance that lost only Redis is [`Isolated`](instance::InstanceState::Isolated), not gone.
//!
//! | file | decides |
//! |---|---|
//! | [`incarnation`] | when this instance must take the next count, and write everything again |
//! | [`liveness`] | the state of every other instance |
//! | [`order`] | which sessions an order to all instances ends |
//! | [`restrictions`] | which users and tokens are refused |
//! | [`duty`] | whether this instance leads |
//! | [`report`] | what operators see of all that |
//! | [`spread`] | how many clients this instance asks to move, and where to |

pub mod duty;
pub mod incarnation;
pub mod instance;
pub mod liveness;
pub mod order;
mod order_args;
pub mod order_body;
pub mod order_counts;
pub mod report;
pub mod restrictions;
pub mod spread;
