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
//! | [`audit`] | which keys in Redis are looked at again, and which fields are removed |
//! | [`own_users`] | which users of this instance are still to be written to the registry |
//! | [`user_lookup`] | where a user is connected, and whether that is known completely |
//! | [`order`] | which sessions an order to all instances ends |
//! | [`restrictions`] | which users and tokens are refused |
//! | [`block_end`] | whether and when the client of a blocked user returns |
//! | [`duty`] | whether this instance leads |
//! | [`report`] | what operators see of all that |
//! | [`spread`] | how many clients this instance asks to move, and where to |
//! | [`forecast`] | what a round of all instances would move, without moving anything |

pub mod audit;
pub mod block_end;
pub mod duty;
pub mod forecast;
pub mod incarnation;
pub mod instance;
pub mod liveness;
pub mod order;
mod order_args;
pub mod order_body;
pub mod order_counts;
pub mod own_users;
pub mod rebalance_body;
pub mod report;
pub mod restrictions;
pub mod spread;
pub mod user_lookup;
