//! A whole session life: bytes become a sequence of operations on sessions, a hub and a store.
//!
//! The first byte chooses the bounds; each further operation is one byte and its arguments. Commands,
//! answers, failures, losses, time, slow sockets and ends come in any order. Checked: each `id` is answered
//! once; a client sees every log without a gap or a duplicate, save where `lag` says so; nothing comes
//! after a close; what one call writes is bounded; and when all faults end everybody has everything, and
//! after the last connection the hub is empty and nobody is still counted.

mod store;
mod view;
mod world;

use seawall::auth::permission::Permissions;
use seawall::auth::token::TokenFault;
use seawall::id::{ChannelName, CommandId, UserName};
use seawall::limits::Limits;
use seawall::session::outcome::{AppendChange, Counted, Denied, Identity};
use seawall::session::{AppendEffect, AuthMode};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use world::{Answer, PEERS, World};

/// Bytes of an input that count.
const INPUT_BYTES_MAX: usize = 2_048;
/// Rounds in which a world without faults must come to rest.
const ROUNDS_MAX: usize = 400;

/// See the module.
pub fn check(bytes: &[u8]) {
    let mut script = Script { rest: &bytes[..bytes.len().min(INPUT_BYTES_MAX)], commands: 1 << 20 };
    let Some(bounds) = script.byte() else { return };
    let auth = if bounds & 1 == 0 { AuthMode::Off } else { AuthMode::Required };
    let mut world = World::new(&limits(bounds), auth);
    while let Some(operation) = script.byte() {
        script.operate(&mut world, operation);
    }
    settle(&mut world);
    for peer in 0..PEERS {
        if !world.peers[peer].is_gone() {
            world.end(peer);
        }
    }
    // What the last ends left with a worker is answered as well.
    while world.pending() > 0 {
        world.answer(0, Answer::Succeed(Ok(everything(&world))));
    }
    world.assert_empty();
}

/// Small, so that every bound is met within a short input.
fn limits(bounds: u8) -> Limits {
    let rates = if bounds & 2 == 0 { (0, 1) } else { (5, 3) };
    Limits {
        subscriptions: 3,
        pending: 4,
        json_depth: 8,
        channels: 3,
        message_bytes: 2_048,
        outbox_bytes: if bounds & 4 == 0 { 600 } else { 60_000 },
        publishes_per_s: rates.0,
        publishes_burst: rates.1,
        commands_per_s: rates.0 * 4,
        commands_burst: rates.1 * 4,
        ..Limits::default()
    }
}

/// The faults end.
fn settle(world: &mut World) {
    for _ in 0..ROUNDS_MAX {
        while world.pending() > 0 {
            world.answer(0, Answer::Succeed(Ok(everything(world))));
        }
        world.turn(0, 0);
        (0..PEERS).for_each(|peer| world.drain(peer));
        // What failed is tried again when time passes; what was lost shows in the heads.
        world.pass(Duration::from_millis(1));
        world.read_heads();
        if world.is_at_rest() {
            break;
        }
    }
    world.assert_settled();
}

fn everything(world: &World) -> Identity {
    identity(world, Permissions::everything(), 1 << 40)
}

fn identity(world: &World, permissions: Permissions, more_ms: u64) -> Identity {
    Identity {
        user: UserName::parse("ann").expect("valid"),
        permissions: Arc::new(permissions),
        expires_unix_ms: Some(world.now.unix_ms + more_ms),
        counted: Counted::Yes,
    }
}

/// The bytes that are left, and the last id given to a command.
struct Script<'a> {
    rest: &'a [u8],
    commands: u64,
}

impl Script<'_> {
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

    fn operate(&mut self, world: &mut World, operation: u8) {
        match operation % 16 {
            0 => self.command(world, Self::connect),
            1 => self.command(world, Self::subscribe),
            2 => {
                self.command(world, |script| format!(r#""unsubscribe":{{"channel":"{}"}}"#, script.channel()))
            }
            3 | 4 => self.command(world, Self::publish),
            5 => self.command(world, Self::history),
            6 => self.signal(world),
            7 => self.command(world, |_| r#""refresh":{"token":"t"}"#.to_owned()),
            8 => self.raw(world),
            9 | 10 => self.answer(world),
            11 => world.pass(Duration::from_millis(u64::from(self.any()) * 40)),
            12 => {
                let (lost, doubled) = (self.any(), self.any());
                world.turn(lost, doubled & lost.rotate_left(3));
            }
            13 => {
                let peer = self.peer();
                world.drain(peer);
            }
            14 => self.elsewhere(world),
            _ => self.rare(world),
        }
    }

    fn command(&mut self, world: &mut World, write: impl FnOnce(&mut Self) -> String) {
        let peer = self.peer();
        self.commands += 1;
        let id = self.commands;
        let body = write(self);
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

    /// Any text. One that serde_json reads but cannot hold as a value would only fail the client here.
    fn raw(&mut self, world: &mut World) {
        let peer = self.peer();
        let (text, rest) = self.rest.split_at(usize::from(self.any()).min(self.rest.len()));
        self.rest = rest;
        let Ok(text) = std::str::from_utf8(text) else { return };
        let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
        if !is_json || serde_json::from_str::<serde_json::Value>(text).is_ok() {
            world.say(peer, text);
        }
    }

    fn answer(&mut self, world: &mut World) {
        let (index, how) = (self.any(), self.any());
        let waiting = world.pending();
        if waiting == 0 {
            return;
        }
        let reader = r#"[{"pattern":"a","rights":["subscribe"]},{"pattern":"write.*","rights":["publish"]}]"#;
        let answer = match how % 8 {
            0 => Answer::Fail,
            1 => Answer::Succeed(Err(Denied::Token(TokenFault::Malformed))),
            2 => Answer::Succeed(Err(Denied::TooManyOfUser)),
            3 => {
                let reader = Permissions::from_claim(reader).expect("valid");
                Answer::Succeed(Ok(identity(world, reader, 1 << 40)))
            }
            4 => Answer::Succeed(Ok(identity(world, Permissions::everything(), 2_000))),
            _ => Answer::Succeed(Ok(everything(world))),
        };
        world.answer(usize::from(index) % waiting, answer);
    }

    /// Publications of another instance.
    fn elsewhere(&mut self, world: &mut World) {
        let channel = ChannelName::parse(self.channel()).expect("valid");
        for number in 0..self.any() % 64 {
            world.append(&AppendEffect {
                id: CommandId(1),
                channel: channel.clone(),
                user: UserName::anonymous(),
                key: None,
                change: AppendChange::Original,
                data: number.to_string().into(),
                asked: world.now.at,
            });
        }
    }

    fn rare(&mut self, world: &mut World) {
        match self.any() % 4 {
            0 => world.read_heads(),
            1 => {
                let channel = ChannelName::parse(self.channel()).expect("valid");
                let keep = self.any().into();
                world.store.retain(&channel, keep);
            }
            _ => {
                let peer = self.peer();
                world.hang_up(peer);
            }
        }
    }
}
