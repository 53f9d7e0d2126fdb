//! The bytes of an input as operations on a world.

use super::workers::Full;
use super::world::{PEERS, World};
use seawall::health::breaker::Forced;
use seawall::health::snapshot::AdmissionMode;
use seawall::id::{ChannelName, ReactorId, UserName};
use seawall::job::{Append, AppendChange, Broadcast, Creation, Ticket};
use seawall::wire::push;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// The bit of an operation that puts its turn off, so that the next operation happens in the same turn.
const SAME_TURN: u8 = 0x80;

/// The bytes that are left, and the last id given to a command.
pub struct Script<'a> {
    rest: &'a [u8],
    commands: u64,
}

impl<'a> Script<'a> {
    pub fn new(rest: &'a [u8]) -> Script<'a> {
        Script { rest, commands: 1 << 20 }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The next byte, or 0 at the end.
    fn any(&mut self) -> u8 {
        self.byte().unwrap_or_default()
    }

    fn peer(&mut self) -> usize {
        usize::from(self.any()) % PEERS
    }

    /// One name more than the hub has room for.
    fn channel(&mut self) -> &'static str {
        ["a", "b", "write.c", "d"][usize::from(self.any()) % 4]
    }

    fn channel_name(&mut self) -> ChannelName {
        ChannelName::parse(self.channel()).expect("valid")
    }

    /// Does the next operation; false at the end.
    pub fn operate(&mut self, world: &mut World) -> bool {
        let Some(operation) = self.byte() else { return false };
        match operation % 16 {
            0 => self.command(world, |script, _| script.connect()),
            1 => self.command(world, |script, _| script.subscribe()),
            2 => self
                .command(world, |script, _| format!(r#""unsubscribe":{{"channel":"{}"}}"#, script.channel())),
            3 | 4 => self.command(world, |script, _| script.publish()),
            5 => self.command(world, |script, _| script.history()),
            6 => self.signal(world),
            7 => self.command(world, |_, id| format!(r#""refresh":{{"token":"t{id}"}}"#)),
            8 => self.raw(world),
            9 | 10 => self.answer(world),
            11 => {
                let pause = Duration::from_millis(u64::from(self.any()) * 40);
                world.shell.turn(pause, 0, 0, 0);
            }
            12 => {
                let (lost, doubled) = (self.any(), self.any());
                world.shell.turn(Duration::ZERO, 8, lost, doubled & lost.rotate_left(3));
            }
            13 => {
                let peer = self.peer();
                world.receive(peer);
            }
            14 => self.elsewhere(world),
            _ => self.rare(world),
        }
        if operation & SAME_TURN == 0 {
            world.turn();
        }
        true
    }

    fn command(&mut self, world: &mut World, write: impl FnOnce(&mut Self, u64) -> String) {
        let peer = self.peer();
        self.commands += 1;
        let id = self.commands;
        let body = write(self, id);
        world.say(peer, &format!(r#"{{"id":{id},{body}}}"#));
    }

    fn connect(&mut self) -> String {
        let cursors = (0..self.any() % 4).map(|at| {
            let channel = ["a", "b", "write.c", "d"][usize::from(at)];
            let epoch = if self.any().is_multiple_of(8) { "none" } else { "10" };
            format!(r#"{{"channel":"{channel}","epoch":"{epoch}","offset":{}}}"#, self.any())
        });
        let cursors: Vec<String> = cursors.collect();
        format!(r#""connect":{{"token":"t","recover":[{}]}}"#, cursors.join(","))
    }

    fn subscribe(&mut self) -> String {
        let channel = self.channel();
        match self.any() {
            how @ 0..100 => format!(r#""subscribe":{{"channel":"{channel}","last":{how}}}"#),
            100..150 => format!(r#""subscribe":{{"channel":"{channel}"}}"#),
            _ => {
                let offset = self.any();
                format!(
                    r#""subscribe":{{"channel":"{channel}","recover":{{"epoch":"10","offset":{offset}}}}}"#
                )
            }
        }
    }

    fn publish(&mut self) -> String {
        let channel = self.channel();
        let (how, what) = (self.any(), self.any());
        let change = match how % 8 {
            0 => format!(r#""edits":{},"#, what.max(1)),
            1 => format!(r#""deletes":{},"#, what.max(1)),
            2 | 3 => format!(r#""key":"k{}","#, what % 4),
            _ => String::new(),
        };
        let data = "x".repeat(usize::from(how));
        format!(r#""publish":{{"channel":"{channel}",{change}"data":"{data}"}}"#)
    }

    fn history(&mut self) -> String {
        let (channel, which, offset) = (self.channel(), self.any(), self.any());
        let way = if which.is_multiple_of(2) { "before" } else { "after" };
        format!(r#""history":{{"channel":"{channel}","{way}":{offset},"limit":{}}}"#, which / 2)
    }

    fn signal(&mut self, world: &mut World) {
        let (peer, channel) = (self.peer(), self.channel());
        world.say(peer, &format!(r#"{{"signal":{{"channel":"{channel}","data":1}}}}"#));
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.any());
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// Sends any text. A text that serde_json reads but cannot hold as a value would only fail the view.
    fn raw(&mut self, world: &mut World) {
        let peer = self.peer();
        let Ok(text) = std::str::from_utf8(self.bytes()) else { return };
        let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
        if !is_json || serde_json::from_str::<serde_json::Value>(text).is_ok() {
            world.say(peer, text);
        }
    }

    fn answer(&mut self, world: &mut World) {
        let (index, how) = (self.any(), self.any());
        let waiting = world.shell.workers.waiting();
        if waiting > 0 {
            world.answer(usize::from(index) % waiting, how % 10);
        }
    }

    /// Publications of another reactor or instance.
    fn elsewhere(&mut self, world: &mut World) {
        let (channel, count) = (self.channel_name(), self.any());
        for number in 0..count % 64 {
            let append = Append {
                ticket: Ticket { reactor: ReactorId(1), request: 0 },
                channel: channel.clone(),
                user: UserName::anonymous(),
                key: None,
                change: AppendChange::Original,
                creation: Creation::Free,
                stream: None,
                claims: None,
                // The highest bits make them long.
                data: format!("\"{number:0width$}\"", width = usize::from(count / 64) * 300).into(),
            };
            let Ok((_, Some(published))) = world.shell.workers.store.append(&append) else { return };
            world.shell.broadcasts.push_back(Broadcast::Published(Arc::from([published])));
        }
    }

    fn rare(&mut self, world: &mut World) {
        match self.any() % 16 {
            0 => world.shell.missed = true,
            1 => {
                let channel = self.channel_name();
                let keep = self.any().into();
                world.shell.workers.store.retain(&channel, keep);
            }
            2 | 3 => {
                let peer = self.peer();
                world.hang_up(peer);
            }
            4 => {
                let peer = self.peer();
                world.reset(peer);
            }
            5 => {
                let peer = self.peer();
                world.close(peer);
            }
            6 => world.shell.workers.full = Full(self.any()),
            7 => world.shell.busy = Duration::from_micros(u64::from(self.any()) * 40),
            8 => world.order(Forced::Open, AdmissionMode::Enforce),
            9 => world.order(Forced::Open, AdmissionMode::Observe),
            10 => world.order(Forced::Closed, AdmissionMode::Enforce),
            11 => world.drain(),
            12 => {
                let channel = self.channel_name();
                let position = world.shell.workers.store.position(&channel);
                world.shell.broadcasts.push_back(Broadcast::Heads(Arc::from([(channel, position)])));
            }
            13 => {
                let (peer, bytes) = (self.peer(), self.bytes());
                world.send_wild(peer, bytes);
            }
            14 => {
                let (channel, mut frame) = (self.channel_name(), Vec::new());
                push::signal(&mut frame, &channel, "anonymous", "1");
                world.shell.broadcasts.push_back(Broadcast::Signal { channel, frame: Arc::from(frame) });
            }
            _ => {
                let bounds = self.any();
                world.reload(bounds);
            }
        }
    }
}
