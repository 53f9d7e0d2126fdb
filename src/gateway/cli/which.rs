//! The choice of a running gateway.

use clap::Args;

/// The gateway that a command is about. It is found by the data folder of the configuration; without a configuration here, as a
/// unit of systemd (`/run/seawall`), and then by `/etc/seawall/seawall.toml`.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The name of the gateway, if several run as units of systemd
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
}
