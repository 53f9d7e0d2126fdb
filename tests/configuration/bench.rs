//! Runs the program in its own folder and reads its output.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// No command of these tests takes longer, unless it serves by mistake.
const RUN_MAX: Duration = Duration::from_secs(60);

/// A working directory, and the environment of the program that runs in it.
pub struct Bench {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a folder"), variables: Vec::new() }
    }

    /// A bench with this `seawall.toml`.
    pub fn with_file(text: &str) -> Bench {
        let bench = Bench::new();
        bench.write("seawall.toml", text);
        bench
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        // A secret in it is warned of if others can read it.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("own file");
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn variable(mut self, name: &'static str, value: &str) -> Bench {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Runs the program to its end; one that still runs after a while is killed.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "")
    }

    /// [`Bench::run`] with this text on stdin.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A program that reads nothing may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let pid = rustix::process::Pid::from_child(&child);
        let (ended, watched) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            if watched.recv_timeout(RUN_MAX) == Err(RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
        drop(ended);
        watchdog.join().expect("no panic");
        Said {
            code: status.code(),
            out: String::from_utf8(stdout).expect("UTF-8"),
            err: String::from_utf8(stderr).expect("UTF-8"),
        }
    }

    /// The listing of a correct configuration, which may use networks unencrypted.
    pub fn listing(&self, flags: &[&str]) -> String {
        let said = self.run(&[&["check-config"], flags].concat());
        let unexpected = said.err.lines().find(|line| !line.contains("server.insecure_ok"));
        assert_eq!((said.code, unexpected), (Some(0), None), "{}", said.out);
        said.out
    }

    /// The errors of a wrong configuration, without their indent.
    pub fn errors(&self, flags: &[&str]) -> Vec<String> {
        let said = self.run(&[&["check-config"], flags].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{}", said.err);
        let mut lines = said.err.lines();
        let head = lines.next().expect("a head");
        let errors: Vec<String> = lines.map(|line| line.trim_start().to_owned()).collect();
        let count = if errors.len() == 1 { "an error".into() } else { format!("{} errors", errors.len()) };
        assert_eq!(head, format!("seawall: the configuration has {count}"));
        errors
    }

    pub fn error(&self, flags: &[&str]) -> String {
        let errors = self.errors(flags);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors.into_iter().next().unwrap_or_default()
    }
}

/// Asserts that the listing has this key with this value and origin, in any columns.
#[track_caller]
pub fn assert_listed(listing: &str, expected: &str) {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(listing.lines().any(|line| words(line) == words(expected)), "no line {expected:?} in\n{listing}");
}

/// Long enough for HS256.
pub const SECRET: &str = "correct-horse-battery-staple-0123456789";
