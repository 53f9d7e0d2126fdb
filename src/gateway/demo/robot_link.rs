//! A robot's connection to the gateway.

use crate::net::deadline::now;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;
use tungstenite::protocol::WebSocket;
use tungstenite::{Error, Message};

/// The time for the upgrade.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// The longest wait for a frame. It sets the pace of the robots' loop.
const LOOK: Duration = Duration::from_millis(40);
/// The frames that are taken in one look.
const FRAMES_MAX: usize = 100;

pub(super) struct RobotLink {
    socket: WebSocket<TcpStream>,
    next_id: u64,
}

impl RobotLink {
    /// Connects, and subscribes to these channels.
    pub(super) fn open(port: u16, channels: &[&str]) -> Result<RobotLink, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a robot cannot connect: {error}");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| failed(&error))?;
        stream.set_read_timeout(Some(CONNECTED_WITHIN)).map_err(|error| failed(&error))?;
        let url = format!("ws://127.0.0.1:{port}/ws");
        let (socket, _) = tungstenite::client(url, stream).map_err(|error| failed(&error))?;
        socket.get_ref().set_read_timeout(Some(LOOK)).map_err(|error| failed(&error))?;
        let mut link = RobotLink { socket, next_id: 1 };
        link.ask("connect", &json!({ "client": "seawall-demo/1" }))?;
        for channel in channels {
            link.ask("subscribe", &json!({ "channel": channel, "present": {} }))?;
        }
        Ok(link)
    }

    pub(super) fn publish(&mut self, channel: &str, data: &Value) -> Result<(), String> {
        let key = format!("{:032x}", fastrand::u128(..));
        self.ask("publish", &json!({ "channel": channel, "key": key, "data": data }))
    }

    /// Shows others that this robot is writing.
    pub(super) fn type_as(&mut self, channel: &str, name: &str) -> Result<(), String> {
        let data = json!({ "typing": true, "name": name, "tab": name });
        self.send(&json!({ "signal": { "channel": channel, "data": data } }))
    }

    /// Takes the frames that have arrived, after a short wait.
    pub(super) fn frames(&mut self) -> Result<Vec<Value>, String> {
        let mut frames = Vec::new();
        let deadline = now() + LOOK;
        while frames.len() < FRAMES_MAX && now() < deadline {
            match self.socket.read() {
                Ok(Message::Text(text)) => frames.extend(serde_json::from_str::<Value>(&text)),
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(frames)
    }

    fn ask(&mut self, name: &str, body: &Value) -> Result<(), String> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "id": id, name: body }))
    }

    fn send(&mut self, frame: &Value) -> Result<(), String> {
        self.socket.send(Message::text(frame.to_string())).map_err(|error| error.to_string())
    }
}
