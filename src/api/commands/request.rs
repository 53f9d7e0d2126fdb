//! The request whose body has commands.

use crate::api::exchange::ApiHead;
use crate::api::server::ApiPolicy;
use crate::auth::api_key::ApiKey;
use crate::net::seats::Seat;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request to carry out commands.
pub(in crate::api) struct CommandsRequest<'a> {
    pub(in crate::api) seat: &'a Seat,
    pub(in crate::api) head: &'a ApiHead,
    pub(in crate::api) key: Arc<ApiKey>,
    pub(in crate::api) policy: &'a ApiPolicy,
    pub(in crate::api) peer: SocketAddr,
}
