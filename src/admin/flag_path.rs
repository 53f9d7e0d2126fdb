//! Paths of flags, and what a request asks of them.

use super::bodies::switch;
use super::refusal::AdminRefusal;
use crate::flag::Switch;
use crate::wire::request::Method;

/// A question about flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagQuestion {
    All,
    /// To switch the flag with this name.
    Switch(String, Switch),
}

/// A path of flags.
#[derive(Clone, Copy, Debug)]
pub(super) enum FlagPath<'a> {
    All,
    One(&'a str),
}

impl FlagPath<'_> {
    pub(super) fn of(path: &str) -> Option<FlagPath<'_>> {
        match path.strip_prefix("/flags")? {
            "" => Some(FlagPath::All),
            rest => rest.strip_prefix('/').map(FlagPath::One),
        }
    }

    pub(super) fn question(self, method: Method, body: &[u8]) -> Result<FlagQuestion, AdminRefusal> {
        match (self, method) {
            (FlagPath::All, Method::Get | Method::Head) => Ok(FlagQuestion::All),
            (FlagPath::All, _) => Err(AdminRefusal::method("GET, HEAD")),
            (FlagPath::One(name), Method::Put) => Ok(FlagQuestion::Switch(name.to_owned(), switch(body)?)),
            (FlagPath::One(_), _) => Err(AdminRefusal::method("PUT")),
        }
    }
}
