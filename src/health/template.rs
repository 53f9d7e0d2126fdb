//! A refusal whose bytes are encoded at the beginning of an outage.
//!
//! In an outage all clients return at once, and each must be sent the reason. So `bye` and the close frame are
//! encoded once; for each client only the digits of `retry_ms` are replaced, at a fixed position. There are two
//! versions, because a wait has four or five digits and JSON allows no leading zeros.

use super::outage::{Outage, RETRY_MS_MAX, RETRY_MS_MIN, Reference, retry_ms};
use crate::clock::Moment;
use crate::close::CloseReason;
use crate::wire::{push, server_frame};
use std::sync::Arc;

/// The texts before the digits, in `bye` and in the close frame.
const IN_BYE: &[u8] = b"\"retry_ms\":";
const IN_CLOSE: &[u8] = b"retry_ms=";
/// The shortest wait with five digits.
const WIDE: u32 = 10_000;

/// The encoded refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    dependency: Arc<str>,
    /// The loss as a sentence for users.
    sentence: Arc<str>,
    reference: Reference,
    began: Moment,
    four: EncodedRefusal,
    five: EncodedRefusal,
}

/// Two encoded frames, and the positions of their digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EncodedRefusal {
    bytes: Box<[u8]>,
    digits: [usize; 2],
}

impl Template {
    /// Prepares the refusal for an outage of this dependency, with the sentence for users.
    pub fn new(dependency: &Arc<str>, sentence: &Arc<str>, outage: &Outage) -> Template {
        let reason = |retry_ms| CloseReason::Unavailable {
            dependency: dependency.to_string(),
            retry_ms,
            reference: outage.reference.to_string(),
            message: Arc::clone(sentence),
        };
        Template {
            dependency: Arc::clone(dependency),
            sentence: Arc::clone(sentence),
            reference: outage.reference,
            began: outage.began.at,
            four: EncodedRefusal::new(&reason(RETRY_MS_MIN)),
            five: EncodedRefusal::new(&reason(WIDE)),
        }
    }

    /// The dependency that is down.
    pub fn dependency(&self) -> &Arc<str> {
        &self.dependency
    }

    /// The beginning of the outage.
    pub fn began(&self) -> Moment {
        self.began
    }

    /// The reference of the outage, as in the log.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// The retry time of one client. It grows with the age of the outage and is spread. `random` is in `0.0 .. 1.0`.
    pub fn retry_ms(&self, now: Moment, random: f32) -> u32 {
        retry_ms(now.since(self.began), random)
    }

    /// Appends `bye` and the close frame with this wait, [`RETRY_MS_MIN`] to [`RETRY_MS_MAX`].
    pub fn write(&self, out: &mut Vec<u8>, retry_ms: u32) {
        let retry_ms = retry_ms.clamp(RETRY_MS_MIN, RETRY_MS_MAX);
        let encoded = if retry_ms < WIDE { &self.four } else { &self.five };
        let start = out.len();
        out.extend_from_slice(&encoded.bytes);
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(retry_ms).as_bytes();
        for at in encoded.digits {
            if let Some(place) = out.get_mut(start + at..start + at + digits.len()) {
                place.copy_from_slice(digits);
            }
        }
    }

    /// The refusal as a close reason.
    pub fn reason(&self, retry_ms: u32) -> CloseReason {
        CloseReason::Unavailable {
            dependency: self.dependency.to_string(),
            retry_ms,
            reference: self.reference.to_string(),
            message: Arc::clone(&self.sentence),
        }
    }
}

impl EncodedRefusal {
    fn new(reason: &CloseReason) -> EncodedRefusal {
        let mut bytes = Vec::new();
        push::bye(&mut bytes, reason);
        let in_bye = after(&bytes, IN_BYE);
        let bye_bytes = bytes.len();
        server_frame::write_close(&mut bytes, reason.code(), &reason.text());
        let in_close = bye_bytes + after(bytes.get(bye_bytes..).unwrap_or_default(), IN_CLOSE);
        EncodedRefusal { bytes: bytes.into_boxed_slice(), digits: [in_bye, in_close] }
    }
}

/// The position after the first `needle`. The name of a dependency contains neither quotes nor `=`, and the quotes of a sentence
/// are escaped, so the first match is the right one.
fn after(bytes: &[u8], needle: &[u8]) -> usize {
    let found = bytes.windows(needle.len()).position(|window| window == needle);
    found.map_or(bytes.len(), |at| at + needle.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::health::draw::Draw;
    use crate::health::finding::{Cause, Fault};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prepared_bytes_equal_those_of_the_encoders(retry_ms in RETRY_MS_MIN..=RETRY_MS_MAX, name in "[a-z][a-z0-9._-]{0,31}", sentence in "(\"retry_ms\":|.){0,40}") {
            let cause = Cause::new(Fault::Refused, "", "");
            let outage = Outage::begin(cause, Now::default(), &mut Draw::new(7));
            let template = Template::new(&Arc::from(name), &Arc::from(sentence), &outage);
            let mut out = b"before".to_vec();
            template.write(&mut out, retry_ms);
            let mut expected = b"before".to_vec();
            let reason = template.reason(retry_ms);
            push::bye(&mut expected, &reason);
            server_frame::write_close(&mut expected, reason.code(), &reason.text());
            prop_assert_eq!(out, expected);
        }
    }
}
