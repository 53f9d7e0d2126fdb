//! The outcome of one append.

use crate::auth::account::ChannelCharge;
use crate::job::{AppendChange, AppendError, Appended, Creation};
use crate::wire::publication::Change;

/// The delay after which a client should repeat a failed append: about the time in which a fault is noticed.
pub(crate) const RETRY_MS: u32 = 2_000;

/// The result of one append.
pub(crate) type Outcome = Result<Appended, AppendError>;

/// The change that an append makes, without the authority to make it.
pub(crate) fn change_of(change: AppendChange) -> Change {
    match change {
        AppendChange::Original => Change::None,
        AppendChange::Edit(target, _) => Change::Edits(target),
        AppendChange::Delete(target, _) => Change::Deletes(target),
    }
}

/// Counts a new channel against the share of its creator, if it has one, or refuses the append.
pub(crate) fn charge(creation: &Creation) -> Result<Option<ChannelCharge>, AppendError> {
    match creation {
        Creation::Free => Ok(None),
        Creation::Shared(share) => share.charge().map(Some).map_err(|wait| {
            let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).saturating_add(1);
            AppendError::ChannelShareUsed { retry_ms }
        }),
        Creation::Denied => Err(AppendError::MayNotCreate),
    }
}
