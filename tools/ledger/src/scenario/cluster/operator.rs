//! An operator who ends sessions while faults happen: disconnects, blocks and revocations, at any instance.

use crate::clock::{self, Micros};
use crate::crowd::role::{unix_s, user_name};
use crate::gateway::admin::Admin;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use fastrand::Rng;
use serde_json::{Value, json};
use std::thread::JoinHandle;
use std::time::Duration;

/// The time between two orders.
const PAUSE_MS: std::ops::Range<u64> = 1_500..4_500;
/// The time between two attempts at an order that was not taken.
const AGAIN: Duration = Duration::from_millis(500);
/// A day, in milliseconds: blocks and revocations outlast a run.
const DAY_MS: u64 = 86_400_000;

/// An order that was given and taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub number: u64,
    /// The user whose sessions it ends.
    pub user: u32,
    /// True if the user is shut out, and may not come back.
    pub is_final: bool,
    /// When it was first sent, and when it was answered.
    pub asked: Micros,
    pub answered: Micros,
    /// The answer said that all living instances had carried it out.
    pub was_complete: bool,
    /// Attempts that were refused or not answered.
    pub failures: u32,
}

/// The thread that gives orders.
pub struct Operator {
    over: Sender<()>,
    thread: JoinHandle<Vec<Given>>,
}

/// Whom orders are about.
#[derive(Clone, Debug)]
pub struct Users {
    /// Users that are disconnected at random, and come back.
    pub any: u32,
    /// Users that are shut out, one after the other.
    pub shut_out: Vec<u32>,
}

impl Operator {
    /// Starts to give orders at these instances.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no thread.
    pub fn start(seed: u64, admins: Vec<Admin>, users: Users) -> Result<Operator, String> {
        let (over, ended) = bounded(0);
        let body = move || give_all(&mut Rng::with_seed(seed), &admins, users, &ended);
        let thread = std::thread::Builder::new().name("operator".into()).spawn(body);
        Ok(Operator { over, thread: thread.map_err(|error| format!("no thread: {error}"))? })
    }

    /// Stops, once the order in progress is taken, and returns all orders.
    pub fn finish(self) -> Vec<Given> {
        drop(self.over);
        self.thread.join().unwrap_or_default()
    }
}

fn give_all(rng: &mut Rng, admins: &[Admin], mut users: Users, ended: &Receiver<()>) -> Vec<Given> {
    let mut given: Vec<Given> = Vec::new();
    while rest(Duration::from_millis(rng.u64(PAUSE_MS)), ended) {
        // Every fourth order shuts a user out, until none is left.
        let shut_out = if given.len() % 4 == 3 { users.shut_out.pop() } else { None };
        let user = shut_out.unwrap_or_else(|| rng.u32(..users.any.max(1)));
        let measure = match shut_out {
            None => Measure::Disconnect,
            Some(_) if rng.bool() => Measure::Block,
            Some(_) => Measure::Revoke,
        };
        let (asked, mut failures) = (clock::now(), 0);
        loop {
            let Some(admin) = rng.choice(admins) else { return given };
            let (method, path, body) = request(user, measure);
            if let Ok((200, answer)) = admin.ask(method, &path, Some(&body)) {
                given.push(Given {
                    number: answer["order"].as_u64().unwrap_or(0),
                    user,
                    is_final: shut_out.is_some(),
                    asked,
                    answered: clock::now(),
                    was_complete: answer["complete"] == true,
                    failures,
                });
                break;
            }
            failures += 1;
            if !rest(AGAIN, ended) {
                return given;
            }
        }
    }
    given
}

/// Waits; false once the run is over.
fn rest(length: Duration, ended: &Receiver<()>) -> bool {
    ended.recv_timeout(length) == Err(RecvTimeoutError::Timeout)
}

/// The effect of an order on a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Ends the sessions; the user comes back.
    Disconnect,
    Block,
    Revoke,
}

/// The request of an order.
fn request(user: u32, measure: Measure) -> (&'static str, String, Value) {
    let name = user_name(user);
    match measure {
        Measure::Disconnect => ("POST", format!("/users/{name}/disconnect"), json!({ "reason": "ledger" })),
        Measure::Block => ("PUT", format!("/users/{name}/block"), json!({ "reason": "ledger" })),
        Measure::Revoke => {
            // Tokens are made at each connection, and those of the rest of the run are meant as well.
            let tomorrow = unix_s() * 1_000 + DAY_MS;
            let body = json!({ "user": name, "issued_before": tomorrow, "until": tomorrow + DAY_MS });
            ("POST", "/tokens/revoke".to_owned(), body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_their_user() {
        assert_eq!(request(7, Measure::Disconnect).1, "/users/u7/disconnect");
        assert_eq!(request(7, Measure::Block).0, "PUT");
        assert_eq!(request(7, Measure::Revoke).2["user"], "u7");
    }
}
