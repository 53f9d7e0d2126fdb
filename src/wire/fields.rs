//! The header fields this server reads, collected in one pass over the lines of a head.
//!
//! Collecting does not check anything: a repeated field is kept as [`Field::Repeated`], and the reader of the field
//! decides whether that is an error. List fields (RFC 9110 section 5.6.1) are reduced to the members that matter
//! here.

/// A field that may occur once in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Absent,
    /// The value of its only line, without surrounding white space.
    Once(&'a [u8]),
    /// Several lines, so that the value is ambiguous.
    Repeated,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Field::Absent => Field::Once(value),
            Field::Once(_) | Field::Repeated => Field::Repeated,
        };
    }

    /// True exactly when the head has no such line.
    pub const fn is_absent(self) -> bool {
        matches!(self, Field::Absent)
    }
}

/// The fields of one head that this server reads.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub host: Field<'a>,
    pub content_length: Field<'a>,
    pub transfer_encoding: Field<'a>,
    pub expect: Field<'a>,
    pub origin: Field<'a>,
    pub authorization: Field<'a>,
    /// `Sec-WebSocket-Key`
    pub key: Field<'a>,
    /// `Sec-WebSocket-Version`
    pub version: Field<'a>,
    /// `Sec-WebSocket-Protocol`, a list that may be spread over several lines.
    pub protocol: Field<'a>,
    /// True exactly when `Connection` names `close`.
    pub connection_close: bool,
    /// True exactly when `Connection` names `upgrade`.
    pub connection_upgrade: bool,
    /// True exactly when `Upgrade` names `websocket`.
    pub upgrade_websocket: bool,
    /// True exactly when there is an `Upgrade`, whatever it names.
    pub upgrade: bool,
}

impl<'a> Fields<'a> {
    const NONE: Fields<'static> = Fields {
        host: Field::Absent,
        content_length: Field::Absent,
        transfer_encoding: Field::Absent,
        expect: Field::Absent,
        origin: Field::Absent,
        authorization: Field::Absent,
        key: Field::Absent,
        version: Field::Absent,
        protocol: Field::Absent,
        connection_close: false,
        connection_upgrade: false,
        upgrade_websocket: false,
        upgrade: false,
    };

    /// Collects the fields in one pass over the lines.
    pub fn collect(lines: &[httparse::Header<'a>]) -> Fields<'a> {
        let mut fields: Fields<'a> = Fields::NONE;
        for line in lines {
            fields.add(line.name, line.value);
        }
        fields
    }

    /// Compares the length first, because most lines of a browser's head match no length here and so cost one comparison.
    fn add(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => self.host.add(value),
            6 if is("origin") => self.origin.add(value),
            6 if is("expect") => self.expect.add(value),
            7 if is("upgrade") => {
                self.upgrade = true;
                self.upgrade_websocket |= members(value).any(|m| m.eq_ignore_ascii_case(b"websocket"));
            }
            10 if is("connection") => {
                for member in members(value) {
                    self.connection_close |= member.eq_ignore_ascii_case(b"close");
                    self.connection_upgrade |= member.eq_ignore_ascii_case(b"upgrade");
                }
            }
            13 if is("authorization") => self.authorization.add(value),
            14 if is("content-length") => self.content_length.add(value),
            17 if is("sec-websocket-key") => self.key.add(value),
            17 if is("transfer-encoding") => self.transfer_encoding.add(value),
            21 if is("sec-websocket-version") => self.version.add(value),
            22 if is("sec-websocket-protocol") => self.protocol.add(value),
            _ => {}
        }
    }
}

/// The members of a comma-separated list, trimmed; empty ones are skipped (RFC 9110 section 5.6.1.2).
pub fn members(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

/// True exactly when the text is a token of RFC 9110 section 5.6.2.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The trimmed values of every line with that name, in order. `head` must be a parsed head: its lines end in CR LF
/// and none is folded. The request line cannot match, because a name has no space.
pub fn values<'a>(head: &'a [u8], name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    head.split(|b| *b == b'\n').filter_map(move |line| {
        let value = line.get(name.len()..)?.strip_prefix(b":")?;
        let named = line.get(..name.len())?.eq_ignore_ascii_case(name.as_bytes());
        named.then(|| value.trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_members_are_trimmed_and_empty_ones_skipped() {
        let all: Vec<&[u8]> = members(b" a ,, b\t,c,").collect();
        assert_eq!(all, [b"a", b"b", b"c"]);
        assert_eq!(members(b" , ").count(), 0);
    }

    #[test]
    fn values_come_in_order_from_every_line_of_that_name() {
        let head = b"GET /x: HTTP/1.1\r\nX-A: 1\r\nx-ab: no\r\nx-a:2 \r\nX-A:\r\n\r\n";
        let all: Vec<&[u8]> = values(head, "x-a").collect();
        assert_eq!(all, [&b"1"[..], b"2", b""]);
        assert_eq!(values(head, "x-a").next_back(), Some(&b""[..]));
        assert_eq!(values(head, "GET /x").count(), 1, "so a name must not contain a space");
    }

    #[test]
    fn token_with_a_separator_is_invalid() {
        assert!(is_token(b"seawall.token.aB_-.~"));
        for text in ["", "a b", "a/b", "a=b", "\"a\"", "é", "a\t"] {
            assert!(!is_token(text.as_bytes()), "{text}");
        }
    }
}
