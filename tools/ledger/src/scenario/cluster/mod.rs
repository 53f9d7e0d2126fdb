//! Many gateways as one service: users who publish, move, come and go while gateways, Redis and PostgreSQL fail, and an operator who ends
//! sessions. At the end, membership and presence must be true, and each order carried out by all.

mod membership;
mod operator;
mod orders;
mod presence;

use super::inject::{describe, play};
use super::memory::{Memory, Sampler, Samples};
use super::schedule::of_cluster;
use super::verdict::{duration, judge};
use super::{Proxies, Run, Setting, say};
use crate::arguments::{Cluster, Common, Store};
use crate::clock::{self, Micros, SECOND, rest, wait_until};
use crate::crowd::role::SECRET;
use crate::crowd::{Kind, Order, Role, Seen, Visits};
use crate::gateway::{Place, Program};
use crate::report::Report;
use operator::{Operator, Users};
use std::time::Duration;

/// Clients of a channel. Their roster is one frame and one page.
const CLIENTS_PER_CHANNEL: u32 = 30;
/// Of the clients of a channel, one in `WATCHER_EVERY` watches its roster, and one in `DEVICE_EVERY` belongs to the user before it.
const WATCHER_EVERY: u32 = 6;
const DEVICE_EVERY: u32 = 8;
/// One client in `SHUT_OUT_EVERY` is shut out in the end, one in `VISITOR_EVERY` comes and goes, one in `NAIVE_EVERY` ignores `drain`.
const SHUT_OUT_EVERY: u32 = 50;
const VISITOR_EVERY: u32 = 5;
const NAIVE_EVERY: u32 = 7;
/// The interval between clients that connect at an easy pace.
const CONNECT_INTERVAL: Micros = 700;
const CONNECT_WITHIN: Duration = Duration::from_secs(180);
const PAYLOAD: usize = 120;
/// The gateways' ping interval: short, so that clients leave a gateway that is stopped for long.
const PING_MS: u32 = 5_000;
/// The memory for recent publications of a gateway.
const RECENT_BYTES: u32 = 1 << 20;
/// The drain timetable, shortened for this scenario; see [`Program::drain`].
const DRAIN_MS: [u32; 5] = [300, 2_000, 3_000, 5_000, 1_500];
/// All instances know the truth again within this time after the last fault. The scenario waits longer to measure it. Orders
/// name an instance that was killed for a minute.
const TRUE_WITHIN: Micros = 70 * SECOND;
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Runs the scenario.
pub fn run(common: &Common, mut program: Program, arguments: &Cluster) -> Result<Report, String> {
    if common.store == Store::Sqlite {
        return Err("`cluster` needs --store postgres, because one gateway has an SQLite store".to_owned());
    }
    let length = (arguments.minutes * 60.0 * SECOND as f64) as Micros;
    let planned = of_cluster(common.seed, length, arguments.instances);
    let title = format!(
        "cluster: seed {}, {} minutes, {} gateways, {} clients",
        common.seed, arguments.minutes, arguments.instances, arguments.clients
    );
    println!("{title}\n\n      at  length  fault");
    planned.iter().for_each(|one| println!("{one}"));
    let mut report = Report::new(title);
    if arguments.print {
        return Ok(report);
    }
    program.set("AUTH_SECRET", SECRET);
    program.set("LIMITS_PING_MS", PING_MS);
    program.set("SERVER_REACTORS", 1);
    // At this rate the recent publications of all channels would fill their memory for longer than the run.
    program.set("LIMITS_TAIL_BYTES_TOTAL", RECENT_BYTES);
    program.drain(DRAIN_MS);
    let mut run = begin(common, &program, arguments)?;
    let admins = run.places.iter().map(Place::admin).collect();
    let operator = Operator::start(common.seed, admins, users(arguments.clients))?;
    let effects = play(&mut run, &planned, length)?;
    say("faults are over; waiting until all instances know the truth");
    run.send(&Order::Visits(Visits::End));
    run.send(&Order::Rate(0.0));
    let given = operator.finish();
    end(&mut report, &run, &given)?;
    let recovered = run.wait_until_complete();
    let is_good = recovered.is_ok();
    report.judge(
        "recovered after the last publish",
        recovered.map_or_else(|error| error, duration),
        "60 s",
        is_good,
    );
    let samples = run.sampler.take().map(Sampler::finish).unwrap_or_default();
    let (ledger, logs) = run.finish()?;
    orders::judge(&mut report, &ledger, &given, &|user| devices(user, arguments.clients));
    presence::judge_leaves(&mut report, &ledger);
    memory(&mut report, &samples, f64::from(arguments.clients) / f64::from(arguments.instances));
    moves(&mut report, &run);
    judge(&mut report, &run, &ledger, &logs);
    report.note(describe(&effects, arguments.clients));
    if let Some(folder) = run.keep() {
        report.note(format!("Logs and data are in {}.", folder.display()));
    }
    Ok(report)
}

