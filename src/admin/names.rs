//! The names in paths, in percent encoding. A refusal quotes the name, and says what it must be and what to send.

use super::refusal::AdminRefusal;
use crate::id::{ChannelName, OrderId, UserName};
use crate::job::lookup::Wanted;
use crate::limits::ROSTER_PAGE_MEMBERS;
use crate::roster::PageWish;
use std::borrow::Cow;
use url::form_urlencoded;

/// Characters of a wrong name that a refusal quotes.
const QUOTED_MAX: usize = 32;

/// The connection to look up: 16 hexadecimal digits, as in `connected`.
pub(super) fn connection(name: &str) -> Result<Wanted, AdminRefusal> {
    let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(name, 16).ok().filter(|_| is_name);
    number.map(Wanted::Connection).ok_or_else(|| {
        wrong(
            "connection",
            &decoded(name),
            "16 hexadecimal digits; it is connection in connected, and connection of the client library",
        )
    })
}

/// The user to look up.
pub(super) fn sessions_of(name: &str) -> Result<Wanted, AdminRefusal> {
    user(name).map(|user| Wanted::User(user.as_str().into()))
}

/// The page of a channel's roster, after a user.
pub(super) fn page(channel: &str, after: Option<&str>) -> Result<PageWish, AdminRefusal> {
    let name = decoded(channel);
    let channel = ChannelName::parse(&name).map_err(|_| {
        wrong("channel", &name, &format!("{}; use the name in subscribe of a client", ChannelName::RULE))
    })?;
    Ok(PageWish { channel, after: after.map(user).transpose()?, limit: ROSTER_PAGE_MEMBERS })
}

/// A user.
pub(super) fn user(name: &str) -> Result<UserName, AdminRefusal> {
    let name = decoded(name);
    UserName::parse(&name)
        .map_err(|_| wrong("user", &name, &format!("{}; it is sub of the user's token", UserName::RULE)))
}

/// The number of an order.
pub(super) fn order(number: &str) -> Result<OrderId, AdminRefusal> {
    let digits = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse().ok())
        .map(OrderId)
        .ok_or_else(|| wrong("order", &decoded(number), "a whole number; GET /orders lists them"))
}

fn decoded(name: &str) -> Cow<'_, str> {
    let plain = name.replace('+', "%2B").replace('&', "%26");
    let pair = format!("n={plain}");
    let decoded = form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map(|(_, name)| Cow::Owned(name.into_owned())).unwrap_or_default()
}

fn wrong(what: &str, name: &str, bound: &str) -> AdminRefusal {
    let quoted: String = name.chars().take(QUOTED_MAX).collect();
    let cut = if quoted.len() < name.len() { "…" } else { "" };
    let message = match name {
        "" => format!("the path names no {what}: it must be {bound}"),
        _ => format!("the {what} in the path is {quoted:?}{cut}: it must be {bound}"),
    };
    AdminRefusal::new(400, "malformed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_and_user_are_read_decoded() {
        assert_eq!(connection("00000000000000ff"), Ok(Wanted::Connection(255)));
        assert_eq!(sessions_of("ann%20b%2Fc+d&e"), Ok(Wanted::User("ann b/c+d&e".into())));
        assert_eq!(page("%24user:ann", Some("b")).expect("a page").channel.as_str(), "$user:ann");
        assert_eq!(order("8812"), Ok(OrderId(8812)));
    }

    #[test]
    fn wrong_name_is_quoted_with_its_bound_and_advice() {
        let long = "x".repeat(129);
        let cases = [
            (connection("ff").err(), r#"connection in the path is "ff": it must be 16 hexadecimal digits"#),
            (connection("+0000000000000ff").err(), "must be 16 hexadecimal digits"),
            (page("a%20b", None).err(), r#"the channel in the path is "a b": it must be 1 to 128 bytes of"#),
            (page("", None).err(), "the path names no channel: it must be 1 to 128 bytes of"),
            (page("a", Some("%0A")).err(), r#"the user in the path is "\n": it must be 1 to 128 bytes"#),
            (user("").err(), "the path names no user: it must be 1 to 128 bytes without control characters"),
            (user(&long).err(), r#"xxxxxxxx"…: it must be"#),
            (sessions_of("").err(), "the path names no user"),
            (order("+1").err(), r#"the order in the path is "+1": it must be a whole number; GET /orders"#),
            (order("").err(), "the path names no order"),
        ];
        for (refusal, says) in cases {
            let refusal = refusal.expect(says);
            assert_eq!(refusal.status, 400, "{says}");
            assert!(refusal.message.contains(says), "{}", refusal.message);
        }
    }
}
