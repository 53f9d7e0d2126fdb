//! Webhooks (Standard Webhooks 1.0, standardwebhooks.com): their signatures, and the requests of the relay.

use super::json;
use super::publication::Change;
use super::stream::{Generation, StreamId};
use crate::id::{ChannelName, Epoch, Offset};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The beginning of a secret's text.
const PREFIX: &str = "whsec_";
/// The bytes of a key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A key that signs webhooks. It is never shown.
#[derive(Clone)]
pub struct WebhookKey(Zeroizing<Vec<u8>>);

impl WebhookKey {
    /// Reads a secret: `whsec_` and 24 to 64 bytes in base64. `None` for anything else.
    pub fn parse(secret: &str) -> Option<WebhookKey> {
        let bytes = Zeroizing::new(STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?);
        KEY_BYTES.contains(&bytes.len()).then_some(WebhookKey(bytes))
    }

    /// The signature of a body that is sent at `unix_s` under a name: `v1,` and base64.
    pub fn sign(&self, id: &str, unix_s: u64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{unix_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }
}

impl PartialEq for WebhookKey {
    fn eq(&self, other: &WebhookKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for WebhookKey {}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The value of `webhook-signature`: the signatures by all keys, separated by spaces.
pub fn signatures(keys: &[WebhookKey], id: &str, unix_s: u64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(id, unix_s, body)).collect();
    signatures.join(" ")
}

/// The `webhook-id` of a publication, the same for each attempt: `msg_` and 22 characters.
pub fn message_id(epoch: Epoch, channel: &ChannelName, offset: Offset) -> String {
    // The alphabets of epochs and channels have no blank.
    let digest = Sha256::digest(format!("{epoch} {channel} {offset}"));
    let text = URL_SAFE_NO_PAD.encode(digest);
    format!("msg_{}", text.get(..22).unwrap_or_default())
}

/// The `webhook-id` of the request that says that an answer was cancelled.
pub fn cancel_id(epoch: Epoch, answer: &StreamId, generation: Generation) -> String {
    let digest =
        Sha256::digest(format!("cancelled {epoch} {} {} {generation}", answer.channel, answer.offset));
    let text = URL_SAFE_NO_PAD.encode(digest);
    format!("msg_{}", text.get(..22).unwrap_or_default())
}

/// The body of a request: a publication for a backend.
#[derive(Clone, Debug)]
pub struct RelayedPublication<'a> {
    /// The time of this attempt in UTC, as in `2026-11-28T21:04:13.115Z`.
    pub timestamp: &'a str,
    pub route: &'a str,
    /// 1 for the first.
    pub attempt: u32,
    pub epoch: Epoch,
    /// A JSON object: the claims of the author's token that the route forwards.
    pub claims: Option<&'a str>,
    pub channel: &'a ChannelName,
    pub offset: Offset,
    pub key: Option<&'a str>,
    pub user: &'a str,
    /// Of the commit, in Unix milliseconds.
    pub time_ms: u64,
    pub change: Change,
    /// JSON, byte for byte as received.
    pub data: &'a str,
    /// The begin of the answer, and the generation to write to.
    pub answer: Option<(Offset, Generation)>,
}

impl RelayedPublication<'_> {
    /// The body of a request that an operator wants to be sent again.
    pub fn replay(&self) -> Vec<u8> {
        self.object(|out| {
            self.members(out);
            json::truth(out, "replay", true);
        })
    }

    pub fn body(&self) -> Vec<u8> {
        self.object(|out| self.members(out))
    }

    fn object(&self, data: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.data.len());
        json::object(&mut out, |out| {
            json::text(out, "type", "publication");
            json::text(out, "timestamp", self.timestamp);
            json::key(out, "data");
            json::object(out, data);
        });
        out
    }

    fn members(&self, out: &mut Vec<u8>) {
        json::text(out, "route", self.route);
        json::integer(out, "attempt", self.attempt.into());
        json::text(out, "epoch", &self.epoch.to_string());
        if let Some(claims) = self.claims {
            json::raw(out, "claims", claims);
        }
        json::key(out, "publication");
        json::object(out, |out| {
            json::text(out, "channel", self.channel.as_str());
            json::integer(out, "offset", self.offset.0);
            if let Some(key) = self.key {
                json::text(out, "key", key);
            }
            json::text(out, "user", self.user);
            json::integer(out, "time", self.time_ms);
            match self.change {
                Change::None => {}
                Change::Edits(target) => json::integer(out, "edits", target.0),
                Change::Deletes(target) => json::integer(out, "deletes", target.0),
            }
            json::raw(out, "data", self.data);
        });
        if let Some((offset, generation)) = self.answer {
            json::key(out, "answer");
            json::object(out, |out| place(out, self.channel, offset, generation));
        }
    }
}

