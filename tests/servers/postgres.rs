//! A real PostgreSQL, with its own database cluster for each test.

use super::process::{self, Process, User};
use super::wait::{LATE, SOON, comes_true};
use rustix::process::Signal;
use seawall_fault::HeldPort;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;

/// The database and the role that owns it: without a password and, as in production, not a superuser.
const NAME: &str = "seawall";
/// The superuser, with reserved connections when the others run out.
const SUPERUSER: &str = "postgres";

/// The settings of every cluster.
///
/// Without syncs: the kernel keeps what a killed process wrote, and only a power loss would not. Shared memory is in
/// files of the cluster's own folder, so that a killed server leaves none.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("listen_addresses", "127.0.0.1"),
    ("dynamic_shared_memory_type", "mmap"),
    ("shared_buffers", "16MB"),
    ("max_connections", "50"),
    ("logging_collector", "off"),
    ("log_min_messages", "warning"),
    ("max_wal_size", "256MB"),
    ("min_wal_size", "32MB"),
];

/// A PostgreSQL server. It keeps its data and its port until it is dropped.
pub struct Postgres {
    process: Option<Process>,
    port: HeldPort,
    /// Holds sockets, the log, and the data unless that is elsewhere.
    folder: TempDir,
    data: PathBuf,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Postgres {
    /// Starts an empty server and waits until it answers.
    #[track_caller]
    pub fn start() -> Postgres {
        Postgres::start_with(&[])
    }

    /// Starts a server with settings of `postgresql.conf`, which override those of all tests.
    #[track_caller]
    pub fn start_with(settings: &[(&str, &str)]) -> Postgres {
        let mut postgres = Postgres::prepare(settings, None);
        postgres.start_again();
        postgres
    }

    /// Starts a server whose data is in `folder`, which must exist and be empty, such as a disk that can be filled.
    #[track_caller]
    pub fn start_at(folder: &Path, settings: &[(&str, &str)]) -> Postgres {
        let mut postgres = Postgres::prepare(settings, Some(folder));
        postgres.start_again();
        postgres
    }

    /// Prepares a server without starting it.
    #[track_caller]
    pub fn prepare(settings: &[(&str, &str)], at: Option<&Path>) -> Postgres {
        let folder = tempfile::Builder::new().prefix("seawall-pg-").tempdir().expect("a temporary folder");
        let data = at.unwrap_or(folder.path()).join("data");
        copy(&template(), &data);
        process::give(folder.path());
        process::give(&data);
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let port = HeldPort::loopback().expect("a free port");
        Postgres { process: None, port, folder, data, settings, environment: Vec::new() }
    }

    /// Sets an environment variable of its processes from the next start on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Runs one of PostgreSQL's programs on its data while it is down.
    #[track_caller]
    pub fn run_on_data(&self, name: &str, arguments: &[&str]) {
        let mut command = process::command(&binary(name), User::NotRoot);
        command.args(arguments).arg("-D").arg(&self.data).current_dir(self.folder.path());
        process::run(command).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Starts it again on the same port and data, and waits until it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.launch();
        let ready = self.ready_check();
        let process = self.process.as_mut().expect("just started");
        process.until("it answers", || process::run(ready()).is_ok());
    }

    /// Starts it without waiting.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(!self.is_running(), "PostgreSQL runs already");
        let mut command = process::command(&binary("postgres"), User::NotRoot);
        command.arg("-D").arg(&self.data).args(["-p", &self.port.number().to_string()]);
        command.arg("-k").arg(self.folder.path());
        let own = SETTINGS.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        for (name, value) in own.chain(self.settings.iter().cloned()) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.envs(self.environment.iter().cloned()).current_dir(self.folder.path());
        let log = self.folder.path().join("log");
        self.process = Some(Process::start("PostgreSQL", command, &log));
    }

    fn ready_check(&self) -> impl Fn() -> Command + use<> {
        let (program, port) = (binary("pg_isready"), self.port.number().to_string());
        move || {
            let mut command = Command::new(&program);
            command.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", SUPERUSER, "-d", NAME]);
            command
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL for clients that connect directly.
    pub fn url(&self) -> String {
        self.url_through(self.address())
    }

    /// The URL for clients that connect through a proxy at `address`.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("postgres://{NAME}@{address}/{NAME}")
    }

    /// The folder of its unix socket, which bypasses every proxy.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// All lines of its log since its last start that contain one of these words.
    pub fn logged(&self, words: &[&str]) -> Vec<String> {
        let log = self.process.as_ref().map(Process::whole_log).unwrap_or_default();
        let lines = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Sets a setting from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(own, _)| own != name);
        self.settings.push((name.into(), value.into()));
    }

