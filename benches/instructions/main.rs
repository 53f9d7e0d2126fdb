//! Counts the instructions and allocations of each hot path and compares them with `instructions.json`.
//!
//! Wall-clock noise teaches people to ignore benches; an instruction count is the same on every run. Each path is run
//! under callgrind with N and with 2 N repetitions, and the difference is divided by N, so that the cost of starting the
//! process and preparing the path cancels out.
//!
//! `tools/instructions` runs this. With `--run PATH TIMES` it is the program that callgrind counts.

mod baseline;
mod callgrind;
#[path = "../paths/mod.rs"]
mod paths;
mod stream;

use baseline::{Baseline, Judgement};
use callgrind::Cost;
use paths::Path;
use paths::{availability, bounds, command, encode, fan_out, frames, handshake, outbox, session};
// The reactor's files included by `paths` use `crate::clock`.
use seawall::clock;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A path to count.
struct Counted {
    name: &'static str,
    /// Repetitions in the shorter of the two runs.
    times: u32,
    operations: u32,
    run: fn(u32),
}

const fn counted<P: Path>(name: &'static str, times: u32) -> Counted {
    Counted { name, times, operations: P::OPERATIONS, run: repeat::<P> }
}

fn repeat<P: Path>(times: u32) {
    let mut path = P::prepare();
    for _ in 0..times {
        path.once();
    }
}

const COUNTED: &[Counted] = &[
    counted::<frames::Decode<64>>("decode_text_64", 2_000),
    counted::<frames::Decode<1024>>("decode_text_1024", 2_000),
    counted::<frames::DecodeSplit<64>>("decode_text_64_in_two_reads", 2_000),
    counted::<frames::Echo<64>>("echo_64", 2_000),
    counted::<frames::Echo<1024>>("echo_1024", 2_000),
    counted::<command::DecodePublish>("decode_and_parse_publish", 2_000),
    counted::<command::ParsePublish>("parse_publish", 2_000),
    counted::<command::ParseSubscribe>("parse_subscribe", 2_000),
    counted::<command::ParseHistory>("parse_history", 2_000),
    counted::<session::PublishToEffect>("publish_to_effect", 2_000),
    counted::<encode::EncodePublication>("encode_publication", 2_000),
    counted::<encode::EncodePublished>("encode_published", 2_000),
    counted::<encode::EncodeConnected>("encode_connected", 2_000),
    counted::<fan_out::FanOut<1_000, 1>>("delivery_to_1000", 100),
    counted::<fan_out::FanOut<1_000, 8>>("delivery_to_1000_8_in_flight", 100),
    counted::<outbox::OfferAndAdvance>("outbox_offer_and_advance", 2_000),
    counted::<outbox::PartialWrite>("outbox_partial_write", 2_000),
    counted::<handshake::Upgrade>("upgrade", 1_000),
    counted::<handshake::Handshake<true>>("handshake", 1_000),
    counted::<handshake::Handshake<false>>("handshake_unwatched", 1_000),
    counted::<session::SignIn>("sign_in", 1_000),
    counted::<stream::TakeToken>("stream_take", 2_000),
    counted::<availability::AvailabilityVerdict>("availability", 2_000),
    counted::<availability::Refusal>("refusal", 2_000),
    counted::<bounds::Admit>("rate_admit", 2_000),
    counted::<bounds::DeadlineMovesLater>("timer_moves_later", 2_000),
    counted::<bounds::DeadlineComesUp>("timer_comes_up", 2_000),
    counted::<bounds::HandshakeVerdict>("verdict", 2_000),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--run", name, times] => run(name, times).map(|()| ExitCode::SUCCESS),
        ["--update"] => update().map(|()| ExitCode::SUCCESS),
        names if names.iter().all(|name| !name.starts_with('-')) => gate(names),
        _ => Err("usage: tools/instructions [--update | NAME...]".into()),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("instructions: {message}");
        ExitCode::FAILURE
    })
}

fn run(name: &str, times: &str) -> Result<(), String> {
    let path =
        COUNTED.iter().find(|path| path.name == name).ok_or_else(|| format!("no path is named {name}"))?;
    (path.run)(times.parse().map_err(|_| format!("{times} is not a number"))?);
    Ok(())
}

fn update() -> Result<(), String> {
    let baseline = Baseline { compiler: callgrind::compiler()?, paths: count(&[])? };
    baseline.write()?;
    println!("wrote {} paths to {}", baseline.paths.len(), baseline::FILE);
    Ok(())
}

fn gate(names: &[&str]) -> Result<ExitCode, String> {
    let baseline = Baseline::read()?;
    let compiler = callgrind::compiler()?;
    let costs = count(names)?;
    let judgements: Vec<Judgement> =
        costs.iter().map(|(name, cost)| baseline::judge(baseline.paths.get(name), *cost)).collect();
    println!(
        "{:<30} {:>12} {:>12} {:>8} {:>12}",
        "path", "instructions", "baseline", "change", "allocations"
    );
    for ((name, cost), judgement) in costs.iter().zip(&judgements) {
        let before = baseline.paths.get(name);
        let (was, change) = before.map_or((String::new(), String::new()), |before| {
            let change = (cost.instructions / before.instructions - 1.0) * 100.0;
            (format!("{:.1}", before.instructions), format!("{change:+.1} %"))
        });
        let (now, allocations) = (cost.instructions, cost.allocations);
        println!("{name:<30} {now:>12.1} {was:>12} {change:>8} {allocations:>12.2}{}", judgement.note());
    }
    if compiler != baseline.compiler {
        println!(
            "The baseline was made by {}, this is {compiler}: changes may come from the compiler.",
            baseline.compiler
        );
    }
    if judgements.contains(&Judgement::Better) {
        println!("A path is cheaper. Keep that with `tools/instructions --update` and commit the file.");
    }
    if judgements.iter().any(|judgement| judgement.fails()) {
        println!(
            "A path is more expensive. Make it cheaper, or give the reason in the commit that updates the baseline."
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts the paths whose names contain one of `names`, or all paths, with one thread per processor.
fn count(names: &[&str]) -> Result<BTreeMap<String, Cost>, String> {
    let wanted = |path: &&Counted| names.is_empty() || names.iter().any(|name| path.name.contains(name));
    let wanted: Vec<&Counted> = COUNTED.iter().filter(wanted).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = COUNTED.iter().map(|path| path.name).collect();
        return Err(format!("no path name contains that; the paths are {}", known.join(", ")));
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Ok(BTreeMap::new()));
    let work = || {
        while let Some(path) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let cost = callgrind::cost(path.name, path.times, path.operations);
            let mut found = found.lock().expect("no thread panics");
            match (cost, found.as_mut()) {
                (Ok(cost), Ok(costs)) => drop(costs.insert(path.name.to_owned(), cost)),
                (Err(message), Ok(_)) => *found = Err(message),
                (_, Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    found.into_inner().expect("no thread panics")
}
