//! Rosters as the gateways show them and as watchers know them, against the truth.

use super::super::Run;
use crate::clock::rest;
use crate::crowd::message::channel_name;
use crate::crowd::role::user_number;
use crate::crowd::{Census, Order, View};
use crate::gateway::Place;
use crate::ledger::Ledger;
use crate::report::Report;
use crossbeam_channel::bounded;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The time limit for the crowd to count.
const CENSUS_WITHIN: Duration = Duration::from_secs(10);
const EXAMPLES: usize = 5;
/// The looks at a channel before it counts as untrue, and the time between them.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The connections of each user.
type Members = BTreeMap<u32, u64>;

/// A roster, as one gateway shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    complete: bool,
    members: Members,
}

/// The rosters of a gateway by channel, or why one cannot be read.
type Rosters = BTreeMap<u16, Result<Shown, String>>;

/// Everybody that is present, as the crowd knows it.
pub struct Truth(Census);

/// Counts the users that are present.
pub fn census(run: &Run) -> Result<Truth, String> {
    let (answer, answered) = bounded(1);
    run.send(&Order::Census(answer));
    answered
        .recv_timeout(CENSUS_WITHIN)
        .map(Truth)
        .map_err(|error| format!("the crowd does not count: {error}"))
}

impl Truth {
    /// Describes for people how much there is to compare.
    pub fn text(&self) -> String {
        let users: usize = self.0.present.values().map(BTreeMap::len).sum();
        let connections: u64 = self.0.present.values().flat_map(BTreeMap::values).sum();
        format!("{users} / {connections} / {} / {}", self.0.present.len(), self.0.views.len())
    }

    /// The connections of these users.
    pub fn connections_of(&self, users: &[u32]) -> u64 {
        let of = |members: &Members| users.iter().filter_map(|user| members.get(user)).sum::<u64>();
        self.0.present.values().map(of).sum()
    }
}

/// The channels whose rosters were not true when they were last compared.
pub struct Untrue(BTreeSet<u16>);

impl Untrue {
    /// Begins with all channels.
    pub fn everywhere(run: &Run) -> Untrue {
        Untrue((0..run.channels()).collect())
    }

    /// Compares the channels that are left.
    pub fn look_again(&mut self, run: &Run) {
        if let Ok(truth) = census(run) {
            self.0 = compare(run, &truth, &self.0).into_keys().collect();
        }
    }

    /// True if all were true once.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Compares all channels once more, and returns everything that is not true. Clients may still move for balance, so a channel counts
/// if it is not true in each of three looks.
pub fn wrong(run: &Run) -> Result<Vec<String>, String> {
    let mut found = compare(run, &census(run)?, &(0..run.channels()).collect());
    for _ in 1..LOOKS {
        rest(BETWEEN_LOOKS);
        found = compare(run, &census(run)?, &found.into_keys().collect());
    }
    Ok(found.into_values().flatten().collect())
}

/// The untrue parts of these channels.
fn compare(run: &Run, truth: &Truth, channels: &BTreeSet<u16>) -> BTreeMap<u16, Vec<String>> {
    let shown: Vec<(u8, Rosters)> = std::thread::scope(|scope| {
        let ask = |place| move || rosters(place, channels);
        let threads: Vec<_> = run.places.iter().map(|place| (place.slot, scope.spawn(ask(place)))).collect();
        threads.into_iter().map(|(slot, thread)| (slot, thread.join().unwrap_or_default())).collect()
    });
    let mut found = BTreeMap::new();
    for channel in channels {
        let mut wrong = Vec::new();
        let mut of = BTreeMap::new();
        for (slot, all) in &shown {
            match all.get(channel) {
                Some(Ok(roster)) => _ = of.insert(*slot, roster.clone()),
                Some(Err(error)) => wrong.push(format!("gateway {slot}: {error}")),
                None => wrong.push(format!("gateway {slot} was not asked about channel {channel}")),
            }
        }
        let empty = Members::new();
        let present = truth.0.present.get(channel).unwrap_or(&empty);
        let views =
            truth.0.views.iter().filter(|(own, ..)| own == channel).map(|(_, slot, view)| (*slot, view));
        wrong.extend(untrue(*channel, present, &of, views));
        if !wrong.is_empty() {
            found.insert(*channel, wrong);
        }
    }
    found
}

/// The untrue parts of one channel: each gateway and each watcher knows everybody, and says so.
fn untrue<'a>(
    channel: u16,
    present: &Members,
    shown: &BTreeMap<u8, Shown>,
    views: impl Iterator<Item = (u8, &'a View)>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, slot: u8, complete: bool, members: &Members| {
        if !complete || members != present {
            let of = if complete { String::new() } else { "not complete, ".to_owned() };
            found.push(format!("channel {channel}, {what} {slot}: {of}{}", difference(members, present)));
        }
    };
    for (slot, roster) in shown {
        check("gateway", *slot, roster.complete, &roster.members);
    }
    for (slot, view) in views {
        check("a watcher at gateway", slot, view.complete, &view.members);
    }
    found
}

