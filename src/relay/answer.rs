//! The meaning of a backend's response, by its head alone.

/// The meaning of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The backend has the publication: it is never sent again, whatever becomes of the body.
    Taken(BodyForm),
    /// The backend could not take it now. It is sent again.
    Later(LaterReason),
    /// There is no backend any more at this address: the route pauses.
    Gone,
    /// The backend will never take it.
    Refused,
}

/// Why a publication is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterReason {
    /// The backend asks for a lower rate, or for another time.
    Asked,
    /// The backend failed.
    Failed,
}

/// The content of the body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// Nothing that is read. The answer, if there will be one, comes another way.
    Nothing,
    /// `text/plain`: the text of the answer.
    Text,
    /// `application/x-ndjson`: one command a line.
    Lines,
    /// `application/json`: one command.
    One,
}

/// Reads the head of a response: its status, and the header `Content-Type`.
pub fn meaning(status: u16, content_type: Option<&str>) -> Meaning {
    match status {
        204 | 205 => Meaning::Taken(BodyForm::Nothing),
        200..=299 => Meaning::Taken(form(content_type)),
        408 | 425 | 429 => Meaning::Later(LaterReason::Asked),
        500..=599 => Meaning::Later(LaterReason::Failed),
        410 => Meaning::Gone,
        // A redirect is not followed: the signed request would go where the response says.
        _ => Meaning::Refused,
    }
}

fn form(content_type: Option<&str>) -> BodyForm {
    let Some(value) = content_type else { return BodyForm::Nothing };
    let kind = value.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if is("text/plain") {
        BodyForm::Text
    } else if is("application/x-ndjson") || is("application/ndjson") {
        BodyForm::Lines
    } else if is("application/json") {
        BodyForm::One
    } else {
        BodyForm::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_says_if_a_publication_is_sent_again() {
        for status in [200, 201, 202, 299] {
            assert_eq!(meaning(status, Some("text/plain; charset=utf-8")), Meaning::Taken(BodyForm::Text));
        }
        for (status, expected) in [
            (204, Meaning::Taken(BodyForm::Nothing)),
            (408, Meaning::Later(LaterReason::Asked)),
            (425, Meaning::Later(LaterReason::Asked)),
            (429, Meaning::Later(LaterReason::Asked)),
            (500, Meaning::Later(LaterReason::Failed)),
            (503, Meaning::Later(LaterReason::Failed)),
            (599, Meaning::Later(LaterReason::Failed)),
            (410, Meaning::Gone),
            (301, Meaning::Refused),
            (307, Meaning::Refused),
            (400, Meaning::Refused),
            (401, Meaning::Refused),
            (404, Meaning::Refused),
            (413, Meaning::Refused),
            (101, Meaning::Refused),
            (600, Meaning::Refused),
        ] {
            assert_eq!(meaning(status, Some("text/plain")), expected, "{status}");
        }
    }

    #[test]
    fn only_known_types_of_content_are_read() {
        for (value, expected) in [
            (None, BodyForm::Nothing),
            (Some("text/html; charset=utf-8"), BodyForm::Nothing),
            (Some("TEXT/PLAIN"), BodyForm::Text),
            (Some("application/x-ndjson"), BodyForm::Lines),
            (Some("application/json;charset=utf-8"), BodyForm::One),
            (Some("application/jsonl"), BodyForm::Nothing),
            (Some(""), BodyForm::Nothing),
        ] {
            assert_eq!(meaning(200, value), Meaning::Taken(expected), "{value:?}");
        }
    }
}
