//! Publications: items become appends in the store's queue, and their outcomes come back in order.

use super::server::{ApiServer, STORE};
use crate::auth::api_key::{ApiKey, ApiRight};
use crate::auth::api_meters::ApiUse;
use crate::clock::Now;
use crate::id::{ChannelName, Key, UserName};
use crate::job::callers::CallAnswer;
use crate::job::places::{Places, TakenPlaces};
use crate::job::{Append, AppendChange, AppendError, Appended, Attempt, Authority, Creation, Queues};
use crate::metrics::api::ItemOutcome;
use crate::net::deadline::now;
use crate::session::StreamRefusal;
use crate::wire::api::body::{self, ApiItem};
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use crate::wire::command::Content;
use crate::wire::push::PublishedReply;
use std::time::{Duration, Instant};

/// How long a request waits for places in the store's queue, and how long after that it may be answered: together less than the time
/// within which any proxy gives up.
const PLACES_TIMEOUT: Duration = Duration::from_secs(4);
/// The wait for the store, as for clients.
const STORE_TIMEOUT: Duration = crate::limits::REPLY_TIMEOUT;
/// When to repeat a request that found no room, in milliseconds.
pub(super) const BUSY_RETRY_MS: u32 = 500;

/// The outcome of one item.
pub(super) struct Outcome {
    pub(super) channel: ChannelName,
    pub(super) key: Option<Key>,
    pub(super) result: Result<Appended, ApiProblem>,
}

impl Outcome {
    /// True if there was no room for the item, so the store does not know it.
    fn is_unsent(&self) -> bool {
        self.result.as_ref().is_err_and(|problem| problem.code == ProblemCode::Overloaded)
    }

    /// The stored publication, as it is answered.
    pub(super) fn published(&self) -> Result<PublishedReply<'_>, &ApiProblem> {
        let appended = self.result.as_ref()?;
        Ok(PublishedReply {
            channel: &self.channel,
            key: self.key.as_ref().map(Key::as_str),
            epoch: appended.epoch,
            offset: appended.offset,
            time_ms: appended.time_ms,
            duplicate: appended.attempt == Attempt::Repeat,
            stream: None,
            answer: appended.answer,
        })
    }
}

/// An item that the key may publish.
struct PermittedItem {
    channel: ChannelName,
    user: UserName,
    key: Option<Key>,
    change: AppendChange,
    data: Box<str>,
}

/// Items with their places in the outcomes, and the places in the store's queue that were taken for them.
struct PlacedItems {
    items: Vec<(usize, PermittedItem)>,
    places: TakenPlaces,
}

/// The header `Idempotency-Key`, which gives each item without a key one.
pub(super) enum HeaderKey<'a> {
    None,
    /// The key of the only item.
    Whole(&'a str),
    /// The beginning of each key; a colon and the item's place follow.
    Numbered(&'a str),
}

impl HeaderKey<'_> {
    fn of(&self, place: usize) -> Result<Option<Key>, ApiProblem> {
        match self {
            HeaderKey::None => Ok(None),
            HeaderKey::Whole(text) => body::key("Idempotency-Key", text).map(Some),
            HeaderKey::Numbered(text) => {
                body::key("Idempotency-Key with the place of the item", &format!("{text}:{place}")).map(Some)
            }
        }
    }
}

impl<C: Fn() -> Now> ApiServer<C> {
    /// Stores the items, in order within each channel, and returns an outcome for each. Fails as a whole before anything is stored.
    pub(super) fn publish(
        &self,
        seat: usize,
        key: &ApiKey,
        items: Vec<ApiItem<'_>>,
        header: &HeaderKey<'_>,
    ) -> Result<Vec<Outcome>, ApiProblem> {
        let queues = self.queues()?;
        self.check_store("nothing was stored")?;
        self.admit(key, ApiUse::Publications(items.len()))?;
        let mut outcomes = Vec::with_capacity(items.len());
        let mut permitted_items = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let idempotency = match item.key.clone() {
                Some(own) => Some(own),
                None => header.of(place)?,
            };
            let (channel, kept) = (item.channel.clone(), idempotency.clone());
            let result = match permitted(key, item, idempotency) {
                // Replaced by the store's answer.
                Ok(item) => {
                    permitted_items.push((place, item));
                    Err(busy())
                }
                Err(problem) => Err(problem),
            };
            outcomes.push(Outcome { channel, key: kept, result });
        }
        let in_flight = &self.shared.in_flight;
        let until_placed = now() + PLACES_TIMEOUT;
        self.callers.forget_lost(now());
        let mut waiting = permitted_items.into_iter().peekable();
        while waiting.peek().is_some() {
            let chunk: Vec<_> = waiting.by_ref().take(in_flight.share()).collect();
            let Some(places) = Places::take(in_flight, key.party(), chunk.len(), until_placed) else {
                // Later items of a channel must not be stored without the earlier ones.
                break;
            };
            let chunk = PlacedItems { items: chunk, places };
            if self.store(&queues, seat, chunk, &mut outcomes) == QueueRoom::None {
                break;
            }
        }
        let unsent = outcomes.iter().filter(|outcome| outcome.is_unsent()).count();
        self.shared.meters.lock().give_back(key, unsent);
        for outcome in &outcomes {
            self.counters.count(match &outcome.result {
                Ok(Appended { attempt: Attempt::First, .. }) => ItemOutcome::Stored,
                Ok(Appended { attempt: Attempt::Repeat, .. }) => ItemOutcome::Duplicate,
                Err(_) => ItemOutcome::Failed,
            });
        }
        Ok(outcomes)
    }

    /// Hands the items to the store and waits for its answers. After the first item without room no other is handed over.
    fn store(
        &self,
        queues: &Queues,
        seat: usize,
        placed: PlacedItems,
        outcomes: &mut [Outcome],
    ) -> QueueRoom {
        let PlacedItems { items, places } = placed;
        let Some(call) = self.callers.begin(seat, items.len(), Some(places)) else { return QueueRoom::None };
        let mut room = QueueRoom::Enough;
        let deadline = now() + STORE_TIMEOUT;
        let mut places = Vec::with_capacity(items.len());
        for (at, (place, item)) in items.into_iter().enumerate() {
            let PermittedItem { channel, user, key, change, data } = item;
            let (ticket, creation) = (call.ticket(at), Creation::Free);
            let (stream, claims) = (None, None);
            let job = Append { ticket, channel, user, key, change, creation, data, stream, claims };
            // The queue has room for all that may be in flight unless clients fill the rest.
            if room == QueueRoom::Enough && queues.append.send_deadline(job, soon(deadline)).is_err() {
                room = QueueRoom::None;
            }
            if room == QueueRoom::None {
                call.withdraw(at);
            }
            places.push((place, room));
        }
        for ((place, room), answer) in places.into_iter().zip(call.wait(deadline)) {
            let Some(outcome) = outcomes.get_mut(place) else { continue };
            outcome.result = match (answer, room) {
                (Some(CallAnswer::Appended(Ok(appended))), _) => Ok(appended),
                (Some(CallAnswer::Appended(Err(error))), _) => Err(problem(&error)),
                (None, QueueRoom::None) => Err(busy()),
                (Some(CallAnswer::Page(_)), _) | (None, QueueRoom::Enough) => {
                    Err(problem(&AppendError::Unconfirmed { retry_ms: 1_000 }))
                }
            };
        }
        room
    }
}

