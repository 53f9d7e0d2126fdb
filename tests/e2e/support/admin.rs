//! An operator: the address of the admin listener, its token, and one connection for each request.

use super::gateway::Gateway;
use super::raw::{RawClient, Response, dial};
use super::wait::{SOON, until};
use serde_json::Value;
use std::net::SocketAddr;

/// A client of the admin listener.
#[derive(Clone, Debug)]
pub struct Operator {
    pub address: SocketAddr,
    pub token: String,
}

impl Operator {
    /// The operator of a gateway with an admin listener, with the token of its data folder.
    #[track_caller]
    pub fn of(gateway: &Gateway) -> Operator {
        let path = gateway.setup().data().join("admin.token");
        let token = std::fs::read_to_string(path).expect("the token is in the data folder");
        Operator { address: address(gateway), token: token.trim().into() }
    }

    pub fn connect(&self) -> RawClient {
        RawClient::plain(dial(self.address, None, None).expect("the admin listener accepts"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, None)
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let authorization = format!("Authorization: Bearer {}", self.token);
        self.send_lines(method, path, &[&authorization], body)
    }

    /// Sends a request with these header lines.
    #[track_caller]
    pub fn send_lines(&self, method: &str, path: &str, lines: &[&str], body: Option<Value>) -> Response {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for line in lines {
            request.push_str(&format!("{line}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut client = self.connect();
        client.write(format!("{request}\r\n{body}").as_bytes());
        let response = if method == "HEAD" { client.head() } else { client.response() };
        client.expect_end();
        response
    }
}

/// The admin listener's address, as the gateway prints it.
#[track_caller]
pub fn address(gateway: &Gateway) -> SocketAddr {
    let mut address = None;
    until(SOON, "the gateway prints the address of its admin listener", || {
        let said = gateway.output();
        let line = said.lines().find_map(|line| line.trim().strip_prefix("admin  ")).map(str::trim);
        let host = line.and_then(|line| line.strip_prefix("http://")?.split('/').next());
        address = host.and_then(|host| host.parse().ok());
        address.is_some()
    });
    address.expect("just seen")
}
