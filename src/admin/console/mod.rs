//! The console: pages for operators in a browser, and the data behind them.
//!
//! It keeps no state of its own but links, sessions, the history of measured values and the newest changes. Everything else
//! that it shows belongs to another part, and has an endpoint of its own.

mod action;
pub mod change_watch;
mod files;
pub mod live;
pub mod path;
pub mod rules;
mod sampler;
mod serve;
pub mod session;
pub mod storm_watch;

use crate::metrics::changes::ChangeLog;
use crate::metrics::history::History;
use crate::metrics::series;
use parking_lot::Mutex;
use rules::PageRules;
use session::Sessions;

/// The console's own state. Each lock is held only to copy or to look something up, and no reactor takes one.
#[derive(Debug)]
pub struct Console {
    pub(super) rules: PageRules,
    pub(super) sessions: Mutex<Sessions>,
    history: Mutex<History>,
    pub(super) changes: ChangeLog,
}

impl Console {
    /// Allocates the history.
    pub fn new(rules: PageRules) -> Console {
        Console {
            rules,
            sessions: Mutex::default(),
            history: Mutex::new(History::new(series::folds())),
            changes: ChangeLog::default(),
        }
    }
}
