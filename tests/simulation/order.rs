//! The commands of clients, each with its meaning, so that it need not be parsed again.

use super::frame::Channel;
use seawall::id::{Epoch, Offset};
use seawall::wire::publication::Change;

/// One text message of a client.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id, if a server can read one: then it is to be answered.
    pub id: Option<u64>,
    pub ask: Ask,
    pub text: String,
}

#[allow(dead_code, reason = "some fields are only read by people, in the trace of a failure")]
#[derive(Clone, Debug)]
pub enum Ask {
    Connect { recover: Vec<(Channel, Epoch, u64)> },
    Subscribe { channel: Channel, from: Begin },
    Unsubscribe { channel: Channel },
    Publish(Content),
    History { channel: Channel, after: Option<u64> },
    Refresh,
    Signal,
    Nonsense,
}

/// Where a subscription is to begin.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    Now,
    Last(u64),
    After(Epoch, u64),
}

/// The content of a publish command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub channel: Channel,
    pub key: Option<String>,
    pub change: Change,
    pub data: String,
}

impl Order {
    fn new(id: u64, ask: Ask, command: &str) -> Order {
        Order { id: Some(id), ask, text: format!("{{\"id\":{id},{command}}}") }
    }

    pub fn connect(id: u64, token: &str, recover: Vec<(Channel, Epoch, u64)>) -> Order {
        let entries: Vec<String> = recover
            .iter()
            .map(|(channel, epoch, offset)| {
                format!(r#"{{"channel":"c{channel}","epoch":"{epoch}","offset":{offset}}}"#)
            })
            .collect();
        let command = format!(r#""connect":{{"token":"{token}","recover":[{}]}}"#, entries.join(","));
        Order::new(id, Ask::Connect { recover }, &command)
    }

    pub fn subscribe(id: u64, channel: Channel, from: Begin) -> Order {
        let from_text = match from {
            Begin::Now => String::new(),
            Begin::Last(count) => format!(r#","last":{count}"#),
            Begin::After(epoch, offset) => {
                format!(r#","recover":{{"epoch":"{epoch}","offset":{offset}}}"#)
            }
        };
        let command = format!(r#""subscribe":{{"channel":"c{channel}"{from_text}}}"#);
        Order::new(id, Ask::Subscribe { channel, from }, &command)
    }

    pub fn unsubscribe(id: u64, channel: Channel) -> Order {
        let command = format!(r#""unsubscribe":{{"channel":"c{channel}"}}"#);
        Order::new(id, Ask::Unsubscribe { channel }, &command)
    }

    pub fn publish(id: u64, content: &Content) -> Order {
        let Content { channel, key, change, data } = content;
        let key = key.as_ref().map_or_else(String::new, |key| format!(r#""key":"{key}","#));
        let target = match change {
            Change::None => String::new(),
            Change::Edits(Offset(target)) => format!(r#""edits":{target},"#),
            Change::Deletes(Offset(target)) => format!(r#""deletes":{target},"#),
        };
        let command = format!(r#""publish":{{"channel":"c{channel}",{key}{target}"data":{data}}}"#);
        Order::new(id, Ask::Publish(content.clone()), &command)
    }

    pub fn history(id: u64, channel: Channel, after: Option<u64>, limit: u64) -> Order {
        let range = after.map_or_else(String::new, |after| format!(r#","after":{after}"#));
        let command = format!(r#""history":{{"channel":"c{channel}","limit":{limit}{range}}}"#);
        Order::new(id, Ask::History { channel, after }, &command)
    }

    pub fn refresh(id: u64, token: &str) -> Order {
        Order::new(id, Ask::Refresh, &format!(r#""refresh":{{"token":"{token}"}}"#))
    }

    pub fn signal(channel: Channel) -> Order {
        let text = format!(r#"{{"signal":{{"channel":"c{channel}","data":1}}}}"#);
        Order { id: None, ask: Ask::Signal, text }
    }

    /// Text that is no command; `id` if one can be read all the same.
    pub fn nonsense(id: Option<u64>) -> Order {
        let text = match id {
            Some(id) => format!(r#"{{"id":{id},"dance":{{}}}}"#),
            None => "{\"id\":".into(),
        };
        Order { id, ask: Ask::Nonsense, text }
    }
}
