//! Commands on keys that a master of a cluster sends elsewhere: after a failover or while slots move, that may be most of a pipeline.

use super::cluster::{RedirectKind, redirect};
use super::key_answer::{KeyAnswer, NoAnswers};
use crate::follow::slot_map::NodeAddress;
use crate::wire::slot::Partition;
use ::redis::{Cmd, cmd};
use std::collections::BTreeMap;

/// A command on a key of a partition, and its place among the answers.
#[derive(Clone, Debug)]
pub(super) struct PlacedCommand {
    pub(super) number: usize,
    pub(super) partition: Partition,
    pub(super) command: Cmd,
}

/// Commands by the server that they are sent to; `None`: the one server. Those of a server are in order.
pub(super) type CommandGroups = BTreeMap<Option<NodeAddress>, Vec<PlacedCommand>>;

/// Commands that were sent elsewhere.
#[derive(Debug, Default)]
struct RedirectedCommands {
    moved: CommandGroups,
    asked: CommandGroups,
}

/// Sends commands, those of a server in one pipeline, and repeats the ones that were redirected once, in one pipeline for each target:
/// the slots of a master that was replaced cost one more round trip, and not one for each command. Returns the partitions that moved.
///
/// An answer that redirects once more is the final one: it is an error of that command alone.
pub(super) fn ask_groups(
    groups: CommandGroups,
    answered: &mut [Result<KeyAnswer, NoAnswers>],
    mut exchange: impl FnMut(&Option<NodeAddress>, &[Cmd]) -> Result<Vec<KeyAnswer>, NoAnswers>,
) -> BTreeMap<Partition, NodeAddress> {
    let mut redirected = RedirectedCommands::default();
    for (place, group) in groups {
        let commands: Vec<Cmd> = group.iter().map(|placed| placed.command.clone()).collect();
        let answers = exchange(&place, &commands);
        redirected.take(&place, group, answers, answered);
    }
    let moved = redirected.moved_partitions();
    for (place, group) in std::mem::take(&mut redirected.moved) {
        let commands: Vec<Cmd> = group.iter().map(|placed| placed.command.clone()).collect();
        let answers = exchange(&place, &commands);
        redirected.take(&place, group, answers, answered);
    }
    // A command counts after an `ASKING` only, whose answer says nothing.
    for (place, group) in redirected.asked {
        let commands: Vec<Cmd> =
            group.iter().flat_map(|placed| [cmd("ASKING"), placed.command.clone()]).collect();
        let answers = exchange(&place, &commands).map(|all| all.into_iter().skip(1).step_by(2).collect());
        RedirectedCommands::default().take(&place, group, answers, answered);
    }
    moved
}

impl RedirectedCommands {
    /// Puts the answers of a server in their places, and keeps the commands that it sends elsewhere.
    fn take(
        &mut self,
        place: &Option<NodeAddress>,
        group: Vec<PlacedCommand>,
        answers: Result<Vec<KeyAnswer>, NoAnswers>,
        answered: &mut [Result<KeyAnswer, NoAnswers>],
    ) {
        let asked = place.as_ref().map(NodeAddress::to_string);
        let mut answers = answers.map(Vec::into_iter);
        for placed in group {
            let answer = match &mut answers {
                Ok(answers) => match answers.next() {
                    Some(answer) => Ok(answer),
                    // It stays without an answer.
                    None => continue,
                },
                Err(unanswered) => Err(unanswered.clone()),
            };
            let error = answer.as_ref().ok().and_then(|answer| answer.as_ref().err());
            let to = asked.as_ref().zip(error).and_then(|(asked, error)| redirect(error, asked));
            if let Some(answered) = answered.get_mut(placed.number) {
                *answered = answer;
            }
            if let Some(to) = to {
                let commands = match to.kind {
                    RedirectKind::Moved => &mut self.moved,
                    RedirectKind::Ask => &mut self.asked,
                };
                commands.entry(Some(to.to)).or_default().push(placed);
            }
        }
    }

