//! Rosters of channels.

use super::server::ApiServer;
use crate::auth::api_key::{ApiKey, ApiRight};
use crate::clock::Now;
use crate::id::{ChannelName, UserName};
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::roster::PageWish;
use crate::wire::api::answer::RosterNumbers;
use crate::wire::api::problem::{ApiProblem, ProblemCode};
use percent_encoding::percent_decode_str;

impl<C: Fn() -> Now> ApiServer<C> {
    /// Reads a page of a roster, as JSON.
    pub(super) fn presence(
        &self,
        key: &ApiKey,
        channel: ChannelName,
        query: &str,
    ) -> Result<Vec<u8>, ApiProblem> {
        if !key.covers(&channel) {
            let detail = format!("the key {:?} has no pattern that matches {channel}", key.name());
            return Err(ApiProblem::lasting(ProblemCode::Forbidden, detail));
        }
        let page = self.queues()?.presence.page(wish(channel, query)?).ok_or_else(|| {
            let detail = "the rosters do not answer; repeat the request";
            ApiProblem::passing(ProblemCode::Unavailable, detail, 1_000)
        })?;
        Ok([&page, &b"\n"[..]].concat())
    }

    /// The numbers of a roster; `None` for a key without the right to see them, or if the rosters do not answer.
    pub(super) fn roster_numbers(&self, key: &ApiKey, channel: ChannelName) -> Option<RosterNumbers> {
        if !key.has(ApiRight::Presence) {
            return None;
        }
        let page = self.queues().ok()?.presence.page(PageWish { channel, after: None, limit: 1 })?;
        RosterNumbers::of(&page)
    }
}

/// Reads the query `after=…&limit=…`.
fn wish(channel: ChannelName, query: &str) -> Result<PageWish, ApiProblem> {
    let malformed = |detail: String| ApiProblem::lasting(ProblemCode::Malformed, detail);
    let (mut after, mut limit) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_first = match name {
            "after" => {
                let user = percent_decode_str(value).decode_utf8().ok();
                let user = user.and_then(|user| UserName::parse(&user).ok());
                after
                    .replace(user.ok_or_else(|| malformed("after must be a user, percent-encoded".into()))?)
                    .is_none()
            }
            "limit" => {
                let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
                let count = digits.and_then(|digits| digits.parse::<u32>().ok());
                limit
                    .replace(count.ok_or_else(|| malformed("limit must be a whole number".into()))?)
                    .is_none()
            }
            _ => return Err(malformed("the query takes after and limit only".into())),
        };
        if !is_first {
            return Err(malformed(format!("{name} is given twice; send it once")));
        }
    }
    let limit = limit.unwrap_or(ROSTER_PAGE_MEMBERS).clamp(1, ROSTER_PAGE_MEMBERS);
    Ok(PageWish { channel, after, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_a_page() {
        let channel = || ChannelName::parse("c").expect("a name");
        let page =
            |query| wish(channel(), query).map(|wish| (wish.after.map(|user| user.to_string()), wish.limit));
        assert_eq!(page(""), Ok((None, 100)));
        assert_eq!(page("after=ann%2Fb&limit=7"), Ok((Some("ann/b".into()), 7)));
        assert_eq!(page("limit=0"), Ok((None, 1)));
        assert_eq!(page("limit=5000"), Ok((None, 100)));
        for wrong in ["after", "after=", "after=%FF", "limit=x", "limit=+1", "limit=1&limit=1", "before=1"] {
            assert_eq!(page(wrong).expect_err("wrong").code, ProblemCode::Malformed, "{wrong}");
        }
    }
}
