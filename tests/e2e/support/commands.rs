//! A body of commands that stays open, and its replies.

use super::backend::address_of;
use super::raw::{RawClient, Response, dial};
use super::{Gateway, backend};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::Read as _;

/// A request to `POST /v1/commands` with a chunked body.
pub struct CommandBody {
    pub raw: RawClient,
    lines: VecDeque<Value>,
    partial: Vec<u8>,
}

impl CommandBody {
    #[track_caller]
    pub fn open(gateway: &Gateway) -> CommandBody {
        CommandBody::open_with(gateway, "", backend::KEY)
    }

    #[track_caller]
    pub fn open_with(gateway: &Gateway, query: &str, key: &str) -> CommandBody {
        // A small buffer, so that a reader that stops is soon noticed.
        let stream = dial(address_of(gateway), None, Some(16 << 10)).expect("it listens");
        let mut raw = RawClient::from(stream);
        let head = format!(
            "POST /v1/commands{query} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        raw.write(head.as_bytes());
        CommandBody { raw, lines: VecDeque::new(), partial: Vec::new() }
    }

    /// Sends commands, each as a line, in one chunk.
    #[track_caller]
    pub fn send(&mut self, commands: &[Value]) {
        let lines: String = commands.iter().map(|command| format!("{command}\n")).collect();
        self.raw.write(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes());
    }

    /// Ends the body.
    #[track_caller]
    pub fn end(&mut self) {
        self.raw.write(b"0\r\n\r\n");
    }

    /// The head of the response, which comes with the first line.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.raw.head()
    }

    /// The next line; `None` at the end of the response.
    #[track_caller]
    pub fn next(&mut self) -> Option<Value> {
        while self.lines.is_empty() {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                let mut byte = [0];
                self.raw.stream.read_exact(&mut byte).expect("a chunk in time");
                size.push(byte[0]);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&size).expect("text").trim_end(), 16);
            let mut chunk = vec![0; size.expect("a size") + 2];
            self.raw.stream.read_exact(&mut chunk).expect("the whole chunk");
            if chunk.len() == 2 {
                assert!(self.partial.is_empty(), "a line ends with its chunk");
                return None;
            }
            self.partial.extend_from_slice(&chunk[..chunk.len() - 2]);
            let text = String::from_utf8(std::mem::take(&mut self.partial)).expect("UTF-8");
            self.lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
        }
        self.lines.pop_front()
    }

    /// The next line with this member, which is its value.
    #[track_caller]
    pub fn reply(&mut self, member: &str) -> Value {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("the response ended without {member}"));
            match line.get(member) {
                Some(value) => return value.clone(),
                // Sums come at any time.
                None => assert!(line.get("appended").is_some(), "{member} was expected: {line}"),
            }
        }
    }

    /// All lines to the end of the response.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
