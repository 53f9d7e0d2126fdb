//! The part of `seawall.v1` that the load generator needs: commands in the one form it writes them, and canned answers.

/// A command as slices of its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// `connect`
    Connect { id: &'a str },
    /// `subscribe`
    Subscribe { id: &'a str, channel: &'a str },
    /// `publish` with its key
    Publish { id: &'a str, channel: &'a str, key: &'a str, data: &'a str },
    /// `signal`
    Signal { channel: &'a str, data: &'a str },
}

/// The head before the first publication. All later offsets have ten digits, so that publications have equal length.
pub(crate) const HEAD: u64 = 1_000_000_000;

/// Parses a command; `None` if the load generator does not write it in this form.
pub(crate) fn cut(text: &str) -> Option<Command<'_>> {
    if let Some(rest) = text.strip_prefix("{\"signal\":{\"channel\":\"") {
        let (channel, rest) = rest.split_once("\",\"data\":")?;
        return Some(Command::Signal { channel, data: rest.strip_suffix("}}")? });
    }
    let (id, rest) = text.strip_prefix("{\"id\":")?.split_once(",\"")?;
    if rest.starts_with("connect\":") {
        return Some(Command::Connect { id });
    }
    if let Some(rest) = rest.strip_prefix("subscribe\":{\"channel\":\"") {
        return Some(Command::Subscribe { id, channel: rest.split_once('"')?.0 });
    }
    let (channel, rest) = rest.strip_prefix("publish\":{\"channel\":\"")?.split_once("\",\"key\":\"")?;
    let (key, rest) = rest.split_once("\",\"data\":")?;
    Some(Command::Publish { id, channel, key, data: rest.strip_suffix("}}")? })
}

/// The reply to `connect`, as long as Seawall's.
pub(crate) fn connected(id: &str) -> String {
    format!(
        "{{\"id\":{id},\"connected\":{{\"connection\":\"floor-1-1\",\"instance\":\"floor\",\"user\":\"anonymous\",\
         \"ping_ms\":25000,\"stable_ms\":10000,\"limits\":{{\"frame_bytes\":65536,\"publishes_per_s\":0,\
         \"publishes_burst\":40,\"subscriptions\":128}},\"status\":{{\"revision\":1,\"level\":\"ok\",\
         \"dependencies\":[],\"lost\":[]}},\"recovered\":[]}}}}"
    )
}

/// The reply to `subscribe`.
pub(crate) fn subscribed(id: &str, channel: &str, head: u64) -> String {
    format!(
        "{{\"id\":{id},\"subscribed\":{{\"channel\":\"{channel}\",\"epoch\":\"floor\",\"head\":{head},\"floor\":1}}}}"
    )
}

/// The `synced` of an empty replay.
pub(crate) fn synced(channel: &str, head: u64) -> String {
    format!("{{\"synced\":{{\"channel\":\"{channel}\",\"offset\":{head}}}}}")
}

/// The reply to `publish`.
pub(crate) fn published(id: &str, channel: &str, key: &str, offset: u64) -> String {
    format!(
        "{{\"id\":{id},\"published\":{{\"channel\":\"{channel}\",\"key\":\"{key}\",\"epoch\":\"floor\",\
         \"offset\":{offset},\"time\":1763770000123,\"duplicate\":false}}}}"
    )
}

/// The push of a publication.
pub(crate) fn publication(channel: &str, key: &str, data: &str, offset: u64) -> String {
    format!(
        "{{\"publication\":{{\"channel\":\"{channel}\",\"offset\":{offset},\"key\":\"{key}\",\"user\":\"anonymous\",\
         \"time\":1763770000123,\"data\":{data}}}}}"
    )
}

/// The push of a signal.
pub(crate) fn signal(channel: &str, data: &str) -> String {
    format!("{{\"signal\":{{\"channel\":\"{channel}\",\"user\":\"anonymous\",\"data\":{data}}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_split_into_its_values() {
        assert_eq!(cut("{\"id\":1,\"connect\":{}}"), Some(Command::Connect { id: "1" }));
        assert_eq!(
            cut("{\"id\":2,\"subscribe\":{\"channel\":\"c1\"}}"),
            Some(Command::Subscribe { id: "2", channel: "c1" })
        );
        assert_eq!(
            cut("{\"id\":7,\"publish\":{\"channel\":\"c1\",\"key\":\"k\",\"data\":{\"n\":{}}}}"),
            Some(Command::Publish { id: "7", channel: "c1", key: "k", data: "{\"n\":{}}" })
        );
        assert_eq!(
            cut("{\"signal\":{\"channel\":\"c1\",\"data\":1}}"),
            Some(Command::Signal { channel: "c1", data: "1" })
        );
        assert_eq!(cut("{\"id\":3,\"history\":{}}"), None);
    }
}
