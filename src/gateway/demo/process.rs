//! The gateway of a demo: this program, in a process of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Ends with its value.
pub(super) struct GatewayProcess {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl GatewayProcess {
    /// Starts it with a store in this folder and a dependency on this port.
    pub(super) fn start(folder: &Path, assistant: u16) -> Result<GatewayProcess, String> {
        let log = folder.join("gateway.log");
        let failed = |error: std::io::Error| format!("cannot start the gateway: {error}");
        std::fs::write(folder.join("seawall.toml"), configuration(assistant)).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(folder.join("seawall.toml"));
        command.arg("--data").arg(folder.join("data")).current_dir(folder);
        // The settings of this shell are for another gateway.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEAWALL_"))
        {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).map_err(failed)?);
        let child = command.spawn().map_err(failed)?;
        let mut gateway = GatewayProcess { child, port: 0, log };
        let stdout = gateway.child.stdout.take();
        gateway.port = stdout.and_then(port_in).ok_or_else(|| gateway.ended())?;
        Ok(gateway)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Fails once the process has ended.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(self.ended()),
        }
    }

    fn ended(&self) -> String {
        let mut text = String::new();
        // Without a log there is nothing to add.
        let _ = File::open(&self.log).and_then(|mut log| log.read_to_string(&mut text));
        format!("the gateway of the demo has ended:\n{}", text.trim_end())
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        // Its clients and its store end with the demo, so there is nothing to drain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The port in the first line that the gateway prints.
fn port_in(stdout: ChildStdout) -> Option<u16> {
    let mut line = String::new();
    let mut lines = BufReader::new(stdout);
    lines.read_line(&mut line).ok()?;
    // The rest is read, so that the gateway can write it.
    let rest = move || {
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    };
    std::thread::Builder::new().name("demo-output".into()).spawn(rest).ok()?;
    line.trim_end().strip_suffix("/ws")?.rsplit(':').next()?.parse().ok()
}

fn configuration(assistant: u16) -> String {
    format!(
        "[admin]\nlisten = \"off\"\n\n[[dependency]]\nname = \"assistant\"\nkind = \"http\"\nurl = \"http://127.0.0.1:{assistant}/health\"\n\
         criticality = \"optional\"\nlost = [\"replies\"]\nsentence = \"The assistant does not answer at the moment.\"\n\
         interval_ms = 500\ntimeout_ms = 300\nfailures = 2\nsuccesses = 1\n"
    )
}
