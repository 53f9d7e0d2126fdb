//! The three robots: two talk, and the third answers, and takes the signals of the page's buttons.

use super::assistant::Assistant;
use super::network::Network;
use super::plug::Plug;
use super::robot_link::RobotLink;
use super::script::{ANSWERS, TALK};
use crate::net::deadline::now;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOBBY: &str = "lobby";
/// The channel on which the page learns what is unplugged.
const CONTROLS: &str = "demo";
/// A page without a network cannot ask for it back.
const NETWORK_OUT: Duration = Duration::from_secs(12);
const TYPES_FOR: Duration = Duration::from_millis(1_500);
const PAUSE: Duration = Duration::from_secs(5);
/// The wait before robots whose connection ended connect again.
const AGAIN: Duration = Duration::from_secs(1);

/// Starts the thread of the robots.
pub(super) fn start(port: u16, assistant: Arc<Assistant>, network: Arc<Network>) -> std::io::Result<()> {
    let talk = move || {
        let mut place = 0;
        loop {
            let ended =
                Robots::connect(port, &assistant, &network).and_then(|mut robots| robots.talk(&mut place));
            if let Err(cause) = ended {
                tracing::debug!(%cause, "robots disconnected");
            }
            let _ = crossbeam_channel::after(AGAIN).recv();
        }
    };
    std::thread::Builder::new().name("demo-robots".into()).spawn(talk).map(|_| ())
}

struct Robots<'a> {
    assistant: &'a Assistant,
    network: &'a Network,
    ada: RobotLink,
    grace: RobotLink,
    /// The assistant's connection.
    third: RobotLink,
    network_back: Option<Instant>,
    /// The answer that is due.
    answer: Option<Instant>,
    answered: usize,
}

impl<'a> Robots<'a> {
    fn connect(port: u16, assistant: &'a Assistant, network: &'a Network) -> Result<Robots<'a>, String> {
        let mut third = RobotLink::open(port, &[LOBBY, CONTROLS])?;
        third.publish(CONTROLS, &plugs(assistant, network))?;
        Ok(Robots {
            assistant,
            network,
            ada: RobotLink::open(port, &[LOBBY])?,
            grace: RobotLink::open(port, &[LOBBY])?,
            third,
            // The connections of before may have ended while it was out.
            network_back: network.is_out().then(|| now() + NETWORK_OUT),
            answer: None,
            answered: 0,
        })
    }

    /// Speaks the lines in turn, from `place` on, until a connection ends.
    fn talk(&mut self, place: &mut usize) -> Result<(), String> {
        loop {
            let Some((name, text)) = TALK.get(*place % TALK.len()) else { return Ok(()) };
            self.link(name).type_as(LOBBY, name)?;
            self.listen_until(now() + TYPES_FOR)?;
            self.link(name).publish(LOBBY, &said(name, text))?;
            *place += 1;
            self.listen_until(now() + PAUSE)?;
        }
    }

    fn link(&mut self, name: &str) -> &mut RobotLink {
        if name == "Ada" { &mut self.ada } else { &mut self.grace }
    }

    fn listen_until(&mut self, deadline: Instant) -> Result<(), String> {
        while now() < deadline {
            self.ada.frames()?;
            self.grace.frames()?;
            for frame in self.third.frames()? {
                self.take(&frame)?;
            }
            if self.network_back.is_some_and(|at| now() >= at) {
                self.set("network", Plug::In)?;
            }
            if self.answer.is_some_and(|at| now() >= at) {
                self.answer = None;
                self.reply()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: &Value) -> Result<(), String> {
        let signal = &frame["signal"];
        if signal["channel"] == CONTROLS
            && let (Some(plug), Some(out)) =
                (signal["data"]["plug"].as_str(), signal["data"]["out"].as_bool())
        {
            return self.set(plug, if out { Plug::Out } else { Plug::In });
        }
        let publication = &frame["publication"];
        if publication["channel"] == LOBBY && is_question(&publication["data"]) && !self.assistant.is_out() {
            self.third.type_as(LOBBY, "Assistant")?;
            self.answer = Some(now() + TYPES_FOR);
        }
        Ok(())
    }

    /// Answers, unless the service was unplugged meanwhile.
    fn reply(&mut self) -> Result<(), String> {
        let Some(text) = ANSWERS.get(self.answered % ANSWERS.len()).filter(|_| !self.assistant.is_out())
        else {
            return Ok(());
        };
        self.answered += 1;
        self.third.publish(LOBBY, &said("Assistant", text))
    }

    fn set(&mut self, name: &str, plug: Plug) -> Result<(), String> {
        match name {
            "assistant" => self.assistant.set(plug),
            "network" => {
                self.network.set(plug);
                self.network_back = (plug == Plug::Out).then(|| now() + NETWORK_OUT);
            }
            _ => return Ok(()),
        }
        self.third.publish(CONTROLS, &plugs(self.assistant, self.network))
    }
}

fn said(name: &str, text: &str) -> Value {
    json!({ "name": name, "text": text, "robot": true })
}

/// Everything that a person writes, and what a robot asks the assistant.
fn is_question(data: &Value) -> bool {
    let text = data["text"].as_str().unwrap_or_default();
    !text.is_empty() && (data["robot"] != true || text.starts_with("@Assistant"))
}

fn plugs(assistant: &Assistant, network: &Network) -> Value {
    json!({ "plugs": [{ "name": "assistant", "out": assistant.is_out() }, { "name": "network", "out": network.is_out() }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assistant_answers_people_and_robots_that_ask_it() {
        for (data, asks) in [
            (json!({ "text": "hello" }), true),
            (json!({ "name": "Ada", "text": "hello", "robot": true }), false),
            (json!({ "name": "Ada", "text": "@Assistant hello", "robot": true }), true),
            (said("Assistant", "hello"), false),
            (json!("hello"), false),
            (Value::Null, false),
        ] {
            assert_eq!(is_question(&data), asks, "{data}");
        }
    }
}
