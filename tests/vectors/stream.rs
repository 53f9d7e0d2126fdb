//! `stream.json`: what a reader makes of a stream. The reader itself is written in TypeScript; this file checks the examples against
//! the rules of `docs/protocol.md`.

use super::{names_differ, read};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
    does: Vec<Done>,
    asks: Vec<(u32, u32)>,
    view: View,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Push(Frame),
    Reply(Frame),
    End { stream: String, data: Value },
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    #[serde(rename = "gen")]
    generation: u32,
    at: Option<u32>,
    next: Option<u32>,
    #[serde(default)]
    text: String,
    event: Option<Event>,
    events: Option<Vec<(u32, String, Value)>>,
    state: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    r#type: String,
    data: Value,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Done {
    Take,
    State,
    Hold,
    Drop,
    End,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct View {
    #[serde(rename = "gen")]
    generation: u32,
    next: u32,
    text: String,
    events: Vec<(u32, String, Value)>,
    state: String,
}

#[derive(Default)]
struct Reader {
    view: View,
    missing: bool,
    asked: bool,
    held: Vec<Frame>,
    asks: Vec<(u32, u32)>,
}

/// True for the states before the first text of an answer.
fn is_before(state: &str) -> bool {
    matches!(state, "accepted" | "processing")
}

impl Reader {
    fn take(&mut self, frame: &Frame) -> Done {
        let is_open = is_before(&self.view.state)
            || matches!(self.view.state.as_str(), "streaming" | "paused" | "cancelling");
        if frame.generation < self.view.generation || !is_open {
            return Done::Drop;
        }
        let is_newer = frame.generation > self.view.generation;
        if is_newer {
            let state = std::mem::take(&mut self.view.state);
            self.view = View { generation: frame.generation, state, ..View::default() };
            self.held.clear();
            self.missing = frame.at != Some(0) && !frame.state.as_deref().is_some_and(is_before);
        }
        if let Some(state) = &frame.state {
            self.view.state.clone_from(state);
        }
        let (Some(at), Some(next)) = (frame.at, frame.next) else { return Done::State };
        let is_whole = at == 0 && frame.state.is_some();
        if next <= self.view.next && !is_newer {
            return if frame.state.is_some() { Done::State } else { Done::Drop };
        }
        if !is_whole && at != self.view.next {
            self.missing = true;
            self.held.push(frame.clone());
            return Done::Hold;
        }
        if is_whole {
            self.view.text.clear();
            self.view.events.clear();
        }
        self.view.text.push_str(&frame.text);
        self.view.events.extend(frame.events.iter().flatten().cloned());
        self.view.events.extend(frame.event.iter().map(|one| (at, one.r#type.clone(), one.data.clone())));
        self.view.next = next;
        if frame.state.is_none() && is_before(&self.view.state) {
            "streaming".clone_into(&mut self.view.state);
        }
        self.release();
        Done::Take
    }

    fn release(&mut self) {
        self.missing = false;
        for frame in std::mem::take(&mut self.held) {
            self.take(&frame);
        }
    }

    fn answered(&mut self, frame: &Frame) -> Done {
        self.asked = false;
        let done = self.take(frame);
        if frame.generation >= self.view.generation {
            self.release();
        }
        done
    }

    fn end(&mut self, state: &str, data: &Value) -> Done {
        self.view.state = state.to_owned();
        self.missing = false;
        if let (true, Some(text)) = (state != "replaced", data["text"].as_str()) {
            self.view.text = text.to_owned();
        }
        Done::End
    }

    fn ask(&mut self) {
        if self.missing && !self.asked {
            self.asked = true;
            self.asks.push((self.view.generation, self.view.next));
        }
    }
}

#[test]
fn stream_is_followed_as_in_the_examples() {
    let file: File = read("stream.json");
    assert!(!file.about.is_empty());
    names_differ(file.cases.iter().map(|case| case.name.as_str()));
    for case in &file.cases {
        let mut reader = Reader::default();
        reader.view.state = "streaming".to_owned();
        let does: Vec<Done> = case
            .steps
            .iter()
            .map(|step| {
                let done = match step {
                    Step::Push(frame) => reader.take(frame),
                    Step::Reply(frame) => reader.answered(frame),
                    Step::End { stream, data } => reader.end(stream, data),
                };
                reader.ask();
                done
            })
            .collect();
        assert_eq!(does, case.does, "{}", case.name);
        assert_eq!(reader.asks, case.asks, "{}", case.name);
        assert_eq!(reader.view, case.view, "{}", case.name);
    }
}
