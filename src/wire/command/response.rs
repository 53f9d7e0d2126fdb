//! The commands in the response of a backend, which need no `id` and name neither the answer nor a place in it.

use super::arguments::{self, Arguments, Complaint};
use super::stream;
use crate::id::{ChannelName, Key, Offset};
use crate::wire::scan::{Broken, Scanner};
use crate::wire::stream::{Generation, Piece, Position, StreamEnd};

/// The stream that a command names, and the place in it. What is absent is that of the answer.
#[derive(Debug, Default, PartialEq)]
pub struct AnswerPlace {
    pub channel: Option<ChannelName>,
    pub offset: Option<Offset>,
    pub generation: Option<Generation>,
    pub at: Option<Position>,
}

/// A command in a response.
#[derive(Debug, PartialEq)]
pub enum ResponseCommand<'a> {
    Append {
        place: AnswerPlace,
        piece: Piece,
    },
    Restart {
        place: AnswerPlace,
    },
    End {
        place: AnswerPlace,
        end: StreamEnd,
        /// JSON in place of the text.
        data: Option<&'a str>,
    },
    Publish {
        /// `None`: the channel of the question.
        channel: Option<ChannelName>,
        key: Option<Key>,
        /// JSON, byte for byte as received.
        data: &'a str,
    },
}

const APPEND: (&str, &[&str]) = ("append", stream::APPEND_READS);
const RESTART: (&str, &[&str]) = ("restart", stream::NAME_READS);
const END: (&str, &[&str]) = ("end", stream::END_READS);
const PUBLISH: (&str, &[&str]) = ("publish", &["channel", "key", "data", "edits", "deletes", "stream"]);

/// Parses one command. The error is a sentence for the backend's developer.
pub fn parse_response(text: &str, depth_max: u32) -> Result<ResponseCommand<'_>, String> {
    let mut scanner = Scanner::new(text);
    let mut found = FoundCommands::default();
    let scanned = scanner.object(|scanner, name| found.member(scanner, &name)).and_then(|()| scanner.end());
    scanned.map_err(|broken| broken.to_string())?;
    if scanner.deepest() > depth_max {
        return Err(format!("it nests {} levels deep; at most {depth_max} are allowed", scanner.deepest()));
    }
    found.command().map_err(|complaint| complaint.message)
}

/// The commands among the members of a line.
#[derive(Default)]
struct FoundCommands<'a> {
    first: Option<(&'static str, Arguments<'a>)>,
    count: u32,
}

impl<'a> FoundCommands<'a> {
    fn member(&mut self, scanner: &mut Scanner<'a>, name: &str) -> Result<(), Broken> {
        let verb = [APPEND, RESTART, END, PUBLISH].into_iter().find(|(verb, _)| *verb == name);
        let Some((verb, reads)) = verb else { return scanner.value().map(drop) };
        self.count = self.count.saturating_add(1);
        let mut arguments = Arguments::none(verb, reads);
        arguments.scan(scanner)?;
        self.first.get_or_insert((verb, arguments));
        Ok(())
    }

    fn command(&self) -> Result<ResponseCommand<'a>, Complaint> {
        let (Some((verb, arguments)), 1) = (&self.first, self.count) else {
            let message = "a line must be an object with one of append, restart, end and publish";
            return Err(Complaint::malformed(message.to_owned()));
        };
        arguments.check()?;
        match *verb {
            "append" => {
                Ok(ResponseCommand::Append { place: placed(arguments)?, piece: stream::piece(arguments)? })
            }
            "restart" => {
                let (channel, offset) = named(arguments)?;
                let place = AnswerPlace { channel, offset, ..AnswerPlace::default() };
                Ok(ResponseCommand::Restart { place })
            }
            "end" => Ok(ResponseCommand::End {
                place: placed(arguments)?,
                end: arguments.required("state", stream::end_state)?,
                data: arguments.optional("data", arguments::json)?,
            }),
            _ => publish(arguments),
        }
    }
}

fn named(arguments: &Arguments<'_>) -> Result<(Option<ChannelName>, Option<Offset>), Complaint> {
    let channel = arguments.optional("channel", arguments::channel)?;
    Ok((channel, arguments.optional("offset", arguments::integer(1))?.map(Offset)))
}

fn placed(arguments: &Arguments<'_>) -> Result<AnswerPlace, Complaint> {
    let (channel, offset) = named(arguments)?;
    let (generation, at) = stream::place(arguments)?;
    Ok(AnswerPlace { channel, offset, generation, at })
}

fn publish<'a>(arguments: &Arguments<'a>) -> Result<ResponseCommand<'a>, Complaint> {
    if arguments.has("edits") || arguments.has("deletes") || arguments.has("stream") {
        let message = "publish in a response is for new publications: omit edits, deletes and stream";
        return Err(Complaint::malformed(message.to_owned()));
    }
    Ok(ResponseCommand::Publish {
        channel: arguments.optional("channel", arguments::channel)?,
        key: arguments.optional("key", arguments::key)?,
        data: arguments.required("data", arguments::json)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ResponseCommand<'_> {
        parse_response(text, 32).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn absent_members_are_those_of_the_answer() {
        let place = AnswerPlace::default;
        let piece = Piece::Text("Hé".into());
        assert_eq!(parsed(r#"{"append":{"text":"Hé"}}"#), ResponseCommand::Append { place: place(), piece });
        let event = r#" {"id":7,"append":{"at":3,"gen":2,"event":{"type":"usage","data":{"a": 1}}}} "#;
        let ResponseCommand::Append { place: at, piece: Piece::Event { data, .. } } = parsed(event) else {
            panic!("an event")
        };
        assert_eq!((at.at, at.generation, &*data), (Some(Position(3)), Some(Generation(2)), r#"{"a": 1}"#));
        assert_eq!(parsed(r#"{"restart":{}}"#), ResponseCommand::Restart { place: place() });
        let end = ResponseCommand::End { place: place(), end: StreamEnd::Failed, data: Some("[1]") };
        assert_eq!(parsed(r#"{"end":{"state":"failed","data":[1]}}"#), end);
        let publish = ResponseCommand::Publish { channel: None, key: Key::parse("k").ok(), data: "null" };
        assert_eq!(parsed(r#"{"publish":{"key":"k","data":null}}"#), publish);
    }

    #[test]
    fn anything_else_is_refused_with_a_sentence() {
        for (text, says) in [
            ("", "object"),
            ("[]", "object"),
            ("{}", "one of append"),
            (r#"{"subscribe":{"channel":"a"}}"#, "one of append"),
            (r#"{"append":{"text":"a"},"end":{"state":"failed"}}"#, "one of append"),
            (r#"{"append":{"text":"a"}} x"#, "the end"),
            (r#"{"append":7}"#, "must be an object"),
            (r#"{"append":{"text":"\ud800"}}"#, "surrogate"),
            (r#"{"append":{"text":"a","event":{"type":"b"}}}"#, "not both"),
            (r#"{"end":{}}"#, "state"),
            (r#"{"end":{"state":"interrupted"}}"#, "state"),
            (r#"{"publish":{}}"#, "data"),
            (r#"{"publish":{"data":1,"stream":{}}}"#, "omit"),
            (r#"{"append":{"event":{"type":"b","data":[[[[]]]]}}}"#, "levels deep"),
        ] {
            let depth = if says == "levels deep" { 4 } else { 32 };
            let error = parse_response(text, depth).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
