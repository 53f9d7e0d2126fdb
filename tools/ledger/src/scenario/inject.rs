//! Faults of a schedule, one after the other: each is caused, watched and ended.

use super::schedule::{Dependency, Fault, Planned};
use super::verdict::duration;
use super::{Run, say};
use crate::clock::{self, Micros, rest, wait_until};
use crate::crowd::{Order, Seen};
use crate::gateway::{Ended, Place};
use crate::ledger::Excuse;
use seawall_fault::{Mode, Proxy};
use std::time::Duration;

const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The observed effect of a fault.
pub struct Effect {
    planned: Planned,
    at: Micros,
    lasted: Micros,
    fewest: u64,
    settled_after: Option<Micros>,
    remark: String,
}

/// Describes the effects for people.
pub fn describe(effects: &[Effect], clients: u32) -> String {
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

/// Plays a schedule, and returns the effects of its faults.
pub fn play(run: &mut Run, planned: &[Planned], length: Micros) -> Result<Vec<Effect>, String> {
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
    wait_until(Duration::from_micros(until.saturating_sub(clock::now())), || {
        *fewest = worker.settled().min(*fewest);
        worker.settled() >= Seen::read(&worker.seen.wanted)
    })
}

/// Runs a fault from its beginning to its end. Returns a remark for the report.
fn inject(run: &mut Run, one: &Planned, fewest: &mut u64) -> Result<String, String> {
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
            run.places.get(usize::from(slot)).into_iter().for_each(Place::freeze);
            observe(run, one, fewest);
            run.places.get(usize::from(slot)).into_iter().for_each(Place::thaw);
            run.excuse_ends(window);
        }
        Fault::Drain(slot) => return drain(run, slot, fewest),
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
        Fault::Path(_, _, mode) | Fault::Paths(_, mode) => {
            set(run, one.fault, mode);
            observe(run, one, fewest);
            set(run, one.fault, Mode::Pass);
        }
        Fault::KillDependency(dependency)
        | Fault::FreezeDependency(dependency)
        | Fault::StopDependency(dependency) => {
            begin(run, one.fault, dependency);
            observe(run, one, fewest);
            end(run, one.fault, dependency);
        }
        Fault::Empty => {
            empty(run)?;
            observe(run, one, fewest);
        }
        Fault::Rebalance => {
            let asked = rebalance(run);
            observe(run, one, fewest);
            return asked;
        }
    }
    Ok(String::new())
}

/// Takes a server away.
fn begin(run: &mut Run, fault: Fault, dependency: Dependency) {
    let is_kill = matches!(fault, Fault::KillDependency(_));
    let is_stop = matches!(fault, Fault::StopDependency(_));
    match (dependency, &mut run.postgres, &mut run.redis) {
        (Dependency::Store, Some(postgres), _) if is_kill => postgres.kill9(),
        (Dependency::Store, Some(postgres), _) if is_stop => postgres.stop(),
        (Dependency::Store, Some(postgres), _) => postgres.sigstop(),
        (Dependency::Bus, _, Some(redis)) if is_kill => redis.kill9(),
        (Dependency::Bus, _, Some(redis)) if is_stop => redis.stop(),
        (Dependency::Bus, _, Some(redis)) => redis.sigstop(),
        (Dependency::Store, None, _) | (Dependency::Bus, _, None) => {}
    }
}

/// Brings it back.
fn end(run: &mut Run, fault: Fault, dependency: Dependency) {
    let is_frozen = matches!(fault, Fault::FreezeDependency(_));
    match (dependency, &mut run.postgres, &mut run.redis) {
        (Dependency::Store, Some(postgres), _) if is_frozen => postgres.sigcont(),
        (Dependency::Store, Some(postgres), _) => postgres.start_again(),
        (Dependency::Bus, _, Some(redis)) if is_frozen => redis.sigcont(),
        (Dependency::Bus, _, Some(redis)) => redis.start_again(),
        (Dependency::Store, None, _) | (Dependency::Bus, _, None) => {}
    }
}

/// Empties Redis.
fn empty(run: &Run) -> Result<(), String> {
    let Some(redis) = &run.redis else { return Ok(()) };
    match redis.try_command(&["FLUSHALL"]) {
        Ok(reply) if reply.is_ok() => Ok(()),
        other => Err(format!("FLUSHALL: {other:?}")),
    }
}

/// Orders the gateways to spread their connections, at one of them. Returns what the report says of it.
fn rebalance(run: &Run) -> Result<String, String> {
    let Some(admin) = run.places.first().map(Place::admin) else { return Ok(String::new()) };
    match admin.ask("POST", "/cluster/rebalance", None) {
        Ok((202, _)) => Ok(" (accepted)".to_owned()),
        other => Err(format!("POST /cluster/rebalance: {other:?}")),
    }
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

/// Sets the mode of the proxies that a fault is about.
fn set(run: &Run, fault: Fault, mode: Mode) {
    let of = |dependency: Dependency, (store, bus): &'_ (Proxy, Proxy)| match dependency {
        Dependency::Store => store.set(mode),
        Dependency::Bus => bus.set(mode),
    };
    match fault {
        Fault::Clients(slot, _) => {
            let proxy = run.places.get(usize::from(slot)).and_then(|place| place.proxy.as_ref());
            proxy.into_iter().for_each(|proxy| proxy.set(mode));
        }
        Fault::Path(slot, dependency, _) => {
            run.proxies.get(usize::from(slot)).into_iter().for_each(|both| of(dependency, both));
        }
        Fault::Paths(dependency, _) => run.proxies.iter().for_each(|both| of(dependency, both)),
        Fault::Kill(_) | Fault::Freeze(_) | Fault::Drain(_) | Fault::Storm | Fault::Empty => {}
        Fault::KillDependency(_) | Fault::FreezeDependency(_) | Fault::StopDependency(_) => {}
        Fault::Rebalance => {}
    }
}

/// Waits while the fault lasts, and records the fewest settled clients.
fn observe(run: &Run, one: &Planned, fewest: &mut u64) {
    wait_until(Duration::from_micros(one.length), || {
        *fewest = run.workers.first().map_or(0, |worker| worker.settled()).min(*fewest);
        false
    });
}
