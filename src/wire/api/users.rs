//! Users and where they are connected, as JSON.

use super::answer::online;
use super::problem::{ApiProblem, ProblemCode};
use crate::id::{USER_BYTES_MAX, UserName};
use crate::wire::json;
use crate::wire::user_fields::UserConnections;
use serde::Deserialize;

/// A user, as it is answered.
#[derive(Clone, Debug)]
pub struct UserAnswer<'a> {
    pub user: &'a str,
    /// `None`: not known.
    pub is_online: Option<bool>,
    /// At all instances that are known.
    pub connections: u64,
    /// The instances with connections of the user.
    pub instances: Vec<(&'a str, UserConnections)>,
}

/// Appends one user with its instances: `GET /v1/users/U`.
pub fn user(out: &mut Vec<u8>, answer: &UserAnswer<'_>, facts: UserFacts) {
    json::object(out, |out| {
        summary(out, answer);
        json::key(out, "instances");
        out.push(b'[');
        for (at, (name, connections)) in answer.instances.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::object(out, |out| {
                json::text(out, "name", name);
                json::integer(out, "connections", connections.connections.into());
                json::integer(out, "since", connections.since_unix_ms);
            });
        }
        out.push(b']');
        json::truth(out, "blocked", facts.is_blocked);
        json::truth(out, "complete", facts.is_complete);
    });
    out.push(b'\n');
}

/// Further facts about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFacts {
    pub is_blocked: bool,
    /// All instances are known.
    pub is_complete: bool,
}

/// Appends several users without their instances: `POST /v1/users/lookup`. Returns the text with `complete` last.
pub fn users<'a>(out: &mut Vec<u8>, answers: impl Iterator<Item = UserAnswer<'a>>) {
    out.extend_from_slice(b"\"users\":[");
    for (at, answer) in answers.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::object(out, |out| summary(out, &answer));
    }
    out.push(b']');
}

fn summary(out: &mut Vec<u8>, answer: &UserAnswer<'_>) {
    json::text(out, "user", answer.user);
    online(out, answer.is_online);
    json::integer(out, "connections", answer.connections);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupBody {
    users: Vec<String>,
}

/// The characters of an error about JSON that are repeated.
const ERROR_CHARS_MAX: usize = 160;

/// Reads the body of a look-up, `{"users":[…]}`, of at most `most` users.
pub fn lookup(text: &str, most: usize) -> Result<Vec<UserName>, ApiProblem> {
    let malformed = |detail: String| ApiProblem::lasting(ProblemCode::Malformed, detail);
    // Otherwise a list would be read as the members in their order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("the body must be an object: {\"users\":[…]}".into()));
    }
    let LookupBody { users } = serde_json::from_str(text).map_err(|error| {
        // It repeats names of the body, however long they are.
        let error = error.to_string();
        let shown: String = error.chars().filter(|char| !char.is_control()).take(ERROR_CHARS_MAX).collect();
        malformed(format!("the body must be {{\"users\":[…]}} with names of users: {shown}"))
    })?;
    if users.is_empty() || users.len() > most {
        let code = if users.is_empty() { ProblemCode::Malformed } else { ProblemCode::TooLarge };
        return Err(ApiProblem::lasting(
            code,
            format!("users must have 1 to {most} names, got {}", users.len()),
        ));
    }
    let name = |(at, name): (usize, &String)| {
        UserName::parse(name).map_err(|_| {
            malformed(format!("users[{at}] must be 1 to {USER_BYTES_MAX} bytes without control characters"))
        })
    };
    users.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn user_is_answered_with_its_instances_and_what_is_not_known() {
        let connections = UserConnections { connections: 2, since_unix_ms: 7 };
        let answer = UserAnswer {
            user: "ann",
            is_online: Some(true),
            connections: 2,
            instances: vec![("gw-1", connections)],
        };
        let mut out = Vec::new();
        user(&mut out, &answer, UserFacts { is_blocked: false, is_complete: false });
        let expected = json!({"user": "ann", "online": true, "connections": 2, "blocked": false, "complete": false,
            "instances": [{"name": "gw-1", "connections": 2, "since": 7}]});
        assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), expected);
        let unknown = UserAnswer { is_online: None, connections: 0, instances: vec![], ..answer };
        let mut out = Vec::new();
        json::object(&mut out, |out| users(out, [unknown.clone(), unknown].into_iter()));
        let one = json!({"user": "ann", "online": null, "connections": 0});
        assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), json!({"users": [one, one]}));
    }

    #[test]
    fn body_that_is_no_look_up_is_refused_with_the_bound() {
        let names =
            |text| lookup(text, 2).map(|users| users.iter().map(UserName::to_string).collect::<Vec<_>>());
        assert_eq!(names(r#"{"users":["ann","b/c"]}"#), Ok(vec!["ann".into(), "b/c".into()]));
        for (text, code, words) in [
            ("", ProblemCode::Malformed, "an object"),
            (r#"["ann"]"#, ProblemCode::Malformed, "an object"),
            (r#"{"users":["a"],"more":1}"#, ProblemCode::Malformed, "more"),
            (r#"{"users":["a"],"users":["b"]}"#, ProblemCode::Malformed, "duplicate"),
            (r#"{"users":[1]}"#, ProblemCode::Malformed, "string"),
            (r#"{"users":[]}"#, ProblemCode::Malformed, "1 to 2"),
            (r#"{"users":["a","b","c"]}"#, ProblemCode::TooLarge, "1 to 2 names, got 3"),
            (r#"{"users":["a",""]}"#, ProblemCode::Malformed, "users[1]"),
        ] {
            let problem = lookup(text, 2).expect_err(text);
            assert_eq!(problem.code, code, "{text}");
            assert!(problem.detail.contains(words), "{text}: {}", problem.detail);
        }
    }
}
