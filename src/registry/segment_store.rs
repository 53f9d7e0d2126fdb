//! Segments in Redis: flushes, reads of flush numbers and the audit.

use super::answers::{WRONG_TYPE, field};
use super::link::{CallFailure, LIFE_S, RegistryLink};
use crate::health::finding::Cause;
use crate::id::Incarnation;
use crate::job::segments::{HashField, SegmentKey, SegmentWrite};
use crate::net::redis::key_answer::KeyAnswer;
use crate::net::redis::trouble_of;
use crate::wire::slot::Partition;
use ::redis::{Cmd, cmd};
use std::sync::Arc;

/// Commands of one pipeline: the next one follows its answers, so that Redis sets the pace.
const COMMANDS_MAX: usize = 2_048;
/// Bytes of the fields in one pipeline; those of a single key always fit.
const FLUSH_BYTES_MAX: usize = 1 << 20;

/// The names of keys.
pub(super) struct SegmentStore {
    prefix: Arc<str>,
}

/// The number of a flush, as Redis has it. An error means that it is not known.
pub(super) type FlushFound = Result<Option<Vec<u8>>, Cause>;

/// The part of a flush that one flush number covers.
#[derive(Debug)]
pub(super) struct FlushPart<'a> {
    /// The partition that has the number.
    pub(super) partition: Partition,
    pub(super) number: u64,
    pub(super) writes: &'a [SegmentWrite],
}

/// The fields of a key, read by the audit.
#[derive(Debug)]
pub(super) struct AuditedKey {
    pub(super) key: SegmentKey,
    pub(super) fields: Vec<HashField>,
}

impl SegmentStore {
    pub(super) fn new(prefix: Arc<str>) -> SegmentStore {
        SegmentStore { prefix }
    }

    /// The hash of the flush numbers of a partition.
    pub(super) fn flushes(&self, partition: Partition) -> String {
        format!("{}:{{{}}}:g", self.prefix, partition.tag())
    }

