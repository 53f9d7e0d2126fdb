//! A page of a roster.

use super::members::RosterMembers;
use crate::id::{ChannelName, UserName};
use crate::limits::ROSTER_FRAME_BYTES;
use crate::wire::presence::{self, Listing, PageEnd, RosterHead};

/// The page that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageWish {
    pub channel: ChannelName,
    /// The last user of the page before; `None`: the first page.
    pub after: Option<UserName>,
    /// The most members.
    pub limit: u32,
}

/// Bytes of the members in one frame; the rest is for the head, with the longest channel name.
pub(super) const MEMBERS_BYTES: usize = ROSTER_FRAME_BYTES - 512;

/// SegmentWrites the members after `after` until the page is full; a counted roster has numbers alone.
pub(super) fn write(
    head: &RosterHead<'_>,
    members: &RosterMembers,
    after: Option<&UserName>,
    limit: u32,
) -> Vec<u8> {
    if head.listing == Listing::Counted {
        return presence::numbers(head, None);
    }
    let (mut entries, mut end) = (Vec::new(), PageEnd::Last);
    for (at, member) in members.after(after).enumerate() {
        let before = entries.len();
        if at < limit as usize {
            presence::member(&mut entries, &member.as_shown());
        }
        if at >= limit as usize || at > 0 && entries.len() > MEMBERS_BYTES {
            entries.truncate(before);
            end = PageEnd::More;
            break;
        }
    }
    presence::page(head, &entries, end)
}
