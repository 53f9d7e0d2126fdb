//! Faults on a seeded schedule, under continuous load.

use super::schedule::{Dependency, Fault, Planned, schedule};
use super::verdict::{duration, judge};
use super::{Run, Setting, say};
use crate::arguments::{Common, Faults, Store};
use crate::clock::{self, Micros, SECOND, rest, wait_until};
use crate::crowd::{Kind, Order, Seen};
use crate::gateway::{Ended, Program};
use crate::ledger::Excuse;
use crate::report::Report;
use seawall_fault::Mode;
use std::time::Duration;

/// One client in `SLOW_EVERY` reads slowly, and one in `NAIVE_EVERY` ignores `drain`.
const SLOW_EVERY: u32 = 12;
const NAIVE_EVERY: u32 = 7;
/// Bytes of a publication's data.
const PAYLOAD: usize = 120;
/// The gateways' ping interval: short, so that liveness checks are part of the test.
const PING_MS: u32 = 5_000;
/// The drain timetable, shortened for this scenario; see [`Program::drain`].
const DRAIN_MS: [u32; 5] = [300, 2_000, 3_000, 5_000, 1_500];
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The observed effect of a fault.
struct Effect {
    planned: Planned,
    at: Micros,
    lasted: Micros,
    fewest: u64,
    settled_after: Option<Micros>,
    remark: String,
}

/// Runs the scenario.
pub fn run(common: &Common, mut program: Program, arguments: &Faults) -> Result<Report, String> {
    let length = (arguments.minutes * 60.0 * SECOND as f64) as Micros;
    let planned = schedule(common.seed, length, common.store);
    let title = format!("faults: seed {}, {} minutes, {:?}", common.seed, arguments.minutes, common.store);
    println!("{title}\n\n      at  length  fault");
    planned.iter().for_each(|one| println!("{one}"));
    let mut report = Report::new(title);
    if arguments.print {
        return Ok(report);
    }
    program.set("LIMITS_PING_MS", PING_MS);
    program.drain(DRAIN_MS);
    let gateways = if common.store == Store::Sqlite { 1 } else { 2 };
    let setting = Setting { gateways, channels: arguments.channels, with_proxies: true, syncs: false };
    let mut run = Run::new(common, &program, &setting)?;
    run.gather(arguments.clients, kind, PAYLOAD)?;
    (0..gateways).try_for_each(|slot| run.start(slot))?;
    run.send(&Order::Connect { from: 0, to: arguments.clients, over: SECOND });
    run.settle(0, u64::from(arguments.clients), Duration::from_secs(30))?;
    run.send(&Order::Rate(arguments.publishes_per_s));
    let effects = play(&mut run, &planned, length)?;
    say("faults are over; waiting until all clients have everything");
    match run.wait_until_complete() {
        Ok(took) => report.judge("recovered after the last publish", duration(took), "60 s", true),
        Err(error) => report.judge("recovered after the last publish", error, "60 s", false),
    }
    let (ledger, logs) = run.finish()?;
    judge(&mut report, &run, &ledger, &logs);
    report.note(describe(&effects, arguments.clients));
    if let Some(folder) = run.keep() {
        report.note(format!("Logs and data are in {}.", folder.display()));
    }
    Ok(report)
}

fn kind(client: u32) -> Kind {
    match client {
        at if at % SLOW_EVERY == SLOW_EVERY - 1 => Kind::Slow,
        at if at % NAIVE_EVERY == NAIVE_EVERY - 1 => Kind::Naive,
        _ => Kind::Good,
    }
}

fn describe(effects: &[Effect], clients: u32) -> String {
    let mut text = format!(
        "Faults in order, with the fewest of {clients} clients settled during each, and the time until all were settled again:\n"
    );
    text += "      at  lasted  fewest    all after  fault";
    for it in effects {
        let settled = it.settled_after.map_or("not before the next".to_owned(), duration);
        text += &format!(
            "\n{:6.1} s  {:6}  {:6}  {settled:>11}  {}{}",
            clock::seconds(it.at),
            duration(it.lasted),
            it.fewest,
            it.planned.fault,
            it.remark
        );
    }
    text
}

fn play(run: &mut Run, planned: &[Planned], length: Micros) -> Result<Vec<Effect>, String> {
    let began = clock::now();
    let mut effects: Vec<Effect> = Vec::new();
    for (number, one) in planned.iter().enumerate() {
        rest(Duration::from_micros((began + one.at).saturating_sub(clock::now())));
        say(&format!("{} for {}", one.fault, duration(one.length)));
        run.send(&Order::Remark(one.fault.to_string()));
        let at = clock::now();
        let mut fewest = u64::MAX;
        let remark = inject(run, one, &mut fewest)?;
        let healed = clock::now();
        run.send(&Order::Remark(format!("end: {}", one.fault)));
        let next = planned.get(number + 1).map_or(length, |next| next.at) + began;
        let settled_after = await_settled(run, &mut fewest, next).then(|| clock::now() - healed);
        effects.push(Effect {
            planned: *one,
            at: at - began,
            lasted: healed - at,
            fewest,
            settled_after,
            remark,
        });
    }
    rest(Duration::from_micros((began + length).saturating_sub(clock::now())));
    Ok(effects)
}

