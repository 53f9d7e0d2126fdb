//! Reads whole logs back through a gateway, for comparison with the ledger.

use crate::crowd::message::{self, channel_name, number_of};
use crate::ledger::check::Log;
use seawall_load::frame::{self, Next};
use seawall_load::upgrade::{self, Answer};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The timeout of one page.
const WITHIN: Duration = Duration::from_secs(10);
/// The maximum number of publications per page.
const LIMIT: u32 = 300;

/// A client that reads logs, with one command at a time.
#[derive(Debug)]
pub struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
    run: u32,
    next_id: u64,
}

impl Reader {
    /// Connects to a gateway with these arguments of `connect`, to read the publications of this run.
    pub fn connect(address: SocketAddr, run: u32, arguments: &str) -> Result<Reader, String> {
        let stream =
            TcpStream::connect_timeout(&address, WITHIN).map_err(|error| format!("{address}: {error}"))?;
        let timeout =
            stream.set_read_timeout(Some(WITHIN)).and_then(|()| stream.set_write_timeout(Some(WITHIN)));
        timeout.map_err(|error| error.to_string())?;
        let mut reader = Reader { stream, bytes: Vec::new(), run, next_id: 1 };
        let (request, accept) = upgrade::request("/ws", address);
        reader.stream.write_all(&request).map_err(|error| error.to_string())?;
        loop {
            match upgrade::answer(&reader.bytes, &accept) {
                Answer::Partial => reader.more()?,
                Answer::Open(length) => {
                    reader.bytes.drain(..length);
                    break;
                }
                Answer::Refused(why) => return Err(why),
            }
        }
        reader.ask("connect", arguments, |message| message.connected.as_ref().map(|_| ()))?;
        Ok(reader)
    }

    /// Reads a channel from its floor to its head.
    pub fn log(&mut self, channel: u16) -> Result<Log, String> {
        let mut log = Log::default();
        let mut after = 0;
        let (name, run) = (channel_name(channel), self.run);
        loop {
            let arguments = format!("{{\"channel\":\"{name}\",\"after\":{after},\"limit\":{LIMIT}}}");
            let count = self.ask("history", &arguments, |message| {
                let page = message.history.as_ref()?;
                (log.floor, log.head) = (page.floor, page.head);
                let entry = |entry: &message::Entry<'_>| {
                    (entry.offset, entry.key.and_then(|key| number_of(run, key)))
                };
                log.entries.extend(page.publications.iter().map(entry));
                Some(page.publications.len())
            })?;
            after = log.entries.last().map_or(0, |(offset, _)| *offset);
            if count == 0 || after >= log.head {
                return Ok(log);
            }
        }
    }

    fn ask<T>(
        &mut self,
        command: &str,
        arguments: &str,
        mut read: impl FnMut(&message::Message<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let id = self.next_id;
        self.next_id += 1;
        let mut out = Vec::new();
        let text = format!("{{\"id\":{id},\"{command}\":{arguments}}}");
        frame::write(&mut out, frame::TEXT, text.as_bytes(), fastrand::u32(..));
        self.stream.write_all(&out).map_err(|error| error.to_string())?;
        loop {
            let (length, answer) = match frame::next(&self.bytes) {
                Next::Partial => {
                    self.more()?;
                    continue;
                }
                Next::Broken(why) => return Err(why.to_owned()),
                Next::Frame(frame) => (frame.length, {
                    let message = message::read(frame.payload).filter(|message| message.id == Some(id));
                    message.map(|message| {
                        read(&message).ok_or_else(|| format!("{command}: answered {message:?}"))
                    })
                }),
            };
            self.bytes.drain(..length);
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    fn more(&mut self) -> Result<(), String> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("the gateway closed the connection".to_owned()),
            Ok(bytes) => {
                self.bytes.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
                Ok(())
            }
            // SIGSTOP and SIGCONT interrupt a read with a timeout (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }
}
