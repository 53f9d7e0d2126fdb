//! `publish`, `history` and `signal`: writing to the log, reading from it, and sending past it.

use super::answer::{AppendOutcome, HistoryOutcome};
use super::context::Context;
use super::effect::{AppendEffect, Effect};
use super::member::Member;
use super::meters::ExceededRate;
use super::outcome::{AppendChange, AppendError, Attempt, Authority, Creation};
use super::refusal::Refusal;
use super::stream_refusal::StreamRefusal;
use super::{Session, SessionStage};
use crate::auth::permission::Right;
use crate::id::{ChannelName, CommandId, Key};
use crate::limits::HISTORY_PAGE_BYTES_MAX;
use crate::wire::command::{Content, HistoryRange, Publish};
use crate::wire::push::{self, PublishedReply};
use std::sync::Arc;

/// When a client should retry if the store did not answer in time, in milliseconds.
const READ_RETRY_MS: u32 = 1_000;

impl Member {
    pub(super) fn publish(&mut self, id: CommandId, publish: Publish<'_>, cx: &mut Context<'_>) {
        let Publish { channel, key, content, stream } = publish;
        if !self.may(Right::Publish, &channel, Some(id), cx) {
            return;
        }
        if (stream.is_some() && !self.may_begin(id, &channel, cx)) || !self.reserve(id, cx) {
            return;
        }
        let authority = || match self.permissions.allow(Right::Moderate, &channel) {
            true => Authority::Moderator,
            false => Authority::Author,
        };
        let (change, data) = match content {
            Content::Original(data) => (AppendChange::Original, data),
            Content::Edit(target, data) => (AppendChange::Edit(target, authority()), data),
            Content::Delete(target, data) => (AppendChange::Delete(target, authority()), data),
        };
        let creation = self.creation(&channel, cx);
        let user = self.user.clone();
        let data = Box::from(data);
        let claims = self.forwarded.as_deref().cloned();
        cx.effects.push(Effect::Append(Box::new(AppendEffect {
            id,
            channel,
            user,
            key,
            change,
            creation,
            data,
            stream,
            claims,
            asked: cx.asked,
        })));
    }

    /// The permission to create the channel, if it does not exist.
    fn creation(&self, channel: &ChannelName, cx: &Context<'_>) -> Creation {
        if !self.permissions.may_create(channel) {
            return Creation::Denied;
        }
        self.meters.channel_share(cx.policy, cx.now.at).map_or(Creation::Free, Creation::Shared)
    }

    pub(super) fn history(
        &mut self,
        id: CommandId,
        channel: ChannelName,
        range: HistoryRange,
        limit: u32,
        cx: &mut Context<'_>,
    ) {
        if !self.may(Right::Subscribe, &channel, Some(id), cx) {
            return;
        }
        // The pages in the outbox and those requested must fit in `limits.outbox_bytes_hard`.
        let ahead = (usize::from(self.pages) + 1) * HISTORY_PAGE_BYTES_MAX;
        if self.pages > 0 && cx.waiting_bytes + ahead > cx.policy.limits.outbox_bytes_hard as usize {
            cx.refuse(Some(id), &Refusal::Pages);
            return;
        }
        if self.reserve(id, cx) {
            self.pages += 1;
            cx.effects.push(Effect::History { id, channel, range, limit, asked: cx.asked });
        }
    }

    pub(super) fn signal(
        &mut self,
        id: Option<CommandId>,
        channel: &ChannelName,
        data: &str,
        cx: &mut Context<'_>,
    ) {
        if self.find(channel, cx).is_none() {
            cx.refuse(id, &Refusal::NotSubscribed);
        } else if data.len() > cx.policy.limits.signal_bytes as usize {
            cx.refuse(id, &Refusal::SignalBytes);
        } else if self.may(Right::Publish, channel, id, cx) {
            let mut frame = Vec::new();
            push::signal(&mut frame, channel, self.user.as_str(), data);
            cx.effects.push(Effect::Signal { channel: channel.clone(), frame: Arc::from(frame) });
        }
    }
}

impl Session {
    /// Takes the answer to an append.
    pub fn appended(
        &mut self,
        id: CommandId,
        channel: &ChannelName,
        key: Option<&Key>,
        outcome: AppendOutcome,
        cx: &mut Context<'_>,
    ) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        let refusal = match outcome {
            AppendOutcome::Answered(Ok(appended)) => {
                let reply = PublishedReply {
                    channel,
                    key: key.map(Key::as_str),
                    epoch: appended.epoch,
                    offset: appended.offset,
                    time_ms: appended.time_ms,
                    duplicate: appended.attempt == Attempt::Repeat,
                    stream: appended.stream,
                    answer: appended.answer,
                };
                push::published(cx.out, id, &reply);
                return;
            }
            AppendOutcome::Answered(Err(error)) => match error {
                AppendError::KeyConflict => Refusal::KeyConflict,
                AppendError::NotFound => Refusal::NotFound,
                // A user who cannot read the channel must not find out which publications it holds.
                AppendError::NotAuthor if !member.has(Right::Subscribe, channel, cx.policy) => {
                    Refusal::NotFound
                }
                AppendError::NotAuthor => Refusal::NotAuthor,
                AppendError::TooManyChannels => Refusal::StoredChannels,
                AppendError::ChannelShareUsed { retry_ms } => {
                    Refusal::Rate { rate: ExceededRate::Channels, retry_ms }
                }
                AppendError::MayNotCreate => Refusal::Forbidden(Right::Create.name()),
                AppendError::TooManyEdits => Refusal::Edits,
                AppendError::Stream(fault) => Refusal::Stream(StreamRefusal::Fault(fault)),
                AppendError::NoRoom { retry_ms } => Refusal::NoRoom { retry_ms },
                AppendError::Unavailable { retry_ms } => Refusal::Unavailable { retry_ms },
                AppendError::Unconfirmed { retry_ms } => Refusal::Unconfirmed { retry_ms },
            },
            AppendOutcome::QueueFull => Refusal::Queue,
            AppendOutcome::Late => Refusal::Unconfirmed { retry_ms: READ_RETRY_MS },
        };
        cx.refuse(Some(id), &refusal);
    }

    /// Takes the answer to a history read.
    pub fn history_read(
        &mut self,
        id: CommandId,
        channel: &ChannelName,
        outcome: &HistoryOutcome<'_>,
        cx: &mut Context<'_>,
    ) {
        let SessionStage::Open(member) = &mut self.stage else { return };
        member.pending = member.pending.saturating_sub(1);
        member.pages = member.pages.saturating_sub(1);
        match outcome {
            HistoryOutcome::Page(position, body) => {
                member.read(body.len(), cx.policy, cx.now.at);
                push::history(cx.out, id, channel, *position, body);
            }
            HistoryOutcome::QueueFull => cx.refuse(Some(id), &Refusal::Queue),
            HistoryOutcome::Unavailable { retry_ms } => {
                cx.refuse(Some(id), &Refusal::Unavailable { retry_ms: *retry_ms });
            }
            HistoryOutcome::Late => cx.refuse(Some(id), &Refusal::Unavailable { retry_ms: READ_RETRY_MS }),
        }
    }
}
