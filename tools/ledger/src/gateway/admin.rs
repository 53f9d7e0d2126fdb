//! A gateway's admin listener: one request on each connection.

use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The token of every gateway of a run.
pub const TOKEN: &str = "ledger-0123456789012345678901234567890123456";
/// The timeout of one request. An order is answered after at most a second.
const WITHIN: Duration = Duration::from_secs(4);

/// The admin listener of a place, whichever process runs there.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// Names the listener at this address.
    pub fn at(address: SocketAddr) -> Admin {
        Admin { address }
    }

    /// Sends a request and returns the status and the body.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no answer in time, or if it is not JSON.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.address, WITHIN)?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.set_write_timeout(Some(WITHIN))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n{length}\r\n",
            self.address
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&String::from_utf8_lossy(&answer))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer of the admin listener"))
    }

    /// Reads a document; an error in one sentence if it cannot be read.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        match self.ask("GET", path, None) {
            Ok((200, document)) => Ok(document),
            Ok((status, document)) => Err(format!("GET {path}: {status} {document}")),
            Err(error) => Err(format!("GET {path}: {error}")),
        }
    }
}

fn parse(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read_and_a_half_answer_is_not() {
        let answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n{\"a\": 1}\n";
        assert_eq!(parse(answer), Some((202, serde_json::json!({"a": 1}))));
        assert_eq!(parse(&answer[..answer.len() - 3]), None);
    }
}