    fn moved_partitions(&self) -> BTreeMap<Partition, NodeAddress> {
        let of = |(master, group): (&Option<NodeAddress>, &Vec<PlacedCommand>)| {
            let master = master.clone()?;
            Some(
                group
                    .iter()
                    .map(|placed| placed.partition)
                    .map(move |partition| (partition, master.clone()))
                    .collect(),
            )
        };
        let moved: Vec<Vec<(Partition, NodeAddress)>> = self.moved.iter().filter_map(of).collect();
        moved.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::finding::Fault;
    use crate::net::trouble::Trouble;
    use ::redis::{Parser, Value};

    fn node(port: u16) -> NodeAddress {
        NodeAddress { host: "h".into(), port }
    }

    fn read(text: &str) -> KeyAnswer {
        match Parser::new().parse_value(text.as_bytes()).expect("a value") {
            Value::ServerError(error) => Err(error),
            value => Ok(value),
        }
    }

    /// 8 commands for each of 4 partitions, all at the first node, and places for their answers.
    fn commands() -> (CommandGroups, Vec<Result<KeyAnswer, NoAnswers>>) {
        let place = |number: usize| PlacedCommand {
            number,
            partition: Partition::at((number / 8) as u8),
            command: cmd("GET").arg(number).take(),
        };
        let none = |_| Err(NoAnswers::Failed(Trouble::new(Fault::Protocol, "answers are missing")));
        let group = (0..32).map(place).collect();
        (CommandGroups::from([(Some(node(1)), group)]), (0..32).map(none).collect())
    }

    /// The numbers of the commands; `None`: it is `ASKING`.
    fn numbers(commands: &[Cmd]) -> Vec<Option<usize>> {
        let text = |command: &Cmd| String::from_utf8_lossy(&command.get_packed_command()).into_owned();
        let number = |text: String| text.split("\r\n").nth(4).and_then(|number| number.parse().ok());
        commands.iter().map(text).map(number).collect()
    }

    /// The ports that answered, in the order of the commands; `None`: the answer is an error, or there is none.
    fn ports(answered: &[Result<KeyAnswer, NoAnswers>]) -> Vec<Option<i64>> {
        let port = |answer: &Result<KeyAnswer, NoAnswers>| match answer {
            Ok(Ok(Value::Int(port))) => Some(*port),
            _ => None,
        };
        answered.iter().map(port).collect()
    }

    #[test]
    fn moved_commands_are_repeated_in_one_pipeline_for_each_new_master() {
        let ((groups, mut answered), mut calls) = (commands(), Vec::new());
        let moved = ask_groups(groups, &mut answered, |place, commands| {
            let port = place.as_ref().expect("a master").port;
            let numbers: Vec<usize> = numbers(commands).into_iter().flatten().collect();
            calls.push((port, numbers.clone()));
            // The slots move on during the pipeline: the first two answers are those of the former master.
            Ok(numbers
                .iter()
                .map(|number| match (port, *number) {
                    (1, 0 | 1) => read(":1\r\n"),
                    (1, ..16) => read("-MOVED 1 h:2\r\n"),
                    (1, _) => read("-MOVED 1 h:3\r\n"),
                    (2, 15) => read("-MOVED 1 h:9\r\n"),
                    _ => read(&format!(":{port}\r\n")),
                })
                .collect())
        });
        let expected = [(1, (0..32).collect()), (2, (2..16).collect()), (3, (16..32).collect::<Vec<_>>())];
        assert_eq!(calls, expected);
        let of = |number| match number {
            0 | 1 => Some(1),
            15 => None,
            2..16 => Some(2),
            _ => Some(3),
        };
        assert_eq!(ports(&answered), (0..32).map(of).collect::<Vec<_>>());
        let masters: Vec<u16> = moved.values().map(|master| master.port).collect();
        assert_eq!((masters, moved.len()), (vec![2, 2, 3, 3], 4));
    }

    #[test]
    fn new_master_that_fails_costs_its_own_commands_alone() {
        let (groups, mut answered) = commands();
        let moved = ask_groups(groups, &mut answered, |place, commands| {
            match place.as_ref().expect("a master").port {
                1 => Ok((0..commands.len())
                    .map(|number| match number {
                        ..8 => read("-MOVED 1 h:2\r\n"),
                        _ => read(":1\r\n"),
                    })
                    .collect()),
                _ => Err(NoAnswers::Failed(Trouble::new(Fault::Timeout, "silent"))),
            }
        });
        assert_eq!(moved, BTreeMap::from([(Partition::at(0), node(2))]));
        let of = |number| (number >= 8).then_some(1);
        assert_eq!(ports(&answered), (0..32).map(of).collect::<Vec<_>>());
        assert!(answered[..8].iter().all(|answer| answer.as_ref().is_err_and(|failure| {
            matches!(failure, NoAnswers::Failed(trouble) if trouble.text == "silent")
        })));
    }

    #[test]
    fn key_that_is_on_its_way_is_asked_for_at_its_target_and_moves_no_partition() {
        let ((groups, mut answered), mut calls) = (commands(), Vec::new());
        let moved = ask_groups(groups, &mut answered, |place, commands| {
            let port = place.as_ref().expect("a master").port;
            let numbers = numbers(commands);
            let answers = numbers.iter().map(|number| match (port, number) {
                (1, Some(3 | 5)) => read("-ASK 1 h:4\r\n"),
                (_, None) => read("+OK\r\n"),
                _ => read(&format!(":{port}\r\n")),
            });
            let answers = answers.collect();
            calls.push((port, numbers));
            Ok(answers)
        });
        assert!(moved.is_empty());
        assert_eq!(calls[1..], [(4, vec![None, Some(3), None, Some(5)])]);
        let of = |number| Some(if matches!(number, 3 | 5) { 4 } else { 1 });
        assert_eq!(ports(&answered), (0..32).map(of).collect::<Vec<_>>());
    }
}
