//! A server as a child process: runs as another user if necessary, can be frozen and killed, never outlives the test.

use super::wait::{LATE, SOON, comes_true};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{LazyLock, Mutex};

/// The number of log lines that a failed test shows.
const TAIL_LINES: usize = 30;
/// The user `nobody` on every Linux, for servers that refuse to run as root.
const NOBODY: u32 = 65_534;

type Order = (Command, SyncSender<io::Result<Child>>);

/// The single thread that starts servers.
///
/// The kernel sends the parent-death signal when the *thread* that started a child ends, which in a test may be long
/// before the process does.
static STARTER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (sender, orders) = channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in orders {
            // The requester is waiting for the answer.
            let _ = answer.send(command.spawn());
        }
    });
    Mutex::new(sender)
});

/// The user of a server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The user of the test.
    Own,
    /// [`NOBODY`] if the test is root, else the user of the test.
    NotRoot,
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command for a program run as `user`, which the kernel kills when this process ends.
pub fn command(program: &Path, user: User) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if user == User::NotRoot && is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.arg("--").arg(program);
    // Messages in other languages would not be recognized.
    command.env("LC_ALL", "C").env_remove("PGHOST").env_remove("PGPORT").env_remove("PGUSER");
    command
}

/// Gives a folder to the user of [`User::NotRoot`], and makes sure that this user can reach it.
#[track_caller]
pub fn give(folder: &Path) {
    if !is_root() {
        return;
    }
    for above in folder.ancestors().skip(1) {
        let mode = std::fs::metadata(above).map_or(0, |metadata| metadata.mode());
        assert!(
            mode & 0o001 != 0,
            "the user `nobody` cannot enter {}, so no server can keep its data in {}: `chmod o+x` it or set TMPDIR",
            above.display(),
            folder.display()
        );
    }
    let status = Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(folder).status();
    assert!(status.is_ok_and(|status| status.success()), "{} cannot be given to `nobody`", folder.display());
}

/// Runs a program to its end and returns its output, or its error output if it failed.
pub fn run(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The path of a program, in `PATH` or one of these folders.
#[track_caller]
pub fn program(name: &str, folders: &[PathBuf], package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        std::env::split_paths(&path).chain(folders.iter().cloned()).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("`{name}` is not installed: run tools/test once, or `apt-get install --no-install-recommends {package}`")
    })
}

/// A running server and its child processes.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Present while the server is frozen.
    guard: Mutex<Option<Child>>,
}

impl Process {
    /// Starts a server with its output in the file `log`.
    #[track_caller]
    pub fn start(name: &str, mut command: Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("a log can be written");
        command.stdin(Stdio::null()).stderr(file.try_clone().expect("a descriptor is left")).stdout(file);
        let (answer, child) = sync_channel(1);
        STARTER.lock().expect("no holder panics").send((command, answer)).expect("the starter lives on");
        let child = child.recv().expect("the starter answers");
        let child = child.unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Process { name: name.into(), child, log: log.into(), guard: Mutex::default() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// The last lines of its output.
    pub fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        tail.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// All of its output.
    pub fn whole_log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `holds` returns true. Panics with the server's log at the deadline or if the server exits.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let held = comes_true(SOON * 3, || holds() || !self.is_running());
        let log = self.log();
        assert!(self.is_running(), "{} ended before {what}\n{log}", self.name);
        assert!(held, "{LATE}: {}: {what}\n{log}", self.name);
    }

    /// Freezes it and its children: it answers nothing, but the kernel still acknowledges what arrives.
    pub fn sigstop(&self) {
        // The parent first, so that it starts no more children meanwhile.
        self.stop_main();
        let children = children(self.pid());
        signal_all(&children, Signal::STOP);
        let guard = guard(children.iter().copied().chain([self.pid()]));
        *self.guard.lock().expect("no holder panics") = Some(guard);
    }

    /// Continues it.
    pub fn sigcont(&self) {
        self.dismiss_guard();
        signal_all(&children(self.pid()), Signal::CONT);
        self.signal_main(Signal::CONT);
    }

    fn dismiss_guard(&self) {
        if let Some(mut guard) = self.guard.lock().ok().and_then(|mut guard| guard.take()) {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }

    /// Kills it and its children, like a crash.
    pub fn kill9(&mut self) {
        self.dismiss_guard();
        // A child started after the list was taken would survive as an orphan that writes.
        self.stop_main();
        let children = children(self.pid());
        self.signal_main(Signal::KILL);
        signal_all(&children, Signal::KILL);
        self.child.wait().expect("a child can be waited for");
        let gone = comes_true(SOON, || children.iter().all(|pid| !is_alive(*pid)));
        assert!(gone, "{LATE}: {}: one of its processes survived SIGKILL", self.name);
    }

    /// Sends `signal` and waits for the exit.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        self.signal_main(signal);
        self.wait()
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = comes_true(SOON, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(ended, "{LATE}: {} did not end\n{}", self.name, self.log());
        status.expect("just seen")
    }

    /// Stops the main process, and returns when it can start no more children.
    fn stop_main(&self) {
        self.signal_main(Signal::STOP);
        comes_true(SOON, || stat(self.pid()).is_none_or(|(state, _)| matches!(state, 'T' | 't' | 'Z')));
    }

    fn signal_main(&self, signal: Signal) {
        // It may have exited by itself, but it was not waited for, so its pid is not reused.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: its last lines:\n{}", self.name, self.log());
        }
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stop_main();
            let children = children(self.pid());
            self.signal_main(Signal::KILL);
            signal_all(&children, Signal::KILL);
            let _ = self.child.wait();
        }
        self.dismiss_guard();
    }
}

/// Starts a process that kills these frozen processes when the test process ends, however it ends.
///
/// A frozen child of a server does not notice that the server was killed, and would stay forever. The guard is in its
/// own process group, because a test run is aborted by its group.
fn guard(frozen: impl Iterator<Item = u32>) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"read -r _; kill -KILL "$@" 2>/dev/null"#, "sh"])
        .args(frozen.map(|pid| pid.to_string()));
    // When this process ends, the kernel closes the other end of the guard's input.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().expect("a shell starts")
}

fn signal_all(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        // It may have ended since it was listed.
        let _ = kill_process(pid, signal);
    }
}

/// The state letter and the parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// The living children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux has /proc");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, own)| own == parent)).collect()
}