/// Starts the servers, the gateways and the clients, and waits until all are connected.
fn begin(common: &Common, program: &Program, arguments: &Cluster) -> Result<Run, String> {
    let channels = channels(arguments.clients) as u16;
    let setting =
        Setting { gateways: arguments.instances, channels, proxies: Proxies::Servers, syncs: false };
    let mut run = Run::new(common, program, &setting)?;
    run.sampler = Some(Sampler::start()?);
    run.gather(arguments.clients, |client| role(client, arguments.clients), PAYLOAD)?;
    say(&format!("starting {} gateways", arguments.instances));
    (0..arguments.instances).try_for_each(|slot| run.start(slot))?;
    let over = u64::from(arguments.clients) * CONNECT_INTERVAL;
    run.send(&Order::Connect { from: 0, to: arguments.clients, over });
    run.settle(0, u64::from(arguments.clients), CONNECT_WITHIN)?;
    run.send(&Order::Rate(arguments.publishes_per_s));
    run.send(&Order::Visits(Visits::Begin));
    Ok(run)
}

fn channels(clients: u32) -> u32 {
    clients.div_ceil(CLIENTS_PER_CHANNEL)
}

/// The part of a client: its place among the clients of its channel decides.
fn role(client: u32, clients: u32) -> Role {
    let place = client / channels(clients);
    let user = if is_device(client, clients) { client - channels(clients) } else { client };
    let kind = match client {
        at if is_shut_out(at, clients) => Kind::ShutOut,
        at if at % VISITOR_EVERY == VISITOR_EVERY - 1 => Kind::Visitor,
        at if at % NAIVE_EVERY == NAIVE_EVERY - 1 => Kind::Naive,
        _ => Kind::Good,
    };
    Role { kind, user: Some(user), watches: place.is_multiple_of(WATCHER_EVERY) }
}

/// True for the second client of a user.
fn is_device(client: u32, clients: u32) -> bool {
    (client / channels(clients)) % DEVICE_EVERY == DEVICE_EVERY - 1
}

/// True for the only client of a user that will be shut out.
fn is_shut_out(client: u32, clients: u32) -> bool {
    let has_device = is_device(client + channels(clients), clients);
    client.is_multiple_of(SHUT_OUT_EVERY) && !is_device(client, clients) && !has_device
}

/// The clients of a user. A second device has no user of its own, so the user of its number is a stranger.
fn devices(user: u32, clients: u32) -> Vec<u32> {
    if is_device(user, clients) {
        return Vec::new();
    }
    let second = user + channels(clients);
    let has_second = second < clients && is_device(second, clients);
    std::iter::once(user).chain(has_second.then_some(second)).collect()
}

fn users(clients: u32) -> Users {
    Users { any: clients, shut_out: (0..clients).filter(|client| is_shut_out(*client, clients)).collect() }
}

