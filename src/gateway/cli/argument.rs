//! The values of arguments. A message says what the value must be and where to find it; clap adds the name of the argument.

use crate::cluster::order::REASON_BYTES_MAX;
use crate::id::{ChannelName, INTEGER_MAX, UserName};

/// A channel.
pub(super) fn channel(text: &str) -> Result<String, String> {
    let rule = || format!("must be {}, as in subscribe of a client", ChannelName::RULE);
    ChannelName::check(text).map(|()| text.to_owned()).map_err(|_| rule())
}

/// A user.
pub(super) fn user(text: &str) -> Result<String, String> {
    let rule = || format!("must be {}, as in sub of the user's token", UserName::RULE);
    UserName::parse(text).map(|_| text.to_owned()).map_err(|_| rule())
}

/// The name of a connection.
pub(super) fn connection(text: &str) -> Result<String, String> {
    match text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_owned()),
        false => Err("must be 16 hexadecimal digits, as in connection of `connected`; \
                      `seawall user sessions NAME` lists those of a user"
            .into()),
    }
}

/// The reason of an order.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.len() <= REASON_BYTES_MAX && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "must be at most {REASON_BYTES_MAX} bytes without control characters, and has {} bytes; shorten it",
            text.len()
        )),
    }
}

/// The number of an order.
pub(super) fn order(text: &str) -> Result<u64, String> {
    whole(text, u64::MAX).ok_or_else(|| {
        "must be a whole number: that of the order, which the command that gave it printed".to_owned()
    })
}

/// A time. The gateway checks that it is in the future, by its own clock.
pub(super) fn unix_ms(text: &str) -> Result<u64, String> {
    whole(text, INTEGER_MAX).ok_or_else(|| {
        format!(
            "must be Unix milliseconds, a whole number from 0 to {INTEGER_MAX}; in a shell: \
             $(date -d 'tomorrow 8:00' +%s000)"
        )
    })
}

fn whole(text: &str, most: u64) -> Option<u64> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|number| *number <= most)
}
