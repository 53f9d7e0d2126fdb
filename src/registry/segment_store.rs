//! Segments in Redis: flushes, reads and the audit, each a pipeline on keys of one partition.

use super::answers::{field, fields, refusal};
use super::link::{LIFE_S, RegistryLink};
use crate::health::finding::{Cause, Fault};
use crate::id::Incarnation;
use crate::job::segments::{HashField, SegmentKey, SegmentWrite};
use crate::net::trouble::Trouble;
use crate::wire::slot::Partition;
use ::redis::{Cmd, cmd};
use std::sync::Arc;

/// Commands of one pipeline: the next one follows its answers, so that Redis sets the pace.
const COMMANDS_MAX: usize = 2_048;
/// Bytes of the fields in one pipeline; those of a single key always fit.
const FLUSH_BYTES_MAX: usize = 1 << 20;
/// Keys read in one pipeline.
const READS_MAX: usize = 64;

/// The names of keys.
pub(super) struct SegmentStore {
    prefix: Arc<str>,
}

/// The number of a flush, and the incarnation that counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlushNumber {
    pub(super) incarnation: Incarnation,
    pub(super) number: u64,
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

    /// Carries out a part of a flush that fits into one pipeline, with keys of one partition. Returns the number of the flush before
    /// it. An error means that it is not known what was written.
    pub(super) fn flush(
        &self,
        link: &mut RegistryLink,
        partition: Partition,
        flush: FlushNumber,
        writes: &[SegmentWrite],
    ) -> Result<Option<Vec<u8>>, Cause> {
        let (hash, name) = (self.flushes(link.numbered(partition)), flush.incarnation.to_string());
        let mut commands = Vec::with_capacity(2 + 4 * writes.len());
        commands.push(cmd("HGET").arg(&hash).arg(&name).take());
        let word = link.publish_word();
        for write in writes {
            push_write(write, word, &mut commands);
        }
        commands.push(cmd("HSET").arg(&hash).arg(&name).arg(flush.number).take());
        let answers = link.call(partition, &commands)?;
        if let Some(trouble) = refusal(&answers) {
            link.drop_connection(partition);
            return Err(link.cause(trouble));
        }
        field(answers.into_iter().next()).map_err(|trouble| link.cause(trouble))
    }

    /// The command that reads the number of the last flush in a partition.
    pub(super) fn read_flush(&self, partition: Partition, incarnation: Incarnation) -> Cmd {
        cmd("HGET").arg(self.flushes(partition)).arg(incarnation.to_string()).take()
    }

    /// Reads all fields of keys of one partition.
    pub(super) fn read(
        &self,
        link: &mut RegistryLink,
        partition: Partition,
        keys: &[SegmentKey],
    ) -> Result<Vec<Vec<HashField>>, Cause> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(READS_MAX) {
            let commands: Vec<Cmd> = chunk.iter().map(|key| cmd("HGETALL").arg(&*key.key).take()).collect();
            let answers = link.call(partition, &commands)?;
            for answer in answers {
                found.push(fields(Some(answer)).map_err(|trouble| link.cause(trouble))?);
            }
        }
        match found.len() == keys.len() {
            true => Ok(found),
            false => Err(link.cause(Trouble::new(Fault::Protocol, "answers are missing"))),
        }
    }

    /// Keeps keys of one partition alive, and reads them.
    pub(super) fn audit(
        &self,
        link: &mut RegistryLink,
        partition: Partition,
        keys: Vec<SegmentKey>,
    ) -> Result<Vec<AuditedKey>, Cause> {
        let mut audited = Vec::with_capacity(keys.len());
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let chunk: Vec<_> = keys.by_ref().take(READS_MAX).collect();
            let of = |key: &SegmentKey| {
                let expire = cmd("EXPIRE").arg(&*key.key).arg(LIFE_S).take();
                [expire, cmd("HGETALL").arg(&*key.key).take()]
            };
            let commands: Vec<Cmd> = chunk.iter().flat_map(of).collect();
            let mut answers = link.call(partition, &commands)?.into_iter();
            for key in chunk {
                let _expires = answers.next();
                let fields = fields(answers.next()).map_err(|trouble| link.cause(trouble))?;
                audited.push(AuditedKey { key, fields });
            }
        }
        Ok(audited)
    }

    /// Removes fields that incarnations left behind.
    pub(super) fn clean(
        &self,
        link: &mut RegistryLink,
        key: &SegmentKey,
        names: &[Vec<u8>],
    ) -> Result<(), Cause> {
        link.call(key.partition, &[removal(&key.key, names)]).map(drop)
    }
}

fn removal(key: &str, names: &[Vec<u8>]) -> Cmd {
    let mut command = cmd("HDEL");
    command.arg(key).arg(names);
    command
}

/// The commands of a write.
fn push_write(write: &SegmentWrite, publish_word: &str, commands: &mut Vec<Cmd>) {
    let SegmentWrite { key, set, remove, publish, audit: _ } = write;
    let key = &*key.key;
    if !remove.is_empty() {
        commands.push(removal(key, remove));
    }
    if !set.is_empty() {
        let mut command = cmd("HSET");
        command.arg(key);
        for (name, value) in set {
            command.arg(name).arg(value);
        }
        commands.push(command);
        commands.push(cmd("EXPIRE").arg(key).arg(LIFE_S).take());
    }
    if let Some(message) = publish {
        commands.push(cmd(publish_word).arg(key).arg(message).take());
    }
}

/// The number of writes at the beginning that fit into one pipeline; at least one.
pub(super) fn fitting(writes: &[SegmentWrite]) -> usize {
    let (mut commands, mut bytes) = (2, 0);
    let fits = writes.iter().take_while(|write| {
        commands += 4;
        bytes += write.set.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        bytes += write.remove.iter().map(Vec::len).sum::<usize>();
        bytes += write.publish.as_ref().map_or(0, Vec::len);
        commands <= COMMANDS_MAX && bytes <= FLUSH_BYTES_MAX
    });
    fits.count().clamp(1, writes.len().max(1)).min(writes.len())
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
            .map(|command| text(command).split(' ').nth(2).unwrap_or_default().into())
            .collect();
        assert_eq!(names, ["HDEL", "HSET", "EXPIRE", "PUBLISH"]);
        let mut commands = Vec::new();
        push_write(&SegmentWrite { set: vec![], publish: None, ..write(1) }, "PUBLISH", &mut commands);
        assert_eq!(commands.len(), 1, "a key that is emptied is not kept alive");
    }

    #[test]
    fn pipeline_is_bounded_by_commands_and_bytes() {
        assert_eq!(fitting(&[]), 0);
        assert_eq!(fitting(&vec![write(1); 3]), 3);
        assert_eq!(fitting(&vec![write(1); 2_048]), (COMMANDS_MAX - 2) / 4);
        assert_eq!(fitting(&vec![write(300_000); 9]), 3);
        assert_eq!(fitting(&vec![write(2 << 20); 2]), 1, "a single one always fits");
        assert!(fitting(&vec![write(1); 2_048]) * 4 + 2 <= COMMANDS_MAX);
    }
}
