//! An HTTP service: one GET, its status, and a field of its JSON body if one is expected.
//!
//! The request goes to the address as written: no redirect is followed.

use crate::health::finding::Fault;
use crate::net::address::{Expect, HttpTarget};
use crate::net::http_client::{BODY_BYTES_MAX, HttpAnswer, HttpClient, QUOTE_CHARS, basic};
use crate::net::peer::PeerAddress;
use crate::net::trouble::Trouble;
use std::time::Instant;
use zeroize::Zeroizing;

pub(super) fn look(
    browser: &HttpClient,
    target: &HttpTarget,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    let authorization = (!target.user.is_empty() || !target.password.is_empty())
        .then(|| ("authorization", basic(&target.user, &target.password)));
    let headers: Vec<(&str, Zeroizing<String>)> = authorization.into_iter().collect();
    let answer = browser.fetch(target.url.as_str(), &headers, &target.peer, deadline)?;
    judge(&answer, &target.expect, &target.peer)?;
    Ok(None)
}

fn judge(answer: &HttpAnswer, expect: &Expect, peer: &PeerAddress) -> Result<(), Trouble> {
    let status = answer.status;
    let (is_right, wanted) = match expect.status {
        Some(wanted) => (status == wanted, wanted.to_string()),
        None => ((200..300).contains(&status), "2xx".into()),
    };
    if !is_right {
        let quote = answer.quote();
        let text = format!("{peer} answers with status {status}, expected is {wanted}: {quote}");
        return Err(Trouble::new(Fault::Status, text));
    }
    let Some((path, wanted)) = &expect.field else { return Ok(()) };
    let fault = |text: String| Err(Trouble::new(Fault::Field, text));
    if answer.is_cut {
        return fault(format!(
            "the body of {peer} is longer than {BODY_BYTES_MAX} bytes: its field {path} was not looked at"
        ));
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return fault(format!(
            "the body of {peer} is not JSON, so it has no field {path}: {}",
            answer.quote()
        ));
    };
    let pointer: String = path.split('.').flat_map(|part| ["/", part]).collect();
    let found = match body.pointer(&pointer) {
        None => return fault(format!("the body of {peer} has no field {path}")),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if found == *wanted {
        return Ok(());
    }
    let found: String = found.chars().take(QUOTE_CHARS).collect();
    fault(format!("the field {path} of {peer} is {found:?}, expected is {wanted:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str, expect: &Expect) -> Result<(), (Fault, String)> {
        let answer = HttpAnswer { status, body: body.into(), is_cut: false, retry_after: None };
        let peer = PeerAddress::Tcp { host: "api".into(), port: 80 };
        judge(&answer, expect, &peer).map_err(|trouble| (trouble.fault, trouble.text))
    }

    #[test]
    fn any_2xx_will_do_unless_a_status_is_asked_for() {
        let any = Expect::default();
        assert!(judged(204, "", &any).is_ok());
        let (fault, text) = judged(503, "sold out", &any).expect_err("503");
        assert_eq!(fault, Fault::Status);
        assert!(text.contains("503") && text.contains("2xx") && text.contains("sold out"), "{text}");
        let teapot = Expect { status: Some(418), field: None };
        assert!(judged(418, "", &teapot).is_ok());
        assert!(judged(200, "", &teapot).is_err());
    }

    #[test]
    fn field_is_found_by_its_path_and_compared_as_text() {
        let expect =
            |path: &str, wanted: &str| Expect { status: None, field: Some((path.into(), wanted.into())) };
        let body = r#"{"checks":[{"state":"up","lag":3}],"ok":true}"#;
        assert!(judged(200, body, &expect("checks.0.state", "up")).is_ok());
        assert!(judged(200, body, &expect("checks.0.lag", "3")).is_ok());
        assert!(judged(200, body, &expect("ok", "true")).is_ok());
        for (path, wanted, word) in [("ok", "false", "true"), ("not.there", "1", "no field")] {
            let (fault, text) = judged(200, body, &expect(path, wanted)).expect_err(path);
            assert!(fault == Fault::Field && text.contains(word), "{text}");
        }
        assert!(judged(200, "<html>", &expect("ok", "true")).expect_err("not JSON").1.contains("not JSON"));
    }
}
