//! Operators' questions about sessions on their way to the reactors, and the answers.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::net::IpAddr;
use std::sync::Arc;

/// The sessions in the answer of one reactor.
pub const SESSIONS_MAX: usize = 100;

/// The sessions that an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The session on the connection with this name.
    Connection(u64),
    /// The sessions of this user.
    User(Box<str>),
}

impl Wanted {
    /// True exactly if the session on this connection, of this user, is wanted.
    pub fn is(&self, connection: u64, user: &str) -> bool {
        match self {
            Wanted::Connection(wanted) => *wanted == connection,
            Wanted::User(wanted) => **wanted == *user,
        }
    }
}

/// A session that is open or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The name that `connected` gave the connection.
    pub connection: u64,
    pub user: Box<str>,
    /// `client` of `connect`; empty if there was none.
    pub client: Box<str>,
    pub address: IpAddr,
    pub opened_unix_ms: u64,
    /// `None`: it is open.
    pub end: Option<SessionEnd>,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    pub unix_ms: u64,
    /// The close code; 1006 if there was no close frame.
    pub code: u16,
    pub reason: &'static str,
    /// The reference of an outage in the log; empty if none ended it.
    pub reference: Box<str>,
}

/// A question to every reactor, and the way back.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub wanted: Arc<Wanted>,
    answers: Sender<Vec<SessionRecord>>,
}

impl Lookup {
    /// A question with room for the answers of this many reactors.
    pub fn new(wanted: Wanted, reactors: usize) -> (Lookup, Receiver<Vec<SessionRecord>>) {
        let (answers, receiver) = bounded(reactors);
        (Lookup { wanted: Arc::new(wanted), answers }, receiver)
    }

    /// Answers for one reactor. The asker may be gone.
    pub fn answer(&self, sessions: Vec<SessionRecord>) {
        let _ = self.answers.try_send(sessions);
    }
}
