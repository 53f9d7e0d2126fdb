//! The arguments of `report`: errors of the client's application.
//!
//! A report about errors should not become an error itself. So texts that are too long are cut, unknown members are skipped, and a
//! member of the wrong type counts as absent; only a report whose form is wrong is rejected.

use super::arguments::{Arguments, Complaint, Path, clamped, elements, integer, wrong_type};
use crate::wire::scan::{JsonKind, Raw, Scanner};
use std::borrow::Cow;

/// Errors in one report.
pub const REPORT_ERRORS_MAX: usize = 16;
/// Bytes of `report.errors`, as JSON.
pub const REPORT_BYTES_MAX: usize = 32 << 10;
/// Entries of one error's context that are read.
const CONTEXT_MAX: usize = 8;
/// A greater count counts as this one.
const COUNT_MAX: u32 = 1_000_000;

/// Errors of a client.
#[derive(Debug, PartialEq)]
pub struct ClientReport<'a> {
    /// At least one, at most [`REPORT_ERRORS_MAX`].
    pub errors: Vec<ReportedError<'a>>,
    /// Groups of errors that the client left out because its queue was full.
    pub dropped: u32,
}

/// The errors with one fingerprint, as their client counted them. A text that is absent is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportedError<'a> {
    pub name: Cow<'a, str>,
    pub message: Cow<'a, str>,
    pub stack: Cow<'a, str>,
    /// The components around it.
    pub component: Cow<'a, str>,
    pub level: ErrorLevel,
    /// At least 1.
    pub count: u32,
    /// The application's and the library's knowledge about the situation.
    pub context: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// How much of the application an error took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorLevel {
    Message,
    Thread,
    Chat,
    App,
    /// Nothing, or a word of a newer client.
    #[default]
    Other,
}

impl ErrorLevel {
    /// All levels, in declaration order.
    pub const ALL: [ErrorLevel; 5] =
        [ErrorLevel::Message, ErrorLevel::Thread, ErrorLevel::Chat, ErrorLevel::App, ErrorLevel::Other];

    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorLevel::Message => "message",
            ErrorLevel::Thread => "thread",
            ErrorLevel::Chat => "chat",
            ErrorLevel::App => "app",
            ErrorLevel::Other => "other",
        }
    }

    fn named(name: &str) -> ErrorLevel {
        ErrorLevel::ALL.into_iter().find(|level| level.as_str() == name).unwrap_or_default()
    }
}

impl ReportedError<'_> {
    /// The same with texts of its own.
    pub fn into_owned(self) -> ReportedError<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ReportedError {
            name: owned(self.name),
            message: owned(self.message),
            stack: owned(self.stack),
            component: owned(self.component),
            level: self.level,
            count: self.count,
            context: self.context.into_iter().map(|(key, value)| (owned(key), owned(value))).collect(),
        }
    }
}

pub(super) fn report<'a>(arguments: &Arguments<'a>) -> Result<ClientReport<'a>, Complaint> {
    let errors = arguments.required("errors", errors)?;
    let dropped = arguments.optional("dropped", integer(0))?.unwrap_or(0);
    Ok(ClientReport { errors, dropped: clamped(dropped, COUNT_MAX) })
}

fn errors<'a>(path: Path, raw: Raw<'a>) -> Result<Vec<ReportedError<'a>>, Complaint> {
    if raw.kind != JsonKind::Array {
        return Err(wrong_type(path, "an array of errors", raw.kind));
    }
    if raw.text.len() > REPORT_BYTES_MAX {
        let bytes = raw.text.len();
        let message =
            format!("{path} has {bytes} bytes; at most {REPORT_BYTES_MAX} are allowed, so send fewer errors");
        return Err(Complaint::too_large(message));
    }
    let all = elements(raw)?;
    if !(1..=REPORT_ERRORS_MAX).contains(&all.len()) {
        let count = all.len();
        return Err(Complaint::malformed(format!(
            "{path} must have 1 to {REPORT_ERRORS_MAX} errors, got {count}"
        )));
    }
    all.into_iter().map(|raw| error(path, raw)).collect()
}