    /// Carries out parts of a flush that together fit into one pipeline, in one round trip for each master. Answers each with the number
    /// of the flush before it. An error means that it is not known what was written of a part.
    pub(super) fn flush(
        &self,
        link: &mut RegistryLink,
        incarnation: Incarnation,
        parts: &[FlushPart<'_>],
    ) -> Vec<FlushFound> {
        let (name, word) = (incarnation.to_string(), link.publish_word());
        let (mut commands, mut counts) = (Vec::new(), Vec::with_capacity(parts.len()));
        for FlushPart { partition, number, writes } in parts {
            let (hash, before) = (self.flushes(*partition), commands.len());
            commands.push((*partition, cmd("HGET").arg(&hash).arg(&name).take()));
            writes.iter().for_each(|write| push_write(write, word, &mut commands));
            commands.push((*partition, cmd("HSET").arg(&hash).arg(&name).arg(*number).take()));
            counts.push(commands.len() - before);
        }
        let mut answers = link.call_each(commands).into_iter();
        let mut outcomes = Vec::with_capacity(parts.len());
        for (part, count) in parts.iter().zip(counts) {
            let of_part: Result<Vec<KeyAnswer>, _> = answers.by_ref().take(count).collect();
            outcomes.push(match of_part {
                Ok(of_part) => outcome(link, part, of_part),
                Err(failure) => Err(failure.into_cause()),
            });
        }
        outcomes
    }

    /// Reads the number of the last flush in each of these partitions.
    pub(super) fn read_flushes(
        &self,
        link: &mut RegistryLink,
        incarnation: Incarnation,
        partitions: impl Iterator<Item = Partition>,
    ) -> Vec<(Partition, FlushFound)> {
        let partitions: Vec<Partition> = partitions.collect();
        let name = incarnation.to_string();
        let read =
            |partition: &Partition| (*partition, cmd("HGET").arg(self.flushes(*partition)).arg(&name).take());
        let answers = link.call_each(partitions.iter().map(read).collect());
        let number = |answer| match answer {
            Ok(answer) => field(Some(answer)).map_err(|trouble| link.cause(trouble)),
            Err(failure) => Err(CallFailure::into_cause(failure)),
        };
        let numbers: Vec<_> = answers.into_iter().map(number).collect();
        partitions.into_iter().zip(numbers).collect()
    }

    /// Keeps keys alive.
    pub(super) fn keep(&self, link: &mut RegistryLink, keys: &[SegmentKey]) {
        let expire = |key: &SegmentKey| (key.partition, cmd("EXPIRE").arg(&*key.key).arg(LIFE_S).take());
        // The next audit repeats what failed, long before a key ends.
        drop(link.call_each(keys.iter().map(expire).collect()));
    }

    /// Removes fields that incarnations left behind, in one round trip for each master.
    pub(super) fn clean(
        &self,
        link: &mut RegistryLink,
        left: &[(&SegmentKey, Vec<Vec<u8>>)],
    ) -> Result<(), Cause> {
        let remove = |(key, names): &(&SegmentKey, Vec<Vec<u8>>)| (key.partition, removal(&key.key, names));
        let answers = link.call_each(left.iter().map(remove).collect());
        answers.into_iter().find_map(Result::err).map_or(Ok(()), |failure| Err(failure.into_cause()))
    }
}

/// The number of the flush before a part, or the first error that makes it unknown what was written. A key that another program made
/// something else than a hash is none: readers see it, and nothing else waits for it.
fn outcome(link: &mut RegistryLink, part: &FlushPart<'_>, answers: Vec<KeyAnswer>) -> FlushFound {
    let last = answers.len().saturating_sub(1);
    let is_trouble = |(place, answer): &(usize, &KeyAnswer)| {
        let is_number = *place == 0 || *place == last;
        answer.as_ref().is_err_and(|error| is_number || error.code() != WRONG_TYPE)
    };
    let trouble = answers.iter().enumerate().find(is_trouble);
    if let Some(error) = trouble.and_then(|(_, answer)| answer.as_ref().err()) {
        let trouble = trouble_of(error);
        link.drop_connection(part.partition);
        return Err(link.cause(trouble));
    }
    if answers.iter().any(Result::is_err) {
        tracing::debug!(partition = part.partition.index(), "a key is no hash, so it is not written");
    }
    field(answers.into_iter().next()).map_err(|trouble| link.cause(trouble))
}

fn removal(key: &str, names: &[Vec<u8>]) -> Cmd {
    let mut command = cmd("HDEL");
    command.arg(key).arg(names);
    command
}

/// The commands of a write.
fn push_write(write: &SegmentWrite, publish_word: &str, commands: &mut Vec<(Partition, Cmd)>) {
    let SegmentWrite { key: SegmentKey { key, partition }, set, remove, publish, audit: _ } = write;
    let key = &**key;
    if !remove.is_empty() {
        commands.push((*partition, removal(key, remove)));
    }
    if !set.is_empty() {
        let mut command = cmd("HSET");
        command.arg(key);
        for (name, value) in set {
            command.arg(name).arg(value);
        }
        commands.push((*partition, command));
        commands.push((*partition, cmd("EXPIRE").arg(key).arg(LIFE_S).take()));
    }
    if let Some(message) = publish {
        commands.push((*partition, cmd(publish_word).arg(key).arg(message).take()));
    }
}

/// The number of writes at the beginning that fit into what is left of a pipeline; at least one if nothing is in it yet.
fn fitting(writes: &[SegmentWrite], used: PipelineUse) -> (usize, PipelineUse) {
    let (mut count, mut sum) = (0, PipelineUse { commands: used.commands + 2, ..used });
    for write in writes {
        let more = sum.with(write);
        let is_first = used == PipelineUse::default() && count == 0;
        if !more.fits() && !is_first {
            break;
        }
        (count, sum) = (count + 1, more);
    }
    (count, sum)
}

/// The room that is taken in a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PipelineUse {
    commands: usize,
    bytes: usize,
}

impl PipelineUse {
    fn with(self, write: &SegmentWrite) -> PipelineUse {
        let set = write.set.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let remove = write.remove.iter().map(Vec::len).sum::<usize>();
        let bytes = self.bytes + set + remove + write.publish.as_ref().map_or(0, Vec::len);
        PipelineUse { commands: self.commands + 4, bytes }
    }

    fn fits(self) -> bool {
        self.commands <= COMMANDS_MAX && self.bytes <= FLUSH_BYTES_MAX
    }
}