    /// Runs statements as the superuser, through `psql` and the unix socket. Returns unaligned rows with columns
    /// separated by `|`.
    ///
    /// # Errors
    ///
    /// The message of `psql`, which includes the SQLSTATE.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        process::run(self.psql(SUPERUSER, text))
    }

    /// Runs statements as the role that [`Postgres::url`] names.
    ///
    /// # Errors
    ///
    /// As [`Postgres::try_sql`].
    pub fn try_sql_as_owner(&self, text: &str) -> Result<String, String> {
        process::run(self.psql(NAME, text))
    }

    /// As [`Postgres::try_sql_as_owner`], over TCP to `address`, such as that of a proxy.
    ///
    /// # Errors
    ///
    /// As [`Postgres::try_sql`].
    pub fn try_sql_at(&self, address: SocketAddr, text: &str) -> Result<String, String> {
        let mut command = self.psql(NAME, text);
        // The last occurrence of an option counts.
        command.arg("-h").arg(address.ip().to_string()).args(["-p", &address.port().to_string()]);
        process::run(command)
    }

    /// The statements that restore the schema `seawall` with all its data and rights.
    #[track_caller]
    pub fn dump(&self) -> String {
        let mut command = process::command(&binary("pg_dump"), User::Own);
        command.args(["-n", "seawall"]).arg("-h").arg(self.folder.path());
        command.args(["-p", &self.port.number().to_string(), "-U", SUPERUSER, "-d", NAME]);
        process::run(command).unwrap_or_else(|error| panic!("pg_dump: {error}"))
    }

    /// Replaces the schema `seawall` by a dump of it, in one transaction.
    #[track_caller]
    pub fn restore(&self, dump: &str) {
        let file = self.folder.path().join("dump.sql");
        std::fs::write(&file, format!("DROP SCHEMA IF EXISTS seawall CASCADE;\n{dump}")).expect("written");
        let mut command = self.psql(SUPERUSER, "SET client_min_messages = warning");
        command.args(["--single-transaction", "-o", "/dev/null", "-f"]).arg(&file);
        process::run(command).unwrap_or_else(|error| panic!("restore: {error}"));
    }

    /// Runs statements that must succeed.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| {
            // So says psql after PGCONNECT_TIMEOUT.
            let late = if error.contains("timeout expired") { LATE } else { "failed" };
            panic!("{late}: {text}: {error}")
        })
    }

    fn psql(&self, role: &str, text: &str) -> Command {
        let mut command = process::command(&binary("psql"), User::Own);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
        command.arg("-h").arg(self.folder.path());
        command.args(["-p", &self.port.number().to_string(), "-U", role, "-d", NAME, "-c", text]);
        command.env("PGCONNECT_TIMEOUT", SOON.as_secs().to_string());
        command
    }

    /// Stops it in order: sessions are ended and data is written.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("PostgreSQL runs");
        process.end(Signal::INT);
    }

    /// Kills all its processes, like a crash.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.process.take().expect("PostgreSQL runs").kill9();
    }

    /// Freezes all its processes.
    #[track_caller]
    pub fn sigstop(&self) {
        self.process.as_ref().expect("PostgreSQL runs").sigstop();
    }

    #[track_caller]
    pub fn sigcont(&self) {
        self.process.as_ref().expect("PostgreSQL runs").sigcont();
    }

    /// Makes new transactions read-only, also those of open sessions, until [`Postgres::read_write`].
    #[track_caller]
    pub fn read_only(&self) {
        self.reload("default_transaction_read_only", "on");
    }

    #[track_caller]
    pub fn read_write(&self) {
        self.reload("default_transaction_read_only", "off");
    }

    /// Changes a setting while it runs, and waits until new sessions have it.
    #[track_caller]
    pub fn reload(&self, name: &str, value: &str) {
        self.sql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.sql("SELECT pg_reload_conf()");
        let seen = comes_true(SOON, || self.sql(&format!("SHOW {name}")) == value);
        assert!(seen, "{LATE}: {name} is not {value}; is it on the command line?\n{}", self.log());
    }

    /// Makes it a standby without a primary from the next start on: it serves reads, but never writes.
    #[track_caller]
    pub fn become_standby(&mut self) {
        std::fs::write(self.data.join("standby.signal"), "").expect("the data folder is there");
        process::give(&self.data);
    }

    /// Promotes a standby, and returns when it accepts writes.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote(true, 90)"), "t", "{LATE}: it is promoted");
    }

    /// Takes this many connections as the owner's role until the value is dropped. `superuser_reserved_connections` (3
    /// of `max_connections`) cannot be taken this way, so [`Postgres::sql`] still works.
    #[track_caller]
    pub fn occupy(&self, count: usize) -> Occupied {
        let before = self.asleep();
        let mut occupied = Occupied { sleepers: (0..count).map(|_| self.sleeper("SELECT 1")).collect() };
        let taken = comes_true(SOON, || {
            for sleeper in &mut occupied.sleepers {
                // It was refused, because a client that has left may keep its connection for a moment.
                if sleeper.try_wait().is_ok_and(|ended| ended.is_some()) {
                    *sleeper = self.sleeper("SELECT 1");
                }
            }
            self.asleep() == before + count
        });
        assert!(taken, "{LATE}: {} of {count} connections\n{}", self.asleep() - before, self.log());
        occupied
    }

    /// Runs a statement in a transaction that stays open, with its locks, until the value is dropped.
    #[track_caller]
    pub fn hold(&self, statement: &str) -> Occupied {
        let before = self.asleep();
        let holder = Occupied { sleepers: vec![self.sleeper(statement)] };
        assert!(comes_true(SOON, || self.asleep() > before), "{LATE}: {statement}\n{}", self.log());
        holder
    }

    /// Makes every commit that wrote wait, as for an absent standby; reads continue.
    #[track_caller]
    pub fn hang_commits(&self) {
        self.reload("synchronous_standby_names", "absent");
    }

    /// Releases waiting commits.
    #[track_caller]
    pub fn let_commits_go(&self) {
        self.reload("synchronous_standby_names", "");
    }

    /// The number of connections that [`Occupied`] values hold.
    fn asleep(&self) -> usize {
        let found = self.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'occupied' AND wait_event = 'PgSleep'",
        );
        found.parse().expect("a number")
    }

    fn sleeper(&self, statement: &str) -> Child {
        // Statements in one text are one transaction.
        let mut command = self.psql(NAME, &format!("{statement}; SELECT pg_sleep(3600)"));
        // A sleeping backend notices only by this check that its client has left; in milliseconds.
        command.env("PGOPTIONS", "-c client_connection_check_interval=50");
        command.env("PGAPPNAME", "occupied").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("psql starts")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // An immediate shutdown also removes its shared memory; it must be continued for that if it is frozen.
            process.sigcont();
            if process.is_running() && !std::thread::panicking() {
                process.end(Signal::QUIT);
            }
        }
        forget_shared_memory(&self.data);
    }
}

