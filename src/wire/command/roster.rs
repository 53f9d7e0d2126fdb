//! The arguments of the commands about rosters, and of the members of `subscribe` and `connect.recover` about them.

use super::arguments::{self, Arguments, Complaint, Path, wrong_type};
use super::request::{Command, Entrance, RosterUse, WatchDetail};
use crate::id::{NameFault, PresenceState, STATE_BYTES_MAX};
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::wire::scan::{JsonKind, Raw};

/// Reads `present` and `watch`.
pub(super) fn roster_use(arguments: &Arguments<'_>) -> Result<RosterUse, Complaint> {
    Ok(RosterUse {
        present: arguments.optional("present", entrance)?.unwrap_or_default(),
        watch: arguments.optional("watch", detail)?,
    })
}

pub(super) fn present<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    let channel = arguments.required("channel", arguments::channel)?;
    Ok(Command::Present { channel, state: arguments.optional("state", state)? })
}

pub(super) fn absent<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    Ok(Command::Absent { channel: arguments.required("channel", arguments::channel)? })
}

pub(super) fn presence<'a>(arguments: &Arguments<'a>) -> Result<Command<'a>, Complaint> {
    let channel = arguments.required("channel", arguments::channel)?;
    let after = arguments.optional("after", arguments::user)?;
    let limit = arguments.optional("limit", arguments::integer(0))?;
    let limit = limit.map_or(ROSTER_PAGE_MEMBERS, |limit| {
        u32::try_from(limit).map_or(ROSTER_PAGE_MEMBERS, |limit| limit.clamp(1, ROSTER_PAGE_MEMBERS))
    });
    Ok(Command::Presence { channel, after, limit })
}

/// `{"state":…}`
fn entrance(path: Path, raw: Raw<'_>) -> Result<Entrance, Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(path, "an object, which may hold a state", raw.kind));
    }
    let arguments = Arguments::read(raw, "present", &["state"])?;
    Ok(Entrance::Inside(arguments.optional("state", state)?))
}

fn detail(path: Path, raw: Raw<'_>) -> Result<WatchDetail, Complaint> {
    match &*arguments::string(path, raw)? {
        "members" => Ok(WatchDetail::Members),
        "count" => Ok(WatchDetail::Count),
        _ => Err(Complaint::malformed(format!("{path} must be \"members\" or \"count\""))),
    }
}

fn state(path: Path, raw: Raw<'_>) -> Result<PresenceState, Complaint> {
    let text = arguments::string(path, raw)?;
    PresenceState::parse(&text).map_err(|fault| {
        Complaint::malformed(match fault {
            NameFault::Empty => {
                format!("{path} is empty; send 1 to {STATE_BYTES_MAX} bytes or omit it")
            }
            NameFault::TooLong => {
                format!("{path} has {} bytes; at most {STATE_BYTES_MAX} are allowed", text.len())
            }
            NameFault::Alphabet | NameFault::Reserved => {
                format!("{path} may contain only a-z, '_' and '-'")
            }
        })
    })
}
