//! `seawall console`: asks the running gateway for a link to its console.

use super::config::Config;
use super::output;
use super::remote::Remote;
use super::running::RunningGateway;
use clap::Args;
use serde_json::Value;
use std::process::{Command, ExitCode, Stdio};

const PATH: &str = "/console/links";

#[derive(Args, Clone, Debug)]
pub(super) struct ConsoleArguments {
    /// The link may only read
    #[arg(long)]
    read_only: bool,
    /// Open the link in a browser on this machine. Other users of the machine can see it in the list of processes for a moment
    #[arg(long)]
    open: bool,
    /// The address at which the browser reaches the admin listener [default: admin.url, else its own address]
    #[arg(long, value_name = "BASE", value_hint = clap::ValueHint::Url)]
    url: Option<String>,
}

impl ConsoleArguments {
    /// Prints the link, and opens it if that is asked for.
    pub(super) fn run(&self, config: &Config, running: Option<&RunningGateway>) -> ExitCode {
        match self.link(config, running) {
            Ok(link) => {
                if self.open {
                    open(&link);
                }
                output::print(&format!("{link}\n"))
            }
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    }

    fn link(&self, config: &Config, running: Option<&RunningGateway>) -> Result<String, String> {
        let remote = Remote::of(config, running)?;
        let scope = if self.read_only { "read" } else { "operate" };
        let code = remote.read("POST", PATH, &format!("{{\"scope\":\"{scope}\"}}"), code_of)?;
        let own = format!("http://{}", remote.address());
        let base = self.url.as_deref().or(config.admin.url.as_deref()).unwrap_or(&own);
        Ok(link_of(base, &code))
    }
}

fn code_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    body["code"].as_str().map(str::to_owned)
}

/// The code is in the fragment, which a browser sends to no server.
fn link_of(base: &str, code: &str) -> String {
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/console").unwrap_or(base);
    format!("{base}/console/#code={code}")
}

/// Opens the link with the desktop's own program. The link is printed in any case, so a failure is only a warning.
fn open(link: &str) {
    let quiet = Stdio::null;
    let started = Command::new("xdg-open").arg(link).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    if let Err(error) = started {
        output::warn(&format!("cannot start xdg-open: {error}; open the link yourself"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_in_the_fragment_below_any_base() {
        for base in
            ["https://ops.example/gw-1", "https://ops.example/gw-1/", "https://ops.example/gw-1/console/"]
        {
            assert_eq!(link_of(base, "abc"), "https://ops.example/gw-1/console/#code=abc");
        }
        assert_eq!(code_of(r#"{"code":"abc","expires_ms":60000}"#).as_deref(), Some("abc"));
        assert_eq!(code_of("<html>"), None);
    }
}
