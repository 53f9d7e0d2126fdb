//! An application backend that uses the server API.

use super::raw::Response;
use super::slow_store::judged;
use super::wait::{SOON, until};
use super::{Gateway, RawClient, Setup};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};

pub const KEY: &str = "shop-0123456789012345678901234567890123456789";
pub const READER: &str = "reader-0123456789012345678901234567890123456";
pub const PERSONAL: &str = "personal-01234567890123456789012345678901234";

fn keys() -> String {
    let key = |name: &str, secret: &str, rights: &str, channels: &str, as_user: &str| {
        format!(
            "[[api.keys]]\nname = \"{name}\"\nsecret = \"{secret}\"\nrights = {rights}\nchannels = {channels}\nas_user = {as_user}\n"
        )
    };
    let all = r#"["publish", "signal", "history", "moderate", "presence", "cluster", "users", "disconnect", "block", "rebalance", "erase", "stream"]"#;
    key("shop", KEY, all, r#"["*", "$user:*"]"#, "true")
        + &key("reader", READER, r#"["history"]"#, r#"["room.*"]"#, "false")
        + &key("personal", PERSONAL, r#"["publish"]"#, r#"["$user:*"]"#, "false")
}

/// A gateway with the API and three keys.
pub fn setup() -> Setup {
    with_api(Setup::new())
}

/// Adds the API and three keys.
pub fn with_api(setup: Setup) -> Setup {
    setup.toml(&format!("[api]\nlisten = \"127.0.0.1:0\"\n{}", keys()))
}

/// A connection of a backend.
pub struct Backend {
    pub raw: RawClient,
    key: String,
}

/// The address of the API.
pub fn address_of(gateway: &Gateway) -> SocketAddr {
    until(SOON, "the banner names it", || gateway.output().contains("server API"));
    let output = gateway.output();
    let line = output.lines().find(|line| line.contains("server API")).expect("a line");
    let (_, rest) = line.split_once("://").expect("an address");
    rest.trim_end_matches("/v1/").parse().expect("an address")
}

impl Backend {
    pub fn of(gateway: &Gateway) -> Backend {
        let stream = TcpStream::connect(address_of(gateway)).expect("it listens");
        Backend { raw: RawClient::from(stream), key: KEY.into() }
    }

    /// Presents another key, or a token.
    pub fn with(gateway: &Gateway, key: &str) -> Backend {
        Backend { key: key.to_owned(), ..Backend::of(gateway) }
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Value) -> Response {
        self.post_with(path, &body.to_string(), &[])
    }

    #[track_caller]
    pub fn post_with(&mut self, path: &str, body: &str, lines: &[&str]) -> Response {
        self.send("POST", path, body, lines)
    }

    #[track_caller]
    pub fn put(&mut self, path: &str, body: &Value) -> Response {
        self.send("PUT", path, &body.to_string(), &[])
    }

    #[track_caller]
    pub fn send(&mut self, method: &str, path: &str, body: &str, lines: &[&str]) -> Response {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {}\r\n", self.key);
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        head.extend(lines.iter().map(|line| format!("{line}\r\n")));
        self.raw.write(format!("{head}\r\n{body}").as_bytes());
        self.raw.response()
    }

    /// Sends a request, and leaves its answer.
    pub fn start(&mut self, path: &str, body: &str) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {}\r\n", self.key);
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw.write(format!("{head}{length}{body}").as_bytes());
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.bare("GET", path)
    }

    #[track_caller]
    pub fn delete(&mut self, path: &str) -> Response {
        self.bare("DELETE", path)
    }

    fn bare(&mut self, method: &str, path: &str) -> Response {
        let key = &self.key;
        self.raw.write(
            format!("{method} {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n\r\n")
                .as_bytes(),
        );
        self.raw.response()
    }

    /// The answer to a publication that is stored.
    #[track_caller]
    pub fn publish(&mut self, body: &Value) -> Value {
        let response = self.post("/v1/publish", body);
        if response.status != 200 {
            let error = serde_json::from_str(&response.body).unwrap_or_default();
            panic!("{}: {response:?}", judged(&error, "not stored"));
        }
        response.json()
    }
}

/// Checks that the answer is this problem, and returns it.
#[track_caller]
pub fn is_problem(response: &Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
    assert_eq!(response.header("retry-after").is_some(), problem["retry_ms"].is_number(), "{response:?}");
    problem
}