/// Waits until all clients are settled; false if `until` comes first.
fn await_settled(run: &Run, fewest: &mut u64, until: Micros) -> bool {
    let Some(worker) = run.workers.first() else { return false };
    let clients = Seen::read(&worker.seen.known);
    wait_until(Duration::from_micros(until.saturating_sub(clock::now())), || {
        *fewest = worker.settled().min(*fewest);
        worker.settled() >= clients
    })
}

/// Runs a fault from its beginning to its end. Returns a remark for the report.
fn inject(run: &mut Run, one: &Planned, fewest: &mut u64) -> Result<String, String> {
    let mut remark = String::new();
    match one.fault {
        Fault::Kill(slot) => {
            let window = run.excuse(Some(slot), Excuse::Vanish);
            run.send(&Order::Rotation { slot, open: false });
            if let Some(place) = run.places.get_mut(usize::from(slot)) {
                place.kill9(&mut run.lives);
            }
            observe(run, one, fewest);
            run.start(slot)?;
            run.excuse_ends(window);
        }
        Fault::Freeze(slot) => {
            let window = run.excuse(Some(slot), Excuse::Late);
            if let Some(place) = run.places.get(usize::from(slot)) {
                place.freeze();
            }
            observe(run, one, fewest);
            if let Some(place) = run.places.get(usize::from(slot)) {
                place.thaw();
            }
            run.excuse_ends(window);
        }
        Fault::Drain(slot) => remark = drain(run, slot, fewest)?,
        Fault::Storm => {
            run.send(&Order::Storm(None));
            observe(run, one, fewest);
        }
        Fault::Clients(slot, mode) => {
            let window = run.excuse(Some(slot), excuse(mode));
            set(run, one.fault, mode);
            observe(run, one, fewest);
            set(run, one.fault, Mode::Pass);
            run.excuse_ends(window);
        }
        Fault::Path(_, _, mode) => {
            set(run, one.fault, mode);
            observe(run, one, fewest);
            set(run, one.fault, Mode::Pass);
        }
        Fault::KillDependency(Dependency::Store) => {
            run.postgres.as_mut().into_iter().for_each(|it| it.kill9());
            observe(run, one, fewest);
            run.postgres.as_mut().into_iter().for_each(|it| it.start_again());
        }
        Fault::KillDependency(Dependency::Bus) => {
            run.redis.as_mut().into_iter().for_each(|it| it.kill9());
            observe(run, one, fewest);
            run.redis.as_mut().into_iter().for_each(|it| it.start_again());
        }
        Fault::FreezeDependency(Dependency::Store) => {
            run.postgres.as_ref().into_iter().for_each(|it| it.sigstop());
            observe(run, one, fewest);
            run.postgres.as_ref().into_iter().for_each(|it| it.sigcont());
        }
        Fault::FreezeDependency(Dependency::Bus) => {
            run.redis.as_ref().into_iter().for_each(|it| it.sigstop());
            observe(run, one, fewest);
            run.redis.as_ref().into_iter().for_each(|it| it.sigcont());
        }
    }
    Ok(remark)
}

/// Shuts a gateway down and starts another at its place.
fn drain(run: &mut Run, slot: u8, fewest: &mut u64) -> Result<String, String> {
    run.send(&Order::Rotation { slot, open: false });
    let Some(place) = run.places.get_mut(usize::from(slot)) else { return Ok(String::new()) };
    let life = place.life();
    place.drain(&mut run.lives, DRAIN_WITHIN)?;
    if let Some(worker) = run.workers.first() {
        *fewest = worker.settled().min(*fewest);
    }
    run.start(slot)?;
    Ok(match life.and_then(|life| run.lives.get(usize::from(life))).map(|life| &life.ended) {
        Some(Ended::InOrder { code, took }) => format!(" (exit {code:?} after {})", duration(*took)),
        Some(Ended::Running | Ended::Killed) | None => String::new(),
    })
}

/// The effects that a fault on the clients' path excuses. A reset or cut may be noticed only by the next byte.
fn excuse(mode: Mode) -> Excuse {
    match mode {
        Mode::Cut | Mode::Reset | Mode::ResetOnce(_) | Mode::ResetEach(_) => Excuse::Vanish,
        Mode::Stall | Mode::HalfOpen(_) | Mode::Slow(_) => Excuse::Late,
        Mode::Garble(_) => Excuse::Both,
        Mode::Pass | Mode::Refuse | Mode::Unanswered | Mode::BlackHole => Excuse::Late,
    }
}

fn set(run: &Run, fault: Fault, mode: Mode) {
    let proxy = match fault {
        Fault::Clients(slot, _) => run.places.get(usize::from(slot)).and_then(|place| place.proxy.as_ref()),
        Fault::Path(slot, dependency, _) => {
            run.proxies.get(usize::from(slot)).map(|(store, bus)| match dependency {
                Dependency::Store => store,
                Dependency::Bus => bus,
            })
        }
        Fault::Kill(_) | Fault::Freeze(_) | Fault::Drain(_) | Fault::Storm => None,
        Fault::KillDependency(_) | Fault::FreezeDependency(_) => None,
    };
    proxy.into_iter().for_each(|proxy| proxy.set(mode));
}

/// Waits while the fault lasts, and records the fewest settled clients.
fn observe(run: &Run, one: &Planned, fewest: &mut u64) {
    wait_until(Duration::from_micros(one.length), || {
        *fewest = run.workers.first().map_or(0, |worker| worker.settled()).min(*fewest);
        false
    });
}