/// Waits until membership, presence and orders are true at each instance, and reports what is not.
fn end(report: &mut Report, run: &Run, given: &[operator::Given]) -> Result<(), String> {
    let healed = clock::now();
    let shut_out: Vec<u32> = given.iter().filter(|order| order.is_final).map(|order| order.user).collect();
    let mut late = orders::unfinished(run, given);
    let mut untrue = presence::Untrue::everywhere(run);
    let mut wrong = Vec::new();
    wait_until(PATIENCE, || {
        wrong = membership::wrong(&run.places);
        late.look_again();
        // A roster that is true while a client is still on its way back may not be true after that.
        if is_settled(run) {
            untrue.look_again(run);
        }
        let is_true = wrong.is_empty() && untrue.is_empty() && late.is_empty();
        if !is_true {
            rest(LOOK_AGAIN);
        }
        is_true
    });
    let took = clock::now() - healed;
    report.judge(
        "until membership, presence and orders were true at all gateways",
        duration(took),
        "70 s",
        took <= TRUE_WITHIN,
    );
    // Once more everything, because what was true once must still be.
    wrong = membership::wrong(&run.places);
    let untrue = presence::wrong(run)?;
    let census = presence::census(run)?;
    report.judge("gateways that do not name exactly the living ones", wrong.len(), 0, wrong.is_empty());
    report.judge("rosters and views that are not true", untrue.len(), 0, untrue.is_empty());
    report.show("users / connections / channels / views of watchers compared", census.text());
    let intruders = census.connections_of(&shut_out);
    report.judge("connections of users that were shut out", intruders, 0, intruders == 0);
    late.judge(report);
    for (what, found) in [("Membership", &wrong), ("Presence", &untrue)] {
        if !found.is_empty() {
            let shown: String = found.iter().take(10).map(|text| format!("\n    {text}")).collect();
            report.note(format!("{what} that is not true, {} in all:{shown}", found.len()));
        }
    }
    Ok(())
}

/// True while all clients that are wanted are connected.
fn is_settled(run: &Run) -> bool {
    run.workers.iter().all(|worker| worker.settled() >= Seen::read(&worker.seen.wanted))
}

/// Judges the memory of each process that lived long enough.
fn memory(report: &mut Report, samples: &Samples, mean: f64) {
    let all: Vec<Memory> = samples.iter().filter_map(|(life, samples)| Memory::of(*life, samples)).collect();
    let (judged, short): (Vec<&Memory>, Vec<&Memory>) = all.iter().partition(|memory| memory.is_judged());
    let grown = judged.iter().filter(|memory| !memory.is_flat(mean)).count();
    if judged.is_empty() {
        report.show("processes whose memory grows", "not judged in less than 10 minutes");
    } else {
        report.judge("processes whose memory grows", format!("{grown} of {}", judged.len()), 0, grown == 0);
    }
    let most = all.iter().map(|memory| memory.most).fold(0.0, f64::max) / 1_048_576.0;
    report.show("the most memory of a process", format!("{most:.1} MiB"));
    let lines: String = judged.iter().map(|memory| format!("\n    {}", memory.text())).collect();
    report.note(format!("Memory; {} processes lived for too short a time:{lines}", short.len()));
}

/// Shows how many clients moved for balance, as the gateways that ended in order counted them.
fn moves(report: &mut Report, run: &Run) {
    let sum = |outcome: &str| -> f64 {
        let name = format!("rebalance_moves_total{{outcome=\"{outcome}\"}}");
        run.lives.iter().filter_map(|life| life.page.as_ref()).map(|page| page.value(&name)).sum()
    };
    let text = format!("{} / {} / {}", sum("moved"), sum("stayed"), sum("returned"));
    report.show("asked to move for balance: moved / stayed / returned", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_watchers_and_second_devices_and_those_shut_out_have_one() {
        for clients in [60, 600, 15_000] {
            let channels = channels(clients);
            let all: Vec<Role> = (0..clients).map(|client| role(client, clients)).collect();
            for channel in 0..channels as usize {
                let of: Vec<&Role> = all.iter().skip(channel).step_by(channels as usize).collect();
                assert!(of.len() <= CLIENTS_PER_CHANNEL as usize && of.iter().any(|role| role.watches));
            }
            for user in users(clients).shut_out {
                assert_eq!(devices(user, clients), [user]);
                assert_eq!(role(user, clients).kind, Kind::ShutOut);
            }
            for user in 0..clients {
                let of = |client: &u32| role(*client, clients).user == Some(user);
                let near = [user, user + channels].into_iter().filter(|client| *client < clients);
                assert_eq!(devices(user, clients), near.filter(of).collect::<Vec<_>>(), "{user}");
            }
        }
    }
}