fn error<'a>(path: Path, raw: Raw<'a>) -> Result<ReportedError<'a>, Complaint> {
    if raw.kind != JsonKind::Object {
        return Err(wrong_type(format_args!("{path}[]"), "an object", raw.kind));
    }
    let mut error = ReportedError { count: 1, ..ReportedError::default() };
    Scanner::new(raw.text)
        .object(|scanner, name| {
            let value = scanner.value()?;
            error.set(&name, value);
            Ok(())
        })
        .map_err(|broken| Complaint::malformed(broken.to_string()))?;
    Ok(error)
}

impl<'a> ReportedError<'a> {
    fn set(&mut self, name: &str, value: Raw<'a>) {
        let text = || value.string().unwrap_or_default();
        match name {
            "name" => self.name = text(),
            "message" => self.message = text(),
            "stack" => self.stack = text(),
            "component" => self.component = text(),
            "level" => self.level = ErrorLevel::named(&text()),
            "count" => self.count = clamped(value.integer().unwrap_or(1), COUNT_MAX).max(1),
            "context" if value.kind == JsonKind::Object => self.context = entries(value),
            _ => {}
        }
    }
}

fn entries<'a>(raw: Raw<'a>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let mut entries = Vec::new();
    let scanned = Scanner::new(raw.text).object(|scanner, name| {
        if let Some(value) = scanner.value()?.string()
            && entries.len() < CONTEXT_MAX
        {
            entries.push((name, value));
        }
        Ok(())
    });
    scanned.map_or_else(|_| Vec::new(), |()| entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{Command, CommandBounds, CommandFault, Rejected, parse};

    const BOUNDS: CommandBounds = CommandBounds { json_depth: 32, subscriptions: 8 };

    fn read(report: &str) -> Result<ClientReport<'static>, Rejected> {
        let text = format!(r#"{{"id":1,"report":{report}}}"#);
        match parse(&text, BOUNDS)?.command {
            Command::Report(report) => {
                let ClientReport { errors, dropped } = *report;
                let errors = errors.into_iter().map(ReportedError::into_owned).collect();
                Ok(ClientReport { errors, dropped })
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn report_has_all_that_a_client_sends() {
        let report = read(
            r#"{"dropped":2,"errors":[{"name":"TypeError","message":"a \"b\"","stack":"at x:1:2","component":"Row","level":"thread","count":3,
                "more":[1],"context":{"channel":"room.*","n":1,"release":"web 1"}},{"level":"new","count":0},{"name":7,"context":[]}]}"#,
        )
        .expect("valid");
        let [first, second, third] = &report.errors[..] else { panic!("{report:?}") };
        assert_eq!(
            (&*first.name, &*first.message, first.level, first.count),
            ("TypeError", "a \"b\"", ErrorLevel::Thread, 3)
        );
        assert_eq!(first.context, [("channel".into(), "room.*".into()), ("release".into(), "web 1".into())]);
        assert_eq!((second.level, second.count, &*third.name), (ErrorLevel::Other, 1, ""));
        assert_eq!(report.dropped, 2);
    }

    #[test]
    fn report_of_the_wrong_form_is_rejected_with_its_bound() {
        let many = format!(r#"{{"errors":[{}]}}"#, vec!["{}"; REPORT_ERRORS_MAX + 1].join(","));
        let long = format!(r#"{{"errors":[{{"stack":"{}"}}]}}"#, "x".repeat(REPORT_BYTES_MAX));
        for (text, fault, says) in [
            ("{}", CommandFault::Malformed, "report.errors is missing"),
            (r#"{"errors":{}}"#, CommandFault::Malformed, "report.errors must be an array"),
            (r#"{"errors":[]}"#, CommandFault::Malformed, "1 to 16 errors, got 0"),
            (r#"{"errors":[7]}"#, CommandFault::Malformed, "report.errors[] must be an object"),
            (&many, CommandFault::Malformed, "got 17"),
            (&long, CommandFault::TooLarge, "at most 32768 are allowed"),
        ] {
            let rejected = read(text).expect_err(says);
            assert_eq!(rejected.fault, fault, "{says}");
            assert!(rejected.message.contains(says), "{}", rejected.message);
        }
    }
}
