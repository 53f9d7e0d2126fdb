//! Scans JSON text once from left to right: checks the grammar of RFC 8259 and points at values in place.
//!
//! A client's JSON is mostly `data`, which the gateway never reads. So there is no tree: a value is a slice of the
//! received text with a known kind. Nesting is counted instead of recursed into, so that a hundred thousand brackets
//! cost one bit each.

use crate::id::INTEGER_MAX;
use crate::wire::plain::plain_bytes;
use std::borrow::Cow;
use std::fmt;

/// The kind of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// A string without escapes.
    Plain,
    /// A string with at least one escape.
    Escaped,
    /// A number of any size and form.
    Number,
    /// `true` or `false`.
    Truth,
    Null,
}

/// One value: the text as received, without surrounding white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Valid JSON.
    pub text: &'a str,
    pub kind: JsonKind,
}

/// The reason why a value is not a valid integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerFault {
    /// It is not a number, or has a sign, a fraction or an exponent.
    Form,
    /// It is greater than [`INTEGER_MAX`].
    TooBig,
}

/// The place where a text stops being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The index of the byte, from 0.
    pub at: usize,
    /// The expected syntax at that place.
    pub wanted: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON: expected {} at byte {}", self.wanted, self.at)
    }
}

impl<'a> Raw<'a> {
    /// The string with its escapes resolved; `None` if it is not a string or contains half a surrogate pair.
    #[inline]
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self.kind {
            JsonKind::Plain => self.text.get(1..self.text.len().saturating_sub(1)).map(Cow::Borrowed),
            JsonKind::Escaped => self.unescaped(),
            JsonKind::Object | JsonKind::Array | JsonKind::Number | JsonKind::Truth | JsonKind::Null => None,
        }
    }

    /// Out of line, so that [`Raw::string`] stays short enough to be inlined wherever names and short texts are read.
    #[cold]
    fn unescaped(self) -> Option<Cow<'a, str>> {
        serde_json::from_str(self.text).ok().map(Cow::Owned)
    }

    /// The number, if it is written in digits only: no `1.0`, no `1e3`, no `-0`.
    pub fn integer(self) -> Result<u64, IntegerFault> {
        if !self.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IntegerFault::Form);
        }
        match self.text.parse() {
            Ok(value) if value <= INTEGER_MAX => Ok(value),
            Ok(_) | Err(_) => Err(IntegerFault::TooBig),
        }
    }
}

impl JsonKind {
    /// The name of the kind with its article, for messages.
    pub const fn describe(self) -> &'static str {
        match self {
            JsonKind::Object => "an object",
            JsonKind::Array => "an array",
            JsonKind::Plain | JsonKind::Escaped => "a string",
            JsonKind::Number => "a number",
            JsonKind::Truth => "true or false",
            JsonKind::Null => "null",
        }
    }
}

