//! The name that replaces the author of what was erased.

use crate::id::UserName;

/// Shown as the author of publications of erased users, and of the deletes that removed their text.
pub(super) const NAME: &str = "erased";

/// [`NAME`] as a user name.
pub(super) fn user() -> UserName {
    UserName::parse(NAME).unwrap_or_else(|_| UserName::anonymous())
}
