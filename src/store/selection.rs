//! The channels that an operator names: one, or all with a common beginning.

use crate::id::{ChannelName, NameFault};

/// A channel, or the channels whose names have a common beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Channel(ChannelName),
    /// The beginning; never empty.
    Beginning(String),
}

/// The channels that were dropped, and what they held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub channels: u64,
    pub publications: u64,
}

impl Selection {
    /// Parses `NAME` or `BEGINNING*`.
    pub fn parse(text: &str) -> Result<Selection, NameFault> {
        match text.strip_suffix('*') {
            None => ChannelName::parse(text).map(Selection::Channel),
            Some(beginning) => {
                ChannelName::check(beginning).map(|()| Selection::Beginning(beginning.to_owned()))
            }
        }
    }

    /// The first name that is selected, and a text after the last one. Names are compared byte by byte.
    pub(crate) fn range(&self) -> (String, String) {
        match self {
            Selection::Channel(name) => (name.as_str().to_owned(), format!("{}!", name.as_str())),
            // No name has a byte above `~`.
            Selection::Beginning(beginning) => (beginning.clone(), format!("{beginning}\u{7f}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_holds_exactly_the_selected_names() {
        let selects = |text, name: &str| {
            let (first, end) = Selection::parse(text).expect("valid").range();
            *first <= *name && *name < *end
        };
        let table = [
            ("room", "room", true),
            ("room", "room-1", false),
            ("room", "roo", false),
            ("room.*", "room.", true),
            ("room.*", "room.zz", true),
            ("room.*", "room", false),
            ("room.*", "rooms", false),
        ];
        for (text, name, expected) in table {
            assert_eq!(selects(text, name), expected, "{text} and {name}");
        }
        assert!(Selection::parse("*").is_err() && Selection::parse("a b").is_err());
    }
}