/// Names some users that differ.
fn difference(found: &Members, wanted: &Members) -> String {
    let users: BTreeSet<&u32> = found.keys().chain(wanted.keys()).collect();
    let differs = users.into_iter().filter(|user| found.get(user) != wanted.get(user));
    let text = |user: &u32| {
        let count = |members: &Members| members.get(user).copied().unwrap_or(0);
        format!("user {user} has {} connections and not {}", count(found), count(wanted))
    };
    let shown: Vec<String> = differs.take(EXAMPLES).map(text).collect();
    if shown.is_empty() { "with the right members".to_owned() } else { shown.join(", ") }
}

/// The rosters of these channels at a gateway.
fn rosters(place: &Place, channels: &BTreeSet<u16>) -> Rosters {
    let admin = place.admin();
    let of = |channel: &u16| {
        let answer = admin.get(&format!("/channels/{}/presence", channel_name(*channel)));
        (*channel, answer.and_then(|document| read(&document)))
    };
    channels.iter().map(of).collect()
}

fn read(document: &Value) -> Result<Shown, String> {
    let bad = || format!("not a roster: {document}");
    let complete = document["complete"].as_bool().ok_or_else(bad)?;
    let members = document["members"].as_array().ok_or_else(bad)?;
    let member =
        |member: &Value| Some((user_number(member["user"].as_str()?)?, member["connections"].as_u64()?));
    let members = members.iter().map(|one| member(one).ok_or_else(bad)).collect::<Result<_, _>>()?;
    Ok(Shown { complete, members })
}

/// Judges the leaves that watchers were sent of users that were connected all the time.
pub fn judge_leaves(report: &mut Report, ledger: &Ledger) {
    let found = &ledger.false_leaves;
    report.judge("leaves of users that were connected", found.len(), 0, found.is_empty());
    if !found.is_empty() {
        let shown: String = found.iter().take(EXAMPLES).map(|text| format!("\n    {text}")).collect();
        report.note(format!("Leaves of users that were connected:{shown}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complete(members: &[(u32, u64)]) -> Shown {
        Shown { complete: true, members: members.iter().copied().collect() }
    }

    fn found(present: &[(u32, u64)], shown: [Shown; 2]) -> Vec<String> {
        let shown = (0..).zip(shown).collect();
        untrue(3, &present.iter().copied().collect(), &shown, std::iter::empty())
    }

    #[test]
    fn ghost_missing_user_and_incomplete_roster_are_found() {
        let all = || complete(&[(1, 1), (2, 2)]);
        assert_eq!(found(&[(1, 1), (2, 2)], [all(), all()]), Vec::<String>::new());
        assert!(
            found(&[(2, 2)], [all(), all()])[1].contains("gateway 1: user 1 has 1 connections and not 0")
        );
        let less = complete(&[(2, 1)]);
        let text = "gateway 0: user 1 has 0 connections and not 1, user 2 has 1 connections and not 2";
        assert!(found(&[(1, 1), (2, 2)], [less, all()])[0].contains(text));
        let unsure = Shown { complete: false, ..all() };
        assert!(found(&[(1, 1), (2, 2)], [all(), unsure])[0].contains("gateway 1: not complete"));
    }

    #[test]
    fn view_of_a_watcher_is_the_truth() {
        let (shown, present) = ([(0, complete(&[(1, 1)]))].into(), [(1, 1)].into());
        let mut view = View { complete: true, members: [(1, 1)].into(), ..View::default() };
        assert_eq!(untrue(3, &present, &shown, [(0, &view)].into_iter()), Vec::<String>::new());
        view.members.clear();
        assert_eq!(untrue(3, &present, &shown, [(0, &view)].into_iter()).len(), 1);
        view = View { members: [(1, 1)].into(), ..View::default() };
        assert_eq!(untrue(3, &present, &shown, [(0, &view)].into_iter()).len(), 1, "not called complete");
    }

    #[test]
    fn answer_of_the_admin_listener_is_read() {
        let document = json!({"channel": "c", "complete": false, "members": [{"user": "u4", "connections": 2, "since": 1}]});
        assert_eq!(read(&document), Ok(Shown { complete: false, ..complete(&[(4, 2)]) }));
        assert!(read(&json!({"complete": true})).is_err(), "a counted roster");
    }
}
