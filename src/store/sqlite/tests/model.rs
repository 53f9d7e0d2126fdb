//! The log compared with a model that is too simple to be wrong: random batches, retention and restarts.

use super::super::log::LogBounds;
use super::support::{Shelf, append, changing};
use crate::id::Offset;
use crate::job::{Append, AppendChange, AppendError, Attempt, Authority, Span};
use crate::store::Retention;
use crate::store::emptied;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const NUMBER: u64 = 6;
const AGE_MS: u64 = 1_000;
const CHANNELS: usize = 3;
const IDLE_MS: u64 = 60_000;
const BOUNDS: LogBounds = LogBounds {
    retention: Retention { publications: NUMBER, age: Some(Duration::from_millis(AGE_MS)) },
    channels_max: CHANNELS as u64,
    edits_max: 100,
    bytes_max: 0,
};

#[derive(Clone, Debug)]
struct Entry {
    user: String,
    time_ms: u64,
    change: AppendChange,
    deleted_by: Option<u64>,
    data: String,
}

#[derive(Default)]
struct Channel {
    head: u64,
    time_ms: u64,
    entries: BTreeMap<u64, Entry>,
}

type KeyOwner = (String, String, String);

#[derive(Default)]
struct Model {
    channels: BTreeMap<String, Channel>,
    keys: HashMap<KeyOwner, (u64, u64, AppendChange, String)>,
    /// The offset after which new channels start.
    base: u64,
}

/// Content is equal if kind and target are. Authority is not content.
fn same_kind(one: AppendChange, other: AppendChange) -> bool {
    match (one, other) {
        (AppendChange::Original, AppendChange::Original) => true,
        (AppendChange::Edit(a, _), AppendChange::Edit(b, _))
        | (AppendChange::Delete(a, _), AppendChange::Delete(b, _)) => a == b,
        (_, _) => false,
    }
}

