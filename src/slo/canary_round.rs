//! The dialogue of one round of the canary, without its sockets: texts of the gateway go in, commands come out.

use super::canary::{CanaryFault, RoundKind};
use crate::id::ChannelName;
use serde_json::{Value, json};

const CONNECT: u64 = 1;
const SUBSCRIBE: u64 = 2;
const PUBLISH: u64 = 3;

/// A round.
#[derive(Debug)]
pub struct CanaryRound {
    channel: ChannelName,
    /// The message, which no other round has.
    key: String,
    kind: RoundKind,
    stage: RoundStage,
}

#[derive(Debug)]
enum RoundStage {
    AwaitsConnected,
    AwaitsSubscribed,
    /// The message is under way.
    AwaitsMessage {
        /// Epoch and offset at which it was stored.
        stored: Option<(String, u64)>,
        has_received: bool,
    },
    /// Another connection recovers the message.
    AwaitsRecovery,
    Over,
}

/// The next step of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundStep {
    /// Wait for more.
    Wait,
    /// Send this command. `connected` has come.
    Subscribe(String),
    /// Send this command; its time begins.
    Publish(String),
    /// Drop the connection without a word, open another, and send this command there.
    Reconnect(String),
    /// The message was stored and received, and recovered if that was to be done.
    Done,
    Failed(CanaryFault),
}

impl CanaryRound {
    /// A round with a message of its own, and its first command.
    pub fn begin(channel: &ChannelName, key: String, kind: RoundKind) -> (CanaryRound, String) {
        let first = json!({"id": CONNECT, "connect": {"client": "canary"}}).to_string();
        (CanaryRound { channel: channel.clone(), key, kind, stage: RoundStage::AwaitsConnected }, first)
    }

