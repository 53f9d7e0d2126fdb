//! The needs of a gateway with the embedded store, for `seawall doctor`: the data folder, room on its disk,
//! descriptors, the certificate, and the ports.

use super::capacity;
use super::config::Config;
use super::config::certificate::expiry_warning;
use super::running::RunningGateway;
use crate::health::definition::Criticality;
use crate::probe::table::{Diagnosed, DiagnosisRow};
use rustix::fs::{Access, access, statvfs};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// One row for each; none if the store is elsewhere. `unix_s` is the time now.
pub(super) fn rows(config: &Config, unix_s: u64) -> Vec<DiagnosisRow> {
    if config.store.postgres().is_some() {
        return Vec::new();
    }
    let data = &config.store.data;
    let holder = RunningGateway::in_folder(data).map(|gateway| gateway.describe());
    let (critical, optional) = (Criticality::Critical, Criticality::Optional);
    let folder = data.display().to_string();
    let mut rows = vec![row("data folder", "folder", &folder, critical, folder_state(data))];
    if data.is_dir() {
        rows.push(row("free space", "disk", &folder, critical, space(data, config.store.free_bytes_min)));
    }
    let wanted = u64::from(config.limits.connections);
    rows.push(row("descriptors", "limit", "", optional, descriptors(capacity::descriptors_max(), wanted)));
    if let Some(identity) = &config.tls.identity {
        let found = match expiry_warning(identity.validity.not_after, unix_s) {
            None => Diagnosed::Ok,
            Some(warning) => Diagnosed::Warning(warning),
        };
        rows.push(row("certificate", "file", "", critical, found));
    }
    let listen = config.server.listen;
    rows.push(row("listener", "port", &listen.to_string(), critical, port(listen, holder.as_deref())));
    if let Some(admin) = config.admin.listen {
        rows.push(row("admin", "port", &admin.to_string(), optional, port(admin, holder.as_deref())));
    }
    if let Some(api) = config.api.listen {
        rows.push(row("server API", "port", &api.to_string(), critical, port(api, holder.as_deref())));
    }
    rows
}

fn row(name: &str, kind: &str, address: &str, criticality: Criticality, found: Diagnosed) -> DiagnosisRow {
    let (name, kind, address) = (name.into(), kind.into(), address.into());
    DiagnosisRow { name, kind, address, criticality, latency: None, found }
}

fn down(cause: impl Into<String>, look_at: impl Into<String>) -> Diagnosed {
    Diagnosed::Down { cause: cause.into(), look_at: look_at.into() }
}

/// The data folder: it exists, this user can write to it, and other users cannot.
fn folder_state(data: &Path) -> Diagnosed {
    let shown = data.display();
    let found = match data.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Diagnosed::Warning("it does not exist yet: the first start makes it".into());
        }
        Err(error) => return down(error.to_string(), format!("the path {shown} (store.data)")),
        Ok(found) => found,
    };
    if !found.is_dir() {
        return down("it is a file", format!("store.data: {shown} must be a folder"));
    }
    if access(data, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return down(
            "this user cannot write to it",
            format!("its owner and mode (ls -ld {shown}), and the user that the gateway runs as"),
        );
    }
    match found.permissions().mode() & 0o022 {
        0 => Diagnosed::Ok,
        _ => Diagnosed::Warning(format!("other users can write to it: run chmod 700 {shown}")),
    }
}

fn space(data: &Path, free_bytes_min: u64) -> Diagnosed {
    match statvfs(data) {
        Ok(found) => room(found.f_bavail.saturating_mul(found.f_frsize), free_bytes_min),
        Err(error) => down(format!("the free space is unknown: {error}"), "the disk of store.data"),
    }
}

/// Free bytes against `store.free_bytes_min`: below it publications are refused, and below twice as much they soon will be.
fn room(free: u64, free_bytes_min: u64) -> Diagnosed {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if free < free_bytes_min {
        return down(
            format!("{} are free, {} are needed (store.free_bytes_min)", mib(free), mib(free_bytes_min)),
            "what fills the disk, and retention: publications are refused",
        );
    }
    if free < free_bytes_min.saturating_mul(2) {
        let text = format!("{} are free; below {} publications are refused", mib(free), mib(free_bytes_min));
        return Diagnosed::Warning(text);
    }
    Diagnosed::Ok
}

fn descriptors(limit: u64, wanted: u64) -> Diagnosed {
    if wanted < limit {
        return Diagnosed::Ok;
    }
    Diagnosed::Warning(format!(
        "the descriptor limit of this shell is {limit}, below limits.connections {wanted}: raise it (ulimit -n, or LimitNOFILE= of \
         the unit)"
    ))
}

/// A port that can be bound, or that the running gateway holds.
fn port(address: SocketAddr, holder: Option<&str>) -> Diagnosed {
    judge_port(TcpListener::bind(address).map(drop), holder)
}

fn judge_port(bound: io::Result<()>, holder: Option<&str>) -> Diagnosed {
    match (bound, holder) {
        (Ok(()), _) => Diagnosed::Ok,
        (Err(error), Some(_)) if error.kind() == ErrorKind::AddrInUse => Diagnosed::Ok,
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => {
            down("another process holds it", "which one: ss -ltnp; or choose another address")
        }
        (Err(error), _) => down(error.to_string(), "the address, and the right to open this port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_down(found: &Diagnosed) -> bool {
        matches!(found, Diagnosed::Down { .. })
    }

    #[test]
    fn folder_is_down_if_it_is_a_file_and_warns_if_others_can_write() {
        let home = tempfile::tempdir().expect("a folder");
        let (folder, file) = (home.path().join("data"), home.path().join("file"));
        assert!(matches!(folder_state(&folder), Diagnosed::Warning(_)), "it does not exist");
        std::fs::create_dir(&folder).expect("a folder");
        let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode));
        mode(0o700).expect("a mode");
        assert_eq!(folder_state(&folder), Diagnosed::Ok);
        mode(0o777).expect("a mode");
        assert!(matches!(folder_state(&folder), Diagnosed::Warning(_)));
        std::fs::write(&file, "").expect("a file");
        assert!(is_down(&folder_state(&file)));
    }

    #[test]
    fn room_and_descriptors_are_compared_with_the_settings() {
        let bound = 1 << 30;
        assert!(is_down(&room(bound - 1, bound)));
        assert!(matches!(room(bound, bound), Diagnosed::Warning(_)));
        assert_eq!(room(2 * bound, bound), Diagnosed::Ok);
        assert_eq!(room(0, 0), Diagnosed::Ok, "no bound");
        assert_eq!(descriptors(1_024, 1_000), Diagnosed::Ok);
        assert!(matches!(descriptors(1_024, 1_024), Diagnosed::Warning(_)));
    }

    #[test]
    fn port_in_use_is_the_running_gateways_or_a_fault() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("an address");
        assert!(is_down(&port(address, None)));
        assert_eq!(port(address, Some("blue (pid 1)")), Diagnosed::Ok);
        drop(held);
        assert_eq!(port(address, None), Diagnosed::Ok);
        let denied = || Err(io::Error::from(ErrorKind::PermissionDenied));
        assert!(is_down(&judge_port(denied(), Some("blue (pid 1)"))));
    }
}