impl Model {
    fn append(&mut self, job: &Append, now_ms: u64) -> Result<(u64, u64, Attempt), AppendError> {
        let (name, user) = (job.channel.to_string(), job.user.to_string());
        let owner = job.key.as_ref().map(|key| (name.clone(), user.clone(), key.as_str().to_owned()));
        if let Some((offset, time_ms, change, data)) = owner.as_ref().and_then(|it| self.keys.get(it)) {
            return if same_kind(*change, job.change) && **data == *job.data {
                Ok((*offset, *time_ms, Attempt::Repeat))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        if let AppendChange::Edit(target, authority) | AppendChange::Delete(target, authority) = job.change {
            let channel = self.channels.get(&name).ok_or(AppendError::NotFound)?;
            let entry = channel.entries.get(&target.0).ok_or(AppendError::NotFound)?;
            if entry.change != AppendChange::Original || entry.deleted_by.is_some() {
                return Err(AppendError::NotFound);
            }
            if authority == Authority::Author && entry.user != user {
                return Err(AppendError::NotAuthor);
            }
        }
        if !self.channels.contains_key(&name) && self.channels.len() == CHANNELS {
            return Err(AppendError::TooManyChannels);
        }
        let fresh = Channel { head: self.base, ..Channel::default() };
        let channel = self.channels.entry(name).or_insert(fresh);
        channel.head += 1;
        channel.time_ms = channel.time_ms.max(now_ms);
        let (offset, time_ms) = (channel.head, channel.time_ms);
        let data = job.data.to_string();
        let entry = Entry { user, time_ms, change: job.change, deleted_by: None, data: data.clone() };
        channel.entries.insert(offset, entry);
        if let AppendChange::Delete(erased, _) = job.change {
            for (at, entry) in &mut channel.entries {
                if *at == erased.0
                    || matches!(entry.change, AppendChange::Edit(target, _) if target == erased)
                {
                    entry.deleted_by = Some(offset);
                    entry.data = "null".to_owned();
                }
            }
        }
        if let Some(owner) = owner {
            self.keys.insert(owner, (offset, time_ms, job.change, data));
        }
        Ok((offset, time_ms, Attempt::First))
    }

    fn retain(&mut self, now_ms: u64) {
        for channel in self.channels.values_mut() {
            let head = channel.head;
            channel.entries.retain(|offset, entry| {
                offset + NUMBER > head && entry.time_ms >= now_ms.saturating_sub(AGE_MS)
            });
        }
        let (keys, base) = (&self.keys, &mut self.base);
        self.channels.retain(|name, channel| {
            let is_idle = channel.entries.is_empty() && channel.time_ms < now_ms.saturating_sub(IDLE_MS);
            let stays = !is_idle || keys.keys().any(|(owner, ..)| owner == name);
            if !stays {
                *base = emptied::raised(Offset(*base), Offset(channel.head)).0;
            }
            stays
        });
    }

    fn check(&self, shelf: &Shelf) {
        for name in (0..5).map(|n| format!("c{n}")).filter(|name| !self.channels.contains_key(name)) {
            let position = shelf.page(&name, Span::After(Offset::ZERO), 1).position;
            assert_eq!((position.head.0, position.floor.0), (self.base, self.base + 1), "{name}");
        }
        for (name, channel) in &self.channels {
            let page = shelf.page(name, Span::After(Offset::ZERO), u32::MAX);
            let floor = channel.entries.keys().next().copied().unwrap_or(channel.head + 1);
            assert_eq!((page.position.head.0, page.position.floor.0), (channel.head, floor));
            let read: Vec<_> = shelf.all(name);
            assert_eq!(read.len(), channel.entries.len());
            for (value, (offset, entry)) in read.iter().zip(&channel.entries) {
                assert_eq!(value["offset"], *offset);
                assert_eq!(value["user"], *entry.user);
                assert_eq!(value["time"], entry.time_ms);
                assert_eq!(value["data"].to_string(), entry.data);
                assert_eq!(value["deleted_by"].as_u64(), entry.deleted_by);
                let (edits, deletes) = match entry.change {
                    AppendChange::Original => (None, None),
                    AppendChange::Edit(target, _) => (Some(target.0), None),
                    AppendChange::Delete(target, _) => (None, Some(target.0)),
                };
                assert_eq!((value["edits"].as_u64(), value["deletes"].as_u64()), (edits, deletes));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Batch(Vec<Planned>),
    Clock(i64),
    Retain,
    Reopen,
}

#[derive(Clone, Debug)]
struct Planned {
    channel: u8,
    user: u8,
    key: Option<u8>,
    data: u8,
    change: AppendChange,
}

impl Planned {
    fn job(&self) -> Append {
        let key = self.key.map(|key| format!("k{key}"));
        let (channel, user) = (format!("c{}", self.channel), format!("u{}", self.user));
        changing(self.change, append(&channel, &user, key.as_deref(), &self.data.to_string()))
    }
}

fn change() -> impl Strategy<Value = AppendChange> {
    let authority = prop_oneof![Just(Authority::Author), Just(Authority::Moderator)];
    prop_oneof![
        4 => Just(AppendChange::Original),
        1 => (0u64..14, authority.clone()).prop_map(|(at, who)| AppendChange::Edit(Offset(at), who)),
        1 => (0u64..14, authority).prop_map(|(at, who)| AppendChange::Delete(Offset(at), who)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let planned = (0u8..5, 0u8..2, prop::option::of(0u8..6), 0u8..2, change())
        .prop_map(|(channel, user, key, data, change)| Planned { channel, user, key, data, change });
    prop_oneof![
        5 => prop::collection::vec(planned, 1..12).prop_map(Op::Batch),
        2 => (-400i64..600).prop_map(Op::Clock),
        1 => Just(Op::Clock(IDLE_MS as i64 + 2_000)),
        2 => Just(Op::Retain),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn log_agrees_with_the_model(ops in prop::collection::vec(op(), 1..24)) {
        let (mut shelf, mut model) = (Shelf::new(BOUNDS), Model::default());
        let mut now_ms = 1_000_000u64;
        for op in ops {
            match op {
                Op::Batch(planned) => {
                    let jobs: Vec<Append> = planned.iter().map(Planned::job).collect();
                    let outcomes = shelf.append(&jobs, now_ms);
                    for (job, outcome) in jobs.iter().zip(outcomes) {
                        let got = outcome.map(|it| (it.offset.0, it.time_ms, it.attempt));
                        prop_assert_eq!(got, model.append(job, now_ms), "{:?}", job);
                    }
                }
                Op::Clock(by) => now_ms = now_ms.saturating_add_signed(by),
                Op::Retain => {
                    shelf.retain(now_ms);
                    model.retain(now_ms);
                }
                Op::Reopen => shelf.reopen(),
            }
            model.check(&shelf);
        }
    }
}
