//! `seawall relay status|dead|replay|skip|try|resume`: the relay of the running gateway, through its admin listener.

use super::config::Config;
use super::lookup_command::encoded;
use super::output::{self, counted};
use super::relay_text::{
    CommandOutcome, Replayed, dead, letters, replayed, resumed, skipped, status, succeeded, tried,
};
use super::remote::Remote;
use super::running::RunningGateway;
use crate::id::{ChannelName, INTEGER_MAX};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

const PATH: &str = "/relay";

#[derive(Debug, Subcommand)]
pub(super) enum RelayCommand {
    /// Print each route: channels that wait, the oldest message, attempts, requests and dead letters, and the channels that are stuck
    Status(RelayStatusArguments),
    /// Print the dead letters: messages that no backend has taken, with their causes
    Dead(RelayDeadArguments),
    /// Send messages to the backend again, with their ids: dead letters, or a part of a channel. Responses are not read as answers;
    /// exit with 1 if one was not taken
    Replay(RelayReplayArguments),
    /// Give up what a channel waits for, up to an offset: its messages become dead letters, and the next one is sent
    Skip(RelaySkipArguments),
    /// Send a signed test to the backend of a route and print the response; exit with 1 if it would not have been taken
    Try {
        /// The name of the route
        #[arg(long, value_name = "NAME", value_parser = route_name)]
        route: String,
    },
    /// End the pause of a route at this instance; a backend begins it with status 410
    Resume {
        /// The name of the route
        #[arg(long, value_name = "NAME", value_parser = route_name)]
        route: String,
    },
}

#[derive(Args, Debug)]
pub(super) struct RelayStatusArguments {
    /// Only this route
    #[arg(long, value_name = "NAME", value_parser = route_name)]
    route: Option<String>,
    /// Print the answer of the gateway as JSON
    #[arg(long, conflicts_with = "route")]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RelayDeadArguments {
    /// Only those of this route
    #[arg(long, value_name = "NAME", value_parser = route_name)]
    route: Option<String>,
    /// Only those after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Print the answer of the gateway as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("messages").required(true).args(["dead", "channel"])))]
pub(super) struct RelayReplayArguments {
    /// The name of the route
    #[arg(long, value_name = "NAME", value_parser = route_name)]
    route: String,
    /// All dead letters of the route
    #[arg(long, conflicts_with_all = ["from", "to"])]
    dead: bool,
    /// The channel
    #[arg(long, value_name = "CHANNEL", value_parser = channel_name, requires = "from", requires = "to")]
    channel: Option<String>,
    /// The offset of the first message
    #[arg(long, value_name = "OFFSET", value_parser = offset, requires = "channel")]
    from: Option<u64>,
    /// The offset of the last message
    #[arg(long, value_name = "OFFSET", value_parser = offset, requires = "channel")]
    to: Option<u64>,
}

#[derive(Args, Debug)]
pub(super) struct RelaySkipArguments {
    /// The channel
    #[arg(long, value_name = "CHANNEL", value_parser = channel_name)]
    channel: String,
    /// The offset of the last message to give up; `seawall relay status` prints where a channel is
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    to: u64,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

fn route_name(text: &str) -> Result<String, String> {
    let is_name =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let rule =
        || "must be the name of a route, as in [[relay]]; `seawall relay status` lists them".to_owned();
    is_name.then(|| text.to_owned()).ok_or_else(rule)
}

fn channel_name(text: &str) -> Result<String, String> {
    let rule =
        || format!("must be {}; `seawall relay status` lists channels that are stuck", ChannelName::RULE);
    ChannelName::check(text).map(|()| text.to_owned()).map_err(|_| rule())
}

fn offset(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (1..=INTEGER_MAX).contains(number));
    number.ok_or_else(|| {
        "must be an offset, a whole number from 1; `seawall relay status` prints them".to_owned()
    })
}

impl RelayCommand {
    /// Asks the gateway, and prints its answer. The exit code is 1 if it fails.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        let outcome = Remote::of(config, running).and_then(|remote| match self {
            RelayCommand::Status(arguments) => arguments.run(&remote),
            RelayCommand::Dead(arguments) => arguments.run(&remote),
            RelayCommand::Replay(arguments) => arguments.run(&remote),
            RelayCommand::Skip(arguments) => arguments.run(&remote),
            RelayCommand::Try { route } => {
                remote.read("POST", &format!("{PATH}/routes/{}/try", encoded(route)), "", tried)
            }
            RelayCommand::Resume { route } => {
                let path = format!("{PATH}/routes/{}/resume", encoded(route));
                remote.read("POST", &path, "", |body| resumed(body).map(succeeded))
            }
        });
        match outcome {
            Ok(CommandOutcome { text, code }) => match output::print(&text) {
                ExitCode::SUCCESS => code,
                failed => failed,
            },
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    }
}

