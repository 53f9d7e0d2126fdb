//! Signatures of webhooks (Standard Webhooks 1.0, standardwebhooks.com).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

#[cfg(test)]
mod tests {
    use super::*;

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
