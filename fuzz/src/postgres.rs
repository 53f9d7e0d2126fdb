//! Messages of PostgreSQL to a connection that waits for an answer.
//!
//! The input is the received bytes. Checked properties: how the bytes were split never changes the answers; a column is read
//! as its own type or refused; a page holds nothing that no row brought; a message that announces more than the bound is
//! refused before memory is reserved.

use seawall::health::finding::Fault;
use seawall::id::{ChannelName, Offset, ReactorId};
use seawall::job::{Form, PageRequest, Span, Ticket};
use seawall::net::postgres::{Answer, AnswerStep, Incoming, Row};
use seawall::store::postgres::page_of;

/// The bound on one message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Checks the properties above.
pub fn check(bytes: &[u8]) {
    let whole = answers(bytes, usize::MAX);
    assert_eq!(whole, answers(bytes, 1));
}

/// The answers in the bytes, of which each read brings at most `chunk`.
fn answers(bytes: &[u8], chunk: usize) -> Vec<String> {
    let (mut incoming, mut answer, mut said) =
        (Incoming::new(MESSAGE_BYTES_MAX), Answer::default(), Vec::new());
    let mut rest = bytes;
    loop {
        let step = match incoming.take() {
            Ok(Some(message)) => answer.take(message),
            Ok(None) if rest.is_empty() => return said,
            Ok(None) => {
                let fill = |buffer: &mut [u8]| {
                    let count = rest.len().min(chunk).min(buffer.len());
                    buffer[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok(count)
                };
                incoming.fill(fill).expect("memory does not fail");
                continue;
            }
            Err(what) => Err(what),
        };
        match step {
            Ok(AnswerStep::Open) => {}
            Ok(AnswerStep::Complete(rows)) => {
                said.push(rows_read(&rows));
                answer = Answer::default();
            }
            Ok(AnswerStep::Failed(error)) => {
                assert!(error.is_of_statement());
                said.push(format!("failed {:?} {error:?}", error.fault()));
                answer = Answer::default();
            }
            Ok(AnswerStep::Ended(error)) => {
                said.push(format!("ended {:?} {error:?}", error.fault()));
                return said;
            }
            Err(what) => {
                assert!(!what.is_empty());
                said.push(what);
                return said;
            }
        }
    }
}

/// Reads the columns of each row in every way that the store does.
fn rows_read(rows: &[Row]) -> String {
    let mut said = String::new();
    for row in rows {
        for place in 0..=row.texts().len() {
            let numbers =
                (row.try_get::<Option<i64>>(place), row.try_get::<i16>(place), row.try_get::<bool>(place));
            let others = (row.try_get::<Option<&str>>(place), row.try_get::<Vec<u8>>(place));
            for trouble in [numbers.0.as_ref().err(), numbers.1.as_ref().err(), others.1.as_ref().err()] {
                assert!(trouble.is_none_or(|trouble| trouble.fault == Fault::Protocol));
            }
            said.push_str(&format!("{numbers:?} {others:?} {:?}", row.texts()));
        }
    }
    said.push_str(&page_read(rows));
    said
}

/// Reads the rows as a page of a log.
fn page_read(rows: &[Row]) -> String {
    let request = PageRequest {
        ticket: Ticket { reactor: ReactorId(0), request: 1 },
        channel: ChannelName::parse("c1").expect("a valid name"),
        span: Span::After(Offset::ZERO),
        limit: 100,
        bytes_max: 1_000,
        form: Form::Json,
    };
    match page_of(&request, rows) {
        Ok(page) => {
            assert!(page.count as usize <= rows.len());
            format!("{page:?}")
        }
        Err(trouble) => trouble.text,
    }
}