/// Divides writes, which are grouped by the partition that has their flush number, into pipelines. No pipeline has two parts with the number of
/// one partition.
pub(super) fn pipelines(groups: &[(Partition, Vec<SegmentWrite>)]) -> Vec<Vec<(Partition, &[SegmentWrite])>> {
    let (mut pipelines, mut current, mut used) = (Vec::new(), Vec::new(), PipelineUse::default());
    for (partition, writes) in groups {
        let mut rest = &writes[..];
        loop {
            let is_second = current.last().is_some_and(|(last, _)| last == partition);
            let (count, sum) = fitting(rest, used);
            let is_nothing = count == 0 && !rest.is_empty();
            if is_second || is_nothing || !sum.fits() && !current.is_empty() {
                pipelines.push(std::mem::take(&mut current));
                used = PipelineUse::default();
                continue;
            }
            let (now, later) = rest.split_at(count);
            current.push((*partition, now));
            (rest, used) = (later, sum);
            if rest.is_empty() {
                break;
            }
        }
    }
    pipelines.push(current);
    pipelines.retain(|pipeline| !pipeline.is_empty());
    pipelines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::segments::SegmentAudit;

    fn write(bytes: usize) -> SegmentWrite {
        let key = SegmentKey { key: Arc::from("s:{460}:x"), partition: Partition::FIRST };
        SegmentWrite {
            key,
            set: vec![(b"a.1/u".to_vec(), vec![b'1'; bytes])],
            remove: vec![b"a.1/v".to_vec()],
            publish: Some(b"delta".to_vec()),
            audit: SegmentAudit::Begin,
        }
    }

    fn text(command: &Cmd) -> String {
        String::from_utf8_lossy(&command.get_packed_command()).replace("\r\n", " ")
    }

    #[test]
    fn write_removes_before_it_sets_and_publishes_last() {
        let mut commands = Vec::new();
        push_write(&write(1), "PUBLISH", &mut commands);
        let names: Vec<String> = commands
            .iter()
            .map(|(_, command)| text(command).split(' ').nth(2).unwrap_or_default().into())
            .collect();
        assert_eq!(names, ["HDEL", "HSET", "EXPIRE", "PUBLISH"]);
        let mut commands = Vec::new();
        push_write(&SegmentWrite { set: vec![], publish: None, ..write(1) }, "PUBLISH", &mut commands);
        assert_eq!(commands.len(), 1, "a key that is emptied is not kept alive");
    }

    /// The number of writes in each part of each pipeline.
    fn divided(groups: &[(Partition, Vec<SegmentWrite>)]) -> Vec<Vec<(u16, usize)>> {
        let parts = |pipeline: &Vec<(Partition, &[SegmentWrite])>| {
            pipeline.iter().map(|(partition, writes)| (partition.index(), writes.len())).collect()
        };
        pipelines(groups).iter().map(parts).collect()
    }

    #[test]
    fn pipeline_is_bounded_by_commands_and_bytes() {
        let group =
            |bytes: &[usize]| vec![(Partition::FIRST, bytes.iter().map(|bytes| write(*bytes)).collect())];
        assert_eq!(divided(&[]), Vec::<Vec<_>>::new());
        assert_eq!(divided(&group(&[])), [[(0, 0)]], "its number is written");
        assert_eq!(divided(&group(&[1; 3])), [[(0, 3)]]);
        let most = (COMMANDS_MAX - 2) / 4;
        assert_eq!(divided(&group(&[1; 2 * 511 + 7])), [[(0, most)], [(0, most)], [(0, 7)]]);
        assert_eq!(divided(&group(&[300_000; 5])), [[(0, 3)], [(0, 2)]]);
        assert_eq!(divided(&group(&[2 << 20; 2])), [[(0, 1)], [(0, 1)]], "a single one always fits");
    }

    #[test]
    fn pipeline_has_several_partitions_and_one_part_of_each() {
        let group = |partition: u8, count| (Partition::at(partition), vec![write(1); count]);
        let all: Vec<_> = (0..=255).map(|partition| group(partition, 2)).collect();
        let pipelines = divided(&all);
        assert_eq!(pipelines.len(), 2, "ten commands for each of 256");
        assert_eq!(pipelines.iter().flatten().map(|(_, count)| count).sum::<usize>(), 2 * 256);
        let none: Vec<_> = (0..=255).map(|partition| group(partition, 0)).collect();
        assert_eq!(divided(&none).len(), 1);
        let two = [group(1, 500), group(2, 600)];
        assert_eq!(divided(&two), [vec![(1, 500), (2, 11)], vec![(2, 511)], vec![(2, 78)]]);
    }
}
