//! Answers to commands on keys, and the reasons for which there are none.

use crate::net::trouble::Trouble;
use ::redis::{ServerError, Value};

/// The answer to one command.
pub(crate) type KeyAnswer = Result<Value, ServerError>;

/// The reason for which it is not known what commands did.
#[derive(Clone, Debug)]
pub(crate) enum NoAnswers {
    /// The connection or the search for the master failed.
    Failed(Trouble),
    /// The server works, but its answers together are longer than one call may read.
    TooLong(Trouble),
}

impl NoAnswers {
    pub(crate) fn into_trouble(self) -> Trouble {
        match self {
            NoAnswers::Failed(trouble) | NoAnswers::TooLong(trouble) => trouble,
        }
    }
}

impl From<Trouble> for NoAnswers {
    fn from(trouble: Trouble) -> NoAnswers {
        NoAnswers::Failed(trouble)
    }
}
