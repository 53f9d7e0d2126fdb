//! Runs this program under callgrind and reads its counts.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};

/// The cost of one operation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cost {
    /// Instructions executed in user space.
    pub instructions: f64,
    /// Calls that allocate heap memory.
    pub allocations: f64,
}

/// The allocating functions of the C library. Some have a second name, with a prefix.
const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Disables the C library's choice of copy functions by processor, so that all machines use the oldest ones.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX2_Usable,\
    -AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-EVEX,-Prefer_No_VZEROUPPER";

/// Counts a path with `times` and with twice as many repetitions, and divides the difference.
pub fn cost(path: &str, times: u32, operations: u32) -> Result<Cost, String> {
    let (once, twice) = (counted(path, times)?, counted(path, 2 * times)?);
    let operations = f64::from(times) * f64::from(operations);
    let each = |twice: u64, once: u64| {
        let exact = (twice as f64 - once as f64) / operations;
        // Rounded to two decimals, as in the file that it is compared with.
        (exact * 100.0).round() / 100.0
    };
    Ok(Cost {
        instructions: each(twice.instructions, once.instructions),
        allocations: each(twice.allocations, once.allocations),
    })
}

/// The version of the compiler, which may explain a difference.
pub fn compiler() -> Result<String, String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(&rustc).arg("--version").output();
    let output = output.map_err(|error| format!("cannot run {rustc} --version: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

struct Totals {
    instructions: u64,
    allocations: u64,
}

fn counted(path: &str, times: u32) -> Result<Totals, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot name this program: {error}"))?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let profile = folder.path().join("profile");
    // The environment is on the stack and moves it, so all runs get the same.
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(["--run", path, &times.to_string()])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}; Debian's package is `valgrind`"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{path} failed under valgrind: {}\n{errors}", output.status));
    }
    read(&profile)
}

fn read(profile: &Path) -> Result<Totals, String> {
    let text = std::fs::read_to_string(profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    totals(&text).ok_or_else(|| "callgrind's profile has an unknown format".into())
}

/// The profile names the called function (`cfn=malloc`) and, on the next line, the number of calls (`calls=3 0`).
fn totals(profile: &str) -> Option<Totals> {
    let (mut instructions, mut allocations, mut allocates) = (None, 0, false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            let name = name.trim_start_matches("__libc_").trim_start_matches("__");
            allocates = ALLOCATORS.contains(&name);
        } else if let Some(calls) = line.strip_prefix("calls=")
            && allocates
        {
            allocations += calls.split(' ').next()?.parse::<u64>().ok()?;
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = Some(total.trim().parse().ok()?);
        }
    }
    Some(Totals { instructions: instructions?, allocations })
}