/// The body of the request that says that a user has cancelled an answer.
pub fn cancelled(
    timestamp: &str,
    route: &str,
    answer: &StreamId,
    generation: Generation,
    question: Offset,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::object(&mut out, |out| {
        json::text(out, "type", "answer.cancelled");
        json::text(out, "timestamp", timestamp);
        json::key(out, "data");
        json::object(out, |out| {
            json::text(out, "route", route);
            json::integer(out, "question", question.0);
            json::key(out, "answer");
            json::object(out, |out| place(out, &answer.channel, answer.offset, generation));
        });
    });
    out
}

/// The body of a request that only shows if a backend is reached and accepts the signature.
pub fn test(timestamp: &str, route: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    json::object(&mut out, |out| {
        json::text(out, "type", "test");
        json::text(out, "timestamp", timestamp);
        json::key(out, "data");
        json::object(out, |out| json::text(out, "route", route));
    });
    out
}

fn place(out: &mut Vec<u8>, channel: &ChannelName, offset: Offset, generation: Generation) {
    json::text(out, "channel", channel.as_str());
    json::integer(out, "offset", offset.0);
    json::integer(out, "gen", generation.0.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> ChannelName {
        ChannelName::parse("thread.7").expect("a channel")
    }

    #[test]
    fn id_of_a_publication_never_changes() {
        let id = |epoch, offset| message_id(Epoch(epoch), &channel(), Offset(offset));
        // printf %s 'a thread.7 58' | sha256sum, in base64 for addresses.
        assert_eq!(id(10, 58), "msg_6OxDKoKozbKxZm-qUTnrD6");
        assert!(id(10, 58) != id(10, 59) && id(10, 58) != id(11, 58));
        let answer = StreamId { channel: channel(), offset: Offset(58) };
        let cancel = |epoch, generation| cancel_id(Epoch(epoch), &answer, Generation(generation));
        assert!(
            cancel(10, 1) != cancel(10, 2) && cancel(10, 1) != cancel(11, 1) && cancel(10, 1) != id(10, 58)
        );
    }

    #[test]
    fn body_has_the_publication_and_the_place_of_its_answer() {
        let mut publication = RelayedPublication {
            timestamp: "2026-11-28T21:04:13.115Z",
            route: "assistant",
            attempt: 1,
            epoch: Epoch(10),
            claims: Some(r#"{"tenant":"t9"}"#),
            channel: &channel(),
            offset: Offset(58),
            key: Some("01J9"),
            user: "u\"1",
            time_ms: 1_795_344_253_000,
            change: Change::None,
            data: r#"{"text": "Hi"}"#,
            answer: Some((Offset(59), Generation(1))),
        };
        let body = String::from_utf8(publication.body()).expect("UTF-8");
        let expected = concat!(
            r#"{"type":"publication","timestamp":"2026-11-28T21:04:13.115Z","data":{"route":"assistant","attempt":1,"epoch":"a","#,
            r#""claims":{"tenant":"t9"},"publication":{"channel":"thread.7","offset":58,"key":"01J9","user":"u\"1","time":1795344253000,"#,
            r#""data":{"text": "Hi"}},"answer":{"channel":"thread.7","offset":59,"gen":1}}}"#
        );
        assert_eq!(body, expected);
        publication.change = Change::Edits(Offset(7));
        (publication.claims, publication.key, publication.answer) = (None, None, None);
        let body = String::from_utf8(publication.body()).expect("UTF-8");
        assert!(body.contains(r#""edits":7,"data""#) && !body.contains("answer") && !body.contains("claims"));
    }

    #[test]
    fn cancel_names_the_answer_and_its_question() {
        let answer = StreamId { channel: channel(), offset: Offset(59) };
        let body = cancelled("2026-11-28T21:04:13.115Z", "assistant", &answer, Generation(2), Offset(58));
        let expected = concat!(
            r#"{"type":"answer.cancelled","timestamp":"2026-11-28T21:04:13.115Z","data":{"route":"assistant","question":58,"#,
            r#""answer":{"channel":"thread.7","offset":59,"gen":2}}}"#
        );
        assert_eq!(String::from_utf8(body).expect("UTF-8"), expected);
        let body: serde_json::Value = serde_json::from_slice(&test("t", "a\"b")).expect("JSON");
        assert_eq!((&body["type"], &body["data"]["route"]), (&"test".into(), &"a\"b".into()));
    }

    #[test]
    fn signature_is_the_one_of_the_specification() {
        // The example of the reference libraries.
        let key = WebhookKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signed = signatures(
            &[key.clone(), key.clone()],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{signature} {signature}"));
        assert_eq!(format!("{key:?}"), "(hidden)");
        for wrong in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%"] {
            assert!(WebhookKey::parse(wrong).is_none(), "{wrong}");
        }
    }
}