    /// Takes a text of the gateway. What is not about this round, such as a `status`, changes nothing.
    pub fn take(&mut self, text: &str) -> RoundStep {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return self.fail(CanaryFault::Broken);
        };
        if let Some(code) = message["bye"]["code"].as_u64() {
            return self.fail(CanaryFault::Closed(u16::try_from(code).unwrap_or(0)));
        }
        if !message["error"].is_null() {
            return self.fail(CanaryFault::Rejected);
        }
        let id = message["id"].as_u64();
        match (&mut self.stage, id) {
            (RoundStage::AwaitsConnected, Some(CONNECT)) => {
                self.stage = RoundStage::AwaitsSubscribed;
                let subscribe = json!({"channel": self.channel.as_str()});
                RoundStep::Subscribe(json!({"id": SUBSCRIBE, "subscribe": subscribe}).to_string())
            }
            (RoundStage::AwaitsSubscribed, Some(SUBSCRIBE)) => {
                self.stage = RoundStage::AwaitsMessage { stored: None, has_received: false };
                let publish = json!({"channel": self.channel.as_str(), "key": self.key, "data": null});
                RoundStep::Publish(json!({"id": PUBLISH, "publish": publish}).to_string())
            }
            (RoundStage::AwaitsMessage { stored, .. }, Some(PUBLISH)) => {
                let published = &message["published"];
                *stored = published["epoch"].as_str().map(str::to_owned).zip(published["offset"].as_u64());
                if stored.is_none() {
                    return self.fail(CanaryFault::Broken);
                }
                self.delivered()
            }
            (RoundStage::AwaitsMessage { has_received, .. }, None)
                if message["publication"]["key"] == *self.key =>
            {
                *has_received = true;
                self.delivered()
            }
            (RoundStage::AwaitsRecovery, Some(CONNECT))
                if message["connected"]["recovered"][0]["recovered"] != true =>
            {
                self.fail(CanaryFault::Rejected)
            }
            (RoundStage::AwaitsRecovery, None) if message["publication"]["key"] == *self.key => {
                self.stage = RoundStage::Over;
                RoundStep::Done
            }
            (
                RoundStage::AwaitsConnected
                | RoundStage::AwaitsSubscribed
                | RoundStage::AwaitsMessage { .. }
                | RoundStage::AwaitsRecovery
                | RoundStage::Over,
                _,
            ) => RoundStep::Wait,
        }
    }

    fn fail(&mut self, fault: CanaryFault) -> RoundStep {
        self.stage = RoundStage::Over;
        RoundStep::Failed(fault)
    }

    fn delivered(&mut self) -> RoundStep {
        let RoundStage::AwaitsMessage { stored: Some((epoch, offset)), has_received: true } = &self.stage
        else {
            return RoundStep::Wait;
        };
        match self.kind {
            RoundKind::Plain => {
                self.stage = RoundStage::Over;
                RoundStep::Done
            }
            RoundKind::Recovering => {
                let position = json!({"channel": self.channel.as_str(), "epoch": epoch, "offset": offset.saturating_sub(1)});
                self.stage = RoundStage::AwaitsRecovery;
                let connect = json!({"client": "canary", "recover": [position]});
                RoundStep::Reconnect(json!({"id": CONNECT, "connect": connect}).to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{CommandBounds, parse};

    fn begin(kind: RoundKind) -> (CanaryRound, String) {
        CanaryRound::begin(&ChannelName::of_canary("gw-1"), "k1".into(), kind)
    }

    fn command(step: RoundStep) -> Value {
        let (RoundStep::Subscribe(text) | RoundStep::Publish(text) | RoundStep::Reconnect(text)) = step
        else {
            panic!("{step:?}")
        };
        let bounds = CommandBounds { json_depth: 32, subscriptions: 8 };
        assert!(parse(&text, bounds).is_ok(), "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    const PUBLISHED: &str =
        r#"{"id":3,"published":{"channel":"c","epoch":"e1","offset":7,"duplicate":false}}"#;
    const PUBLICATION: &str = r#"{"publication":{"channel":"c","offset":7,"key":"k1","data":null}}"#;

    fn until_published(round: &mut CanaryRound) {
        assert_eq!(round.take(r#"{"status":{"revision":2}}"#), RoundStep::Wait);
        let subscribe = command(round.take(r#"{"id":1,"connected":{"recovered":[]}}"#));
        assert_eq!(subscribe["subscribe"]["channel"], "$seawall.canary.gw-1");
        let publish = command(round.take(r#"{"id":2,"subscribed":{"channel":"c"}}"#));
        assert_eq!(publish["publish"]["key"], "k1");
    }

    #[test]
    fn message_is_delivered_once_it_is_stored_and_received_in_either_order() {
        for order in [[PUBLISHED, PUBLICATION], [PUBLICATION, PUBLISHED]] {
            let (mut round, _) = begin(RoundKind::Plain);
            until_published(&mut round);
            let other = PUBLICATION.replace("k1", "k0");
            assert_eq!(round.take(&other), RoundStep::Wait, "the message of another round");
            assert_eq!(round.take(order[0]), RoundStep::Wait);
            assert_eq!(round.take(order[1]), RoundStep::Done);
        }
    }

    #[test]
    fn recovering_round_asks_for_what_follows_the_message_before() {
        let (mut round, _) = begin(RoundKind::Recovering);
        until_published(&mut round);
        round.take(PUBLISHED);
        let connect = command(round.take(PUBLICATION));
        assert_eq!(connect["connect"]["recover"][0]["offset"], 6);
        assert_eq!(round.take(r#"{"id":1,"connected":{"recovered":[{"recovered":true}]}}"#), RoundStep::Wait);
        assert_eq!(round.take(PUBLICATION), RoundStep::Done);
        let (mut lost, _) = begin(RoundKind::Recovering);
        until_published(&mut lost);
        lost.take(PUBLISHED);
        lost.take(PUBLICATION);
        let answer = r#"{"id":1,"connected":{"recovered":[{"recovered":false,"because":"expired"}]}}"#;
        assert_eq!(lost.take(answer), RoundStep::Failed(CanaryFault::Rejected));
    }

    #[test]
    fn refusal_ends_a_round_wherever_it_comes() {
        for (text, fault) in [
            (r#"{"bye":{"code":1011,"reason":"unavailable"}}"#, CanaryFault::Closed(1011)),
            (r#"{"id":2,"error":{"code":"unavailable"}}"#, CanaryFault::Rejected),
            ("not JSON", CanaryFault::Broken),
        ] {
            let (mut early, _) = begin(RoundKind::Plain);
            assert_eq!(early.take(text), RoundStep::Failed(fault));
            let (mut late, _) = begin(RoundKind::Plain);
            until_published(&mut late);
            assert_eq!(late.take(text), RoundStep::Failed(fault));
            assert_eq!(late.take(PUBLISHED), RoundStep::Wait, "it is over");
        }
    }
}
