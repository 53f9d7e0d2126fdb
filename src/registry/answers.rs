//! Answers of Redis as values.

use crate::health::finding::Fault;
use crate::id::Incarnation;
use crate::job::segments::HashField;
use crate::net::redis::key_answer::KeyAnswer;
use crate::net::redis::trouble_of;
use crate::net::trouble::Trouble;
use ::redis::Value;

/// The error of a command on a key that holds something else than a hash.
pub(super) const WRONG_TYPE: &str = "WRONGTYPE";

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// The value of one field; `None` if there is none.
pub(super) fn field(answer: Option<KeyAnswer>) -> Result<Option<Vec<u8>>, Trouble> {
    match answer {
        Some(Ok(value)) => Ok(bytes(value)),
        Some(Err(error)) => Err(trouble_of(&error)),
        None => Err(Trouble::new(Fault::Protocol, "answers are missing")),
    }
}

/// The fields of a hash.
pub(super) fn fields(answer: Option<KeyAnswer>) -> Result<Vec<HashField>, Trouble> {
    let missing = || Trouble::new(Fault::Protocol, "HGETALL is answered with something else than a hash");
    match answer {
        Some(Ok(Value::Array(parts))) => {
            let mut parts = parts.into_iter().map(bytes);
            let mut fields = Vec::new();
            while let Some(name) = parts.next() {
                let (Some(name), Some(Some(value))) = (name, parts.next()) else { return Err(missing()) };
                fields.push((name, value));
            }
            Ok(fields)
        }
        Some(Err(error)) => Err(trouble_of(&error)),
        Some(Ok(_)) | None => Err(missing()),
    }
}

/// The incarnation that is the name of a field, or its beginning up to the first `/`.
pub(super) fn owner(name: &[u8]) -> Option<Incarnation> {
    let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
    Incarnation::parse(std::str::from_utf8(name.get(..end)?).ok()?)
}

/// The first error among answers.
pub(super) fn refusal(answers: &[KeyAnswer]) -> Option<Trouble> {
    answers.iter().find_map(|answer| answer.as_ref().err()).map(trouble_of)
}
