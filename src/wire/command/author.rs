//! The author that a backend names in a command: the member `user`, which the commands of clients do not have.

use super::arguments::{self, Arguments, Complaint};
use super::rejected::Rejected;
use crate::id::UserName;
use crate::wire::scan::Scanner;

/// The commands that may name an author.
const COMMANDS: [&str; 5] = ["publish", "append", "restart", "end", "cancel"];

/// Reads `user` in a command that [`parse`](super::parse()) has accepted.
pub fn named_author(text: &str) -> Result<Option<UserName>, Rejected> {
    let reject = |complaint: Complaint| {
        let Complaint { fault, message } = complaint;
        Rejected { id: None, fault, message }
    };
    let mut found = None;
    let scanned = Scanner::new(text).object(|scanner, name| {
        match COMMANDS.into_iter().find(|command| *command == name) {
            Some(command) => found.insert(Arguments::none(command, &["user"])).scan(scanner),
            None => scanner.value().map(|_| ()),
        }
    });
    scanned.map_err(|broken| reject(Complaint::malformed(broken.to_string())))?;
    let Some(found) = found else { return Ok(None) };
    found.check().and_then(|()| found.optional("user", arguments::user)).map_err(reject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn author_is_the_member_of_the_command_alone() {
        let named = |text: &str| named_author(text).map(|user| user.map(|user| user.to_string()));
        let append = r#"{"append":{"channel":"c","offset":1,"user":"bot","text":"{\"user\":\"eve\"}"}}"#;
        assert_eq!(named(append), Ok(Some("bot".into())));
        assert_eq!(named(r#"{"id":1,"publish":{"data":{"user":"eve"}},"user":"eve"}"#), Ok(None));
        assert_eq!(named(r#"{"history":{"user":"eve"}}"#), Ok(None));
        for wrong in [r#"{"end":{"user":1}}"#, r#"{"end":{"user":""}}"#, r#"{"end":{"user":"a","user":"b"}}"#]
        {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