/// A position in a text. Each method moves past the value it read. The position is undefined after a [`Broken`].
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    deepest: u32,
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte.
    pub const fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, depth: 0, deepest: 0 }
    }

    /// The largest depth of nested arrays and objects so far; a flat object is 1.
    pub const fn deepest(&self) -> u32 {
        self.deepest
    }

    /// The next byte that is not white space, without moving past it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Moves past one value of any kind and depth.
    #[inline]
    pub fn value(&mut self) -> Result<Raw<'a>, Broken> {
        let first = self.peek();
        let start = self.at;
        let kind = match first {
            Some(b'{') => self.nested().map(|()| JsonKind::Object),
            Some(b'[') => self.nested().map(|()| JsonKind::Array),
            _ => self.scalar(),
        }?;
        Ok(Raw { text: self.since(start), kind })
    }

    /// Moves past an object. `member` is called after each name and must move past the value. A name that is not
    /// valid text (half a surrogate pair) is passed as written, with its quotes, which equals no known name.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Scanner<'a>, Cow<'a, str>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.take(b'{', "an object")?;
        self.enter();
        if self.peek() != Some(b'}') {
            loop {
                let raw = self.name()?;
                member(self, raw.string().unwrap_or(Cow::Borrowed(raw.text)))?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b'}', "',' or '}'")
    }

    /// Moves past an array. `element` must move past one value in each call.
    pub fn array(
        &mut self,
        mut element: impl FnMut(&mut Scanner<'a>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.take(b'[', "an array")?;
        self.enter();
        if self.peek() != Some(b']') {
            loop {
                element(self)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b']', "',' or ']'")
    }

    /// Checks that only white space is left.
    pub fn end(&mut self) -> Result<(), Broken> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.broken("the end")),
        }
    }

    /// Moves past an array or object with everything in it.
    fn nested(&mut self) -> Result<(), Broken> {
        let mut open = Nesting::default();
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.open(&mut open, Container::Object);
                    if self.peek() != Some(b'}') {
                        self.name()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    self.open(&mut open, Container::Array);
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            if self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    fn open(&mut self, open: &mut Nesting, container: Container) {
        open.push(container);
        self.enter();
    }

    /// Closes the containers that end after a value, up to the next comma. True exactly when all are closed.
    fn close(&mut self, open: &mut Nesting) -> Result<bool, Broken> {
        while let Some(innermost) = open.innermost() {
            match (innermost, self.peek()) {
                (Container::Object, Some(b',')) => {
                    self.at += 1;
                    self.name()?;
                    return Ok(false);
                }
                (Container::Array, Some(b',')) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => {
                    self.at += 1;
                    self.depth -= 1;
                    open.pop();
                }
                (Container::Object, _) => return Err(self.broken("',' or '}'")),
                (Container::Array, _) => return Err(self.broken("',' or ']'")),
            }
        }
        Ok(true)
    }

    /// Moves past a member's name and the colon after it.
    #[inline]
    fn name(&mut self) -> Result<Raw<'a>, Broken> {
        if self.peek() != Some(b'"') {
            return Err(self.broken("a name in double quotes"));
        }
        let start = self.at;
        let kind = self.string()?;
        let raw = Raw { text: self.since(start), kind };
        self.take(b':', "':'")?;
        Ok(raw)
    }

    fn scalar(&mut self) -> Result<JsonKind, Broken> {
        match self.byte() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", JsonKind::Truth),
            Some(b'f') => self.literal("false", JsonKind::Truth),
            Some(b'n') => self.literal("null", JsonKind::Null),
            _ => Err(self.broken("a value")),
        }
    }

    fn literal(&mut self, word: &'static str, kind: JsonKind) -> Result<JsonKind, Broken> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.broken("a value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    #[inline]
    fn string(&mut self) -> Result<JsonKind, Broken> {
        self.at += 1;
        let mut kind = JsonKind::Plain;
        loop {
            self.at += plain_bytes(self.rest());
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(kind);
                }
                Some(b'\\') => {
                    kind = JsonKind::Escaped;
                    self.escape()?;
                }
                Some(_) => return Err(self.broken("an escape in place of a control character")),
                None => return Err(self.broken("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Broken> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.broken("four hexadecimal digits"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.broken("an escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<JsonKind, Broken> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(JsonKind::Number)
    }

    fn digits(&mut self) -> Result<(), Broken> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.broken("a digit")) } else { Ok(()) }
    }

    #[inline]
    fn take(&mut self, byte: u8, wanted: &'static str) -> Result<(), Broken> {
        if self.peek() != Some(byte) {
            return Err(self.broken(wanted));
        }
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn enter(&mut self) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text from `start` to here. Values begin and end with ASCII, so the cut is never inside a character.
    #[inline]
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    const fn broken(&self, wanted: &'static str) -> Broken {
        Broken { at: self.at, wanted }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// The open containers, one bit each: the inner 64 in one word, the others in a vector.
#[derive(Debug, Default)]
struct Nesting {
    inner: u64,
    outer: Vec<u64>,
    depth: u32,
}

impl Nesting {
    fn push(&mut self, container: Container) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = self.inner << 1 | u64::from(container == Container::Object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.inner >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    const fn innermost(&self) -> Option<Container> {
        match (self.depth, self.inner & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Array),
            (_, _) => Some(Container::Object),
        }
    }
}

#[cfg(test)]
mod tests;
