//! A client that connects again.

use crate::clock::Moment;
use crate::hub::SubscriptionId;
use crate::wire::command::Previous;

/// A client that names its last connection.
#[derive(Debug)]
pub struct ReturningClient {
    pub previous: Box<Previous>,
    /// The time at which its `connect` arrived.
    pub asked: Moment,
    /// The subscriptions that `connect` restored, once it is `connected`.
    pub restored: Vec<SubscriptionId>,
}
