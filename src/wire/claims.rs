//! The claims of a token that routes forward to their backends: some members of a JSON object, each value byte for byte.

use crate::wire::json;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// The bytes of the object with the chosen claims. It is kept for each session, and with each question until that is relayed.
pub const CLAIMS_BYTES_MAX: usize = 4 << 10;

/// The claims that were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChosenClaims {
    /// A JSON object; `None` if there are none.
    pub object: Option<Arc<str>>,
    /// The first claim that there was no room for.
    pub left_out: Option<Arc<str>>,
}

/// Chooses members of an object, in the order of `names`. None if it is no object.
pub fn choose(object: &[u8], names: &[Arc<str>]) -> ChosenClaims {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(object).unwrap_or_default();
    choose_from(|name| members.get(name).map(|value| value.get()), names)
}

/// Chooses the members that `find` returns as JSON. One that would make the object longer than [`CLAIMS_BYTES_MAX`] is left out.
pub fn choose_from<'a>(find: impl Fn(&str) -> Option<&'a str>, names: &[Arc<str>]) -> ChosenClaims {
    let (mut out, mut left_out) = (vec![b'{'], None);
    for (place, name) in names.iter().enumerate() {
        let is_repeat = names.iter().take(place).any(|earlier| earlier == name);
        let Some(value) = find(name).filter(|_| !is_repeat) else { continue };
        let end = out.len();
        if end > 1 {
            out.push(b',');
        }
        json::string(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
        if out.len() + 1 > CLAIMS_BYTES_MAX {
            out.truncate(end);
            left_out.get_or_insert_with(|| Arc::clone(name));
        }
    }
    if out.len() == 1 {
        return ChosenClaims { object: None, left_out };
    }
    out.push(b'}');
    ChosenClaims { object: String::from_utf8(out).ok().map(Arc::from), left_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(object: &str, names: &[&str]) -> ChosenClaims {
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        choose(object.as_bytes(), &names)
    }

    fn chosen(object: &str, names: &[&str]) -> Option<String> {
        choice(object, names).object.map(|claims| claims.to_string())
    }

    #[test]
    fn chosen_claims_keep_their_bytes_and_take_the_order_of_the_names() {
        let token =
            r#"{"sub":"ann","plan":{"b": 1.50, "a":"\u00e9"},"tenant":"t9","roles":[ "x" ],"none":null}"#;
        let expected = r#"{"tenant":"t9","plan":{"b": 1.50, "a":"\u00e9"},"none":null}"#;
        assert_eq!(chosen(token, &["tenant", "plan", "absent", "none", "tenant"]).as_deref(), Some(expected));
        assert_eq!(chosen(r#"{"a\"b":1}"#, &["a\"b"]).as_deref(), Some(r#"{"a\"b":1}"#));
        for (object, names) in
            [(token, &["absent"][..]), (token, &[]), ("{}", &["a"]), ("[1]", &["a"]), ("", &["a"])]
        {
            assert_eq!(chosen(object, names), None, "{object}");
        }
    }

    #[test]
    fn claim_that_is_too_long_is_left_out() {
        let long = format!("\"{}\"", "x".repeat(CLAIMS_BYTES_MAX));
        let fits = format!("\"{}\"", "x".repeat(CLAIMS_BYTES_MAX - r#"{"c":""}"#.len()));
        let object = format!(r#"{{"a":1,"b":{long},"c":{fits},"d":2}}"#);
        assert_eq!(chosen(&object, &["a", "b", "d"]).as_deref(), Some(r#"{"a":1,"d":2}"#));
        assert_eq!(chosen(&object, &["c", "a"]).map(|claims| claims.len()), Some(CLAIMS_BYTES_MAX));
        assert_eq!(chosen(&object, &["a", "c"]).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(choice(&object, &["a", "c", "d", "b"]).left_out.as_deref(), Some("c"));
        assert_eq!(choice(&object, &["c", "absent"]).left_out, None);
    }
}