/// Occupied connections, released on drop.
pub struct Occupied {
    sleepers: Vec<Child>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        for sleeper in &mut self.sleepers {
            let _ = sleeper.kill();
            let _ = sleeper.wait();
        }
    }
}

/// Removes the System V segment of a killed cluster, named in its lock file: it outlives the cluster, and the kernel
/// has few.
fn forget_shared_memory(data: &Path) {
    let Ok(lock) = std::fs::read_to_string(data.join("postmaster.pid")) else { return };
    let segment = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
    if let Some(segment) = segment {
        let _ = Command::new("ipcrm").args(["-m", segment]).stderr(Stdio::null()).status();
    }
}

/// The folder of PostgreSQL's programs.
pub fn programs() -> PathBuf {
    binary("postgres").parent().map(Path::to_owned).unwrap_or_default()
}

fn binary(name: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    let version = |folder: &PathBuf| -> u32 {
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default();
        name.to_str().and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    // The newest version, and never a wrapper in PATH that selects a cluster of the machine.
    let installed = folders.into_iter().map(|folder| folder.join(name)).find(|place| place.is_file());
    installed.unwrap_or_else(|| process::program(name, &[], "postgresql"))
}

/// An initialized cluster that was never started, created once and kept for all later tests.
fn template() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let version = process::run({
        let mut command = Command::new(binary("postgres"));
        command.arg("--version");
        command
    });
    let version =
        version.expect("postgres prints its version").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let kept = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let template = kept.join(format!("seawall-small-cluster-{version}"));
    if !template.join("PG_VERSION").is_file() {
        make_template(&template);
    }
    template
}

fn make_template(template: &Path) {
    let folder = tempfile::Builder::new().prefix("seawall-initdb-").tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    process::give(folder.path());
    let mut initdb = process::command(&binary("initdb"), User::NotRoot);
    initdb.args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale", "C"]);
    initdb.args(["--no-sync", "--no-instructions"]);
    initdb.arg("-D").arg(&data).current_dir(folder.path());
    process::run(initdb).unwrap_or_else(|error| panic!("initdb: {error}"));
    // Another test binary may do the same: each copies to a temporary folder, and the first to rename wins.
    own_database(&data);
    let kept = template.parent().expect("a file of a folder");
    let aside =
        tempfile::Builder::new().prefix("seawall-template-").tempdir_in(kept).expect("a folder to keep it");
    copy(&data, &aside.path().join("data"));
    let renamed = std::fs::rename(aside.path().join("data"), template);
    assert!(renamed.is_ok() || template.join("PG_VERSION").is_file(), "{}: {renamed:?}", template.display());
}

/// Creates the role and the database, in the single-user mode.
fn own_database(data: &Path) {
    let mut single = process::command(&binary("postgres"), User::NotRoot);
    single.args(["--single", "-c", "dynamic_shared_memory_type=mmap", "-D"]).arg(data).arg("template1");
    single.current_dir(data).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut single = single.spawn().expect("postgres starts");
    // Each database is 300 files that every test copies, so only the needed one is kept.
    let drop =
        "UPDATE pg_database SET datistemplate = false;\nDROP DATABASE template0;\nDROP DATABASE postgres;\n";
    let statements = format!("CREATE ROLE {NAME} LOGIN;\nCREATE DATABASE {NAME} OWNER {NAME};\n{drop}");
    single.stdin.take().expect("piped").write_all(statements.as_bytes()).expect("it reads");
    let output = single.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "postgres --single: {said}");
}

#[track_caller]
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{} cannot be copied to {}",
        from.display(),
        to.display()
    );
}