/// The room in the store's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueueRoom {
    Enough,
    None,
}

/// The wait for room in the queue: short, because its other senders do not wait.
fn soon(deadline: Instant) -> Instant {
    deadline.min(now() + Duration::from_millis(500))
}

/// The item with its author, if the key may publish it.
fn permitted(key: &ApiKey, item: ApiItem<'_>, idempotency: Option<Key>) -> Result<PermittedItem, ApiProblem> {
    let ApiItem { channel, user, key: _, content } = item;
    if !key.covers(&channel) {
        let detail = format!("the key {:?} has no pattern that matches {channel}", key.name());
        return Err(ApiProblem::lasting(ProblemCode::Forbidden, detail));
    }
    let user = key.author(user).ok_or_else(|| {
        let detail = format!(
            "the key {:?} may not name an author; set as_user = true for it, or leave user out",
            key.name()
        );
        ApiProblem::lasting(ProblemCode::Forbidden, detail)
    })?;
    let (change, data) = (change(key, &content), Box::from(content.data()));
    Ok(PermittedItem { channel, user, key: idempotency, change, data })
}

/// The change that a publication of the key is.
pub(super) fn change(key: &ApiKey, content: &Content<'_>) -> AppendChange {
    let authority = if key.has(ApiRight::Moderate) { Authority::Moderator } else { Authority::Author };
    match content {
        Content::Original(_) => AppendChange::Original,
        Content::Edit(target, _) => AppendChange::Edit(*target, authority),
        Content::Delete(target, _) => AppendChange::Delete(*target, authority),
    }
}

fn busy() -> ApiProblem {
    let detail = "the store has more to do than it takes; nothing was stored; repeat the request";
    ApiProblem::passing(ProblemCode::Overloaded, detail, BUSY_RETRY_MS)
}

/// The problem that a failed append is.
pub(super) fn problem(error: &AppendError) -> ApiProblem {
    let lasting = ApiProblem::lasting;
    match error {
        AppendError::KeyConflict => lasting(
            ProblemCode::KeyConflict,
            "another publication of this author has this key in this channel; use a new key for new content",
        ),
        AppendError::NotFound => lasting(
            ProblemCode::NotFound,
            "the publication to change is not retained, is a change itself, or was deleted",
        ),
        AppendError::NotAuthor => lasting(
            ProblemCode::Forbidden,
            "the publication is another author's; the key needs the right moderate",
        ),
        AppendError::TooManyChannels | AppendError::ChannelShareUsed { .. } => lasting(
            ProblemCode::TooLarge,
            "limits.channels is reached, and the channel is new; raise it, or drop channels",
        ),
        AppendError::MayNotCreate => lasting(ProblemCode::Forbidden, "the key may not create channels"),
        AppendError::TooManyEdits => {
            lasting(ProblemCode::TooLarge, "limits.edits is reached for this publication; delete it instead")
        }
        AppendError::Stream(fault) => {
            let refusal = StreamRefusal::Fault(*fault);
            let retry_ms = refusal.retry_ms();
            ApiProblem { retry_ms, ..lasting(ProblemCode::of(refusal.code()), refusal.message()) }
        }
        AppendError::NoRoom { retry_ms } => ApiProblem {
            dependency: Some(STORE),
            ..ApiProblem::passing(
                ProblemCode::Unavailable,
                "the store's disk is nearly full; nothing was stored",
                *retry_ms,
            )
        },
        AppendError::Unavailable { retry_ms } => ApiProblem {
            dependency: Some(STORE),
            ..ApiProblem::passing(
                ProblemCode::Unavailable,
                "the store did not take it; nothing was stored",
                *retry_ms,
            )
        },
        AppendError::Unconfirmed { retry_ms } => ApiProblem::passing(
            ProblemCode::Unconfirmed,
            "whether it was stored is not known; the same request with the same key finds out",
            *retry_ms,
        ),
    }
}
