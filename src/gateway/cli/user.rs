//! `seawall user …`: the sessions of a user, and orders about them.

use super::argument;
use super::which::Which;
use crate::gateway::lookup_command::LookupSubject;
use crate::gateway::order_command::{CliComeback, OrderTask};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Print the open sessions of a user, and those among the last that ended
    Sessions {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        #[command(flatten)]
        which: Which,
    },
    /// End the sessions of a user on all instances; exit with 1 if one has not answered
    Disconnect {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        /// For the user, at most 64 bytes
        #[arg(long, value_name = "TEXT", value_parser = argument::reason)]
        reason: Option<String>,
        /// Ask the clients to stay away. Without it they connect again
        #[arg(long)]
        stay_away: bool,
        #[command(flatten)]
        which: Which,
    },
    /// End the sessions of a user on all instances, and refuse the user until the block ends
    Block {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        /// For operators, at most 64 bytes
        #[arg(long, value_name = "TEXT", value_parser = argument::reason)]
        reason: Option<String>,
        /// The end of the block, in Unix milliseconds [default: until the user is unblocked]
        #[arg(long, value_name = "MS", value_parser = argument::unix_ms)]
        until: Option<u64>,
        #[command(flatten)]
        which: Which,
    },
    /// End the block of a user
    Unblock {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        #[command(flatten)]
        which: Which,
    },
    /// Remove everything that a user wrote from the log, on all instances
    Erase {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        #[command(flatten)]
        which: Which,
    },
    /// Print where a user is connected, over all instances, and whether the user is blocked
    Show {
        /// The user: `sub` of its token
        #[arg(value_name = "NAME", value_parser = argument::user)]
        name: String,
        #[command(flatten)]
        which: Which,
    },
}

/// The task of a command.
pub(super) enum UserTask {
    LookUp(LookupSubject),
    /// The connections and the block of this user.
    Show(String),
    Order(OrderTask),
}

impl UserCommand {
    /// The task, and the gateway that is asked.
    pub(super) fn task(self) -> (UserTask, Which) {
        match self {
            UserCommand::Sessions { name, which } => (UserTask::LookUp(LookupSubject::User(name)), which),
            UserCommand::Disconnect { name, reason, stay_away, which } => {
                let comeback = if stay_away { CliComeback::Stay } else { CliComeback::Return };
                (UserTask::Order(OrderTask::Disconnect { user: name, reason, comeback }), which)
            }
            UserCommand::Block { name, reason, until, which } => {
                (UserTask::Order(OrderTask::Block { user: name, reason, until }), which)
            }
            UserCommand::Unblock { name, which } => {
                (UserTask::Order(OrderTask::Unblock { user: name }), which)
            }
            UserCommand::Erase { name, which } => (UserTask::Order(OrderTask::Erase { user: name }), which),
            UserCommand::Show { name, which } => (UserTask::Show(name), which),
        }
    }
}