impl RelayStatusArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        remote.read("GET", PATH, "", |body| match self.json {
            true => Some(succeeded(body.to_owned())),
            false => status(body, self.route.as_deref()),
        })
    }
}

impl RelayDeadArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        let route = self.route.as_ref().map(|name| format!("&route={name}")).unwrap_or_default();
        let path = format!("{PATH}/dead?after={}{route}", self.after);
        remote.read("GET", &path, "", |body| match self.json {
            true => Some(succeeded(body.to_owned())),
            false => dead(body).map(succeeded),
        })
    }
}

impl RelayReplayArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        let mut total = Replayed::default();
        match (&self.channel, self.from, self.to) {
            (Some(_), Some(from), Some(to)) if from > to => {
                return Err(format!("--from {from} is above --to {to}: give the first offset and the last"));
            }
            (Some(channel), Some(from), Some(to)) => self.range(remote, channel, (from, to), &mut total)?,
            _ => self.letters(remote, &mut total)?,
        }
        let text = format!("{} sent again, {} taken\n", counted(total.sent, "message"), total.taken);
        let code = if total.taken == total.sent { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        Ok(CommandOutcome { text, code })
    }

    /// Sends all dead letters of the route, the oldest first.
    fn letters(&self, remote: &Remote, total: &mut Replayed) -> Result<(), String> {
        let mut after = Some(0);
        while let Some(number) = after {
            let path = format!("{PATH}/dead?after={number}&route={}", self.route);
            let (letters, next) = remote.read("GET", &path, "", letters)?;
            for (channel, range) in &letters {
                self.range(remote, channel, *range, total)?;
            }
            after = next;
        }
        Ok(())
    }

    /// Sends a part of a channel. The gateway sends a bounded number of messages at once.
    fn range(
        &self,
        remote: &Remote,
        channel: &str,
        (from, to): (u64, u64),
        total: &mut Replayed,
    ) -> Result<(), String> {
        let path = format!("{PATH}/routes/{}/replay", encoded(&self.route));
        let mut next = Some(from);
        while let Some(from) = next {
            let body = json!({"channel": channel, "from": from, "to": to}).to_string();
            let (text, replayed, more) = remote.read("POST", &path, &body, |body| replayed(channel, body))?;
            output::print(&text);
            total.sent += replayed.sent;
            total.taken += replayed.taken;
            next = more;
        }
        Ok(())
    }
}

impl RelaySkipArguments {
    fn run(&self, remote: &Remote) -> Result<CommandOutcome, String> {
        if !self.yes && !self.is_confirmed()? {
            return Err("not confirmed; nothing was changed".into());
        }
        let body = json!({"channel": self.channel, "to": self.to}).to_string();
        let (mut cursor_before, mut dead, mut answers) = (None, 0, 0);
        // The gateway moves a cursor by a bounded number of messages at once.
        loop {
            let (cursor, more_dead, more_answers) =
                remote.read("POST", &format!("{PATH}/skip"), &body, skipped)?;
            dead += more_dead;
            answers += more_answers;
            if cursor >= self.to || cursor_before == Some(cursor) {
                let text = format!(
                    "{} continues after offset {cursor}: {} given up, {} ended\n",
                    self.channel,
                    counted(dead, "message"),
                    counted(answers, "answer")
                );
                return Ok(succeeded(text));
            }
            cursor_before = Some(cursor);
        }
    }

    /// Asks the person at the terminal.
    fn is_confirmed(&self) -> Result<bool, String> {
        if !io::stdin().is_terminal() {
            return Err("there is no terminal to ask for confirmation at: repeat it with --yes".into());
        }
        let failed = |error: io::Error| format!("cannot ask for confirmation: {error}");
        let mut err = io::stderr();
        let asked = format!(
            "Messages of {} up to offset {} will never be sent to the backend, and their answers end as failed. Continue? [y/N] ",
            self.channel, self.to
        );
        err.write_all(asked.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        Ok(matches!(line.trim(), "y" | "Y" | "yes"))
    }
}
