//! A file about the running gateway, by which other commands on this machine find it: `gateway.json`.
//!
//! It is in the data folder and in the folder that systemd makes for the unit (`RUNTIME_DIRECTORY`), so that an operator needs
//! neither the gateway's working folder nor its variables. It holds no secret, only the path of the admin token.

use super::admin::PreparedAdmin;
use super::config::Config;
use super::config::secret_file::FileAccess;
use super::output;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const NAME: &str = "gateway.json";
/// The folder with a folder or a file for each unit of systemd.
const RUNTIME_FOLDER: &str = "/run/seawall";

/// The description of a running gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunningGateway {
    pub(super) instance: String,
    pub(super) pid: u32,
    pub(super) version: String,
    /// The bound address of the admin listener; `None` without one.
    pub(super) admin: Option<SocketAddr>,
    /// The file of the admin token; `None` if `admin.token` is set.
    pub(super) token_file: Option<PathBuf>,
    /// The configuration file that was read, if any.
    pub(super) configuration: Option<PathBuf>,
    /// The number of `SEAWALL_` variables.
    pub(super) variables: usize,
}

/// The files of this process. They are removed when it is dropped.
pub(super) struct Announcement {
    files: Vec<PathBuf>,
    pid: u32,
}

/// Describes this process to other commands. A folder that cannot be written is only reported.
pub(super) fn announce(config: &Config, instance: &str, admin: &PreparedAdmin) -> Announcement {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (address, token_file) = admin.place();
    let gateway = RunningGateway {
        instance: instance.to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        admin: address,
        token_file: token_file.map(absolute),
        configuration: config.origins.file().map(absolute),
        variables: variables(),
    };
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let folders = std::env::split_paths(&runtime).chain([config.store.data.clone()]);
    let mut files = Vec::new();
    // The data folder exists only if something is kept in it.
    for file in folders.filter(|folder| folder.is_dir()).map(|folder| folder.join(NAME)) {
        match gateway.write(&file) {
            Ok(()) => files.push(file),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "other commands will not find this gateway")
            }
        }
    }
    Announcement { files, pid: gateway.pid }
}

/// The number of `SEAWALL_` variables of this process.
pub(super) fn variables() -> usize {
    std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SEAWALL_")).count()
}

impl Drop for Announcement {
    fn drop(&mut self) {
        for file in &self.files {
            // A successor may have replaced it.
            if RunningGateway::read(file).is_some_and(|gateway| gateway.pid == self.pid) {
                // One that stays names a process that is gone, and is ignored.
                let _ = fs::remove_file(file);
            }
        }
    }
}

impl RunningGateway {
    /// The gateway that runs with this data folder.
    pub(super) fn in_folder(folder: &Path) -> Option<RunningGateway> {
        RunningGateway::read(&folder.join(NAME)).filter(RunningGateway::is_alive)
    }

    /// The gateway that runs as a unit of systemd; `None` if there is none. If there are several, `instance` chooses.
    pub(super) fn of_units(instance: Option<&str>) -> Result<Option<RunningGateway>, String> {
        choose(units_below(Path::new(RUNTIME_FOLDER)), instance)
    }

    /// One line for an operator.
    pub(super) fn describe(&self) -> String {
        let RunningGateway { instance, pid, configuration, variables, .. } = self;
        let file = configuration.as_ref().map_or_else(|| "no file".into(), |file| file.display().to_string());
        let plural = if *variables == 1 { "" } else { "s" };
        format!("{instance} (pid {pid}; {file}, {variables} variable{plural})")
    }

    /// A file that other users can write is ignored: it could lead a command, and with it the admin token, elsewhere.
    fn read(file: &Path) -> Option<RunningGateway> {
        if FileAccess::of(&file.metadata().ok()?.permissions()) == FileAccess::Writable {
            let shown = file.display();
            output::warn(&format!(
                "{shown} is ignored, because other users can write it: run chmod 644 {shown}"
            ));
            return None;
        }
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// Writes the file as a whole, because a reader may come at any time.
    fn write(&self, file: &Path) -> io::Result<()> {
        let new = file.with_extension(format!("json.{}.new", self.pid));
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        fs::set_permissions(&new, Permissions::from_mode(0o644))?;
        fs::rename(&new, file)
    }

    fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// The running gateways whose files are in this folder or one folder below.
fn units_below(folder: &Path) -> Vec<RunningGateway> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.collect();
    folders.sort();
    folders.insert(0, folder.to_owned());
    folders.iter().filter_map(|folder| RunningGateway::in_folder(folder)).collect()
}

fn choose(mut found: Vec<RunningGateway>, instance: Option<&str>) -> Result<Option<RunningGateway>, String> {
    let described = found.iter().map(|gateway| format!("  {}\n", gateway.describe())).collect::<String>();
    if let Some(instance) = instance {
        let at = found.iter().position(|gateway| gateway.instance == instance);
        return match at {
            Some(at) => Ok(Some(found.swap_remove(at))),
            None if found.is_empty() => Err(format!(
                "no running gateway is named {instance} (--instance): none runs with this data folder or as a unit of systemd \
                 on this machine"
            )),
            None => {
                Err(format!("no running gateway is named {instance}; these run:\n{}", described.trim_end()))
            }
        };
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(format!("several gateways run here; choose one with --instance:\n{}", described.trim_end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(instance: &str, pid: u32) -> RunningGateway {
        RunningGateway {
            instance: instance.into(),
            pid,
            version: "0.1.0".into(),
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            token_file: Some("/var/lib/seawall/admin.token".into()),
            configuration: None,
            variables: 1,
        }
    }

    #[test]
    fn running_gateways_are_found_by_their_files_and_gone_ones_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, gone) = (std::process::id(), i32::MAX as u32);
        for (name, pid) in [("blue", own), ("green", own), ("grey", gone)] {
            let unit = folder.path().join(name);
            fs::create_dir(&unit).expect("created");
            gateway(name, pid).write(&unit.join(NAME)).expect("written");
        }
        fs::create_dir(folder.path().join("empty")).expect("created");
        let found = units_below(folder.path());
        assert_eq!(found, [gateway("blue", own), gateway("green", own)]);
        let several = choose(found.clone(), None).expect_err("two");
        assert!(
            several.contains("--instance") && several.contains("blue") && several.contains("green"),
            "{several}"
        );
        assert_eq!(choose(found.clone(), Some("green")), Ok(Some(gateway("green", own))));
        assert!(choose(found.clone(), Some("red")).expect_err("none").contains("blue (pid"));
        assert_eq!(choose(found[..1].to_vec(), None), Ok(Some(gateway("blue", own))));
        assert_eq!(choose(Vec::new(), None), Ok(None));
    }

    #[test]
    fn file_of_a_successor_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(NAME);
        gateway("a", 1).write(&file).expect("written");
        drop(Announcement { files: vec![file.clone()], pid: 2 });
        assert!(file.exists());
        drop(Announcement { files: vec![file.clone()], pid: 1 });
        assert!(!file.exists());
    }
}
