//! A finding of a rule: its place, its text and the remedy.

use std::fmt;

#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub fn finding(path: &str, line: usize, what: impl Into<String>) -> Finding {
    Finding { path: path.into(), line, what: what.into() }
}
