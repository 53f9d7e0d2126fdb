//! The column `options`: what a begin asked for, except the user that it is for.

use crate::store::answer_column::AnswerJson;
use crate::wire::stream::{AnswerOptions, EventKeep, StreamOptions};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct BeginOptions {
    /// The database reads it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u32>,
    #[serde(default)]
    keep_events: bool,
    /// The database reads it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerJson>,
}

/// The value of the column.
pub(in crate::store::postgres) fn options_column(options: &StreamOptions) -> String {
    let keep_events = options.events == EventKeep::Keep;
    let answer = options.answer.map(AnswerJson::from);
    serde_json::to_string(&BeginOptions { idle_ms: options.idle_ms, keep_events, answer }).unwrap_or_default()
}

/// The options that a row has. What cannot be read is as if the begin had not asked for it.
pub(super) fn stream_options(column: &str) -> StreamOptions {
    let BeginOptions { idle_ms, keep_events, answer } = serde_json::from_str(column).unwrap_or_default();
    let events = if keep_events { EventKeep::Keep } else { EventKeep::Drop };
    StreamOptions { asker: None, idle_ms, events, answer: answer.map(AnswerOptions::from) }
}
