//! `seawall demo`: a gateway with people in it, a service that it depends on and a network, both of which a button of the page unplugs.
//!
//! Everything is real: the gateway is this program in a process of its own, it probes the service over HTTP, and the page reaches it
//! through a relay that cuts connections. All of it ends with the command, and nothing stays behind.

mod assistant;
mod folder;
mod network;
mod plug;
mod process;
mod robot_link;
mod robots;
mod script;

use super::output;
use assistant::Assistant;
use clap::Args;
use folder::Folder;
use network::Network;
use process::GatewayProcess;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The time between two looks at the gateway.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Args, Debug)]
pub(super) struct DemoArguments {
    /// The address of the page [default: a free port on this machine]
    #[arg(long = "at", value_name = "ADDRESS", default_value = "127.0.0.1:0", hide_default_value = true)]
    at: SocketAddr,
}

impl DemoArguments {
    /// Runs the demo until a signal ends it.
    pub(super) fn run(&self) -> ExitCode {
        match self.play() {
            Ok(()) => output::print("\nThe demo is over. Nothing of it is left on this machine.\n"),
            Err(message) => {
                output::fail(&message);
                ExitCode::FAILURE
            }
        }
    }

    fn play(&self) -> Result<(), String> {
        if !self.at.ip().is_loopback() {
            return Err(format!(
                "--at {} is not an address of this machine alone, and the demo asks for no sign-in: use one like 127.0.0.1:8090",
                self.at
            ));
        }
        let signals = signals()?;
        let folder = Folder::create()?;
        let assistant =
            Assistant::start().map_err(|error| format!("cannot start the demo's service: {error}"))?;
        let mut gateway = GatewayProcess::start(folder.path(), assistant.port())?;
        let network = Network::start(self.at, gateway.port()).map_err(|error| {
            format!("cannot listen at {}: {error}; choose another address with --at", self.at)
        })?;
        output::inform(&greeting(network.address()));
        robots::start(gateway.port(), Arc::clone(&assistant), network).map_err(|error| error.to_string())?;
        while signals.recv_timeout(LOOK).is_err() {
            gateway.check()?;
        }
        Ok(())
    }
}

fn greeting(address: SocketAddr) -> String {
    format!(
        "A gateway with three robots is running. Open\n\n  http://{address}/#channel=lobby&demo\n\n\
         and talk to them. \"Pull the plug\" at the left unplugs the assistant's service or your network.\n\
         Open the page twice to see what each side sees. Ctrl-C ends the demo and removes what it stored.\n"
    )
}

/// A queue with the first signal that ends the demo.
fn signals() -> Result<crossbeam_channel::Receiver<i32>, String> {
    let failed = |error: std::io::Error| format!("cannot watch for Ctrl-C: {error}");
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let watch = move || {
        for signal in signals.forever() {
            // A full queue means that the demo is ending already.
            let _ = sender.try_send(signal);
        }
    };
    std::thread::Builder::new().name("demo-signals".into()).spawn(watch).map_err(failed)?;
    Ok(receiver)
}
