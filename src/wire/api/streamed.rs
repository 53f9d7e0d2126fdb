//! A request body that is read while it arrives: its framing, and its lines.
//!
//! A chunk (RFC 9112 section 7.1) must be exactly what the RFC says, or nothing after it can be trusted: two readers that disagree on the
//! end of a body disagree on the next request. Chunk extensions and trailers are dropped, within a bound.

/// The longest line of a body, without its line end.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// The longest size line of a chunk, with its extensions and line end.
const SIZE_LINE_BYTES_MAX: usize = 128;
/// The digits of a chunk's size: 4 GiB.
const SIZE_DIGITS_MAX: usize = 8;
/// All trailers together.
const TRAILER_BYTES_MAX: usize = 4 << 10;

/// The fault of a body. Nothing after it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The size line of a chunk is none, or has over 128 bytes.
    ChunkSize,
    /// A chunk does not end where its size says.
    ChunkEnd,
    /// The trailers are no lines, or have over 4 KiB.
    Trailers,
    /// A line has over 64 KiB.
    LineTooLong,
}

impl BodyFault {
    /// The fault, and what to do.
    pub const fn detail(self) -> &'static str {
        match self {
            BodyFault::ChunkSize => {
                "a chunk must begin with its size: 1 to 8 hexadecimal digits, extensions and CR LF, at most 128 bytes"
            }
            BodyFault::ChunkEnd => "a chunk must end with CR LF after as many bytes as its size says",
            BodyFault::Trailers => "trailers must be lines that end with CR LF, at most 4096 bytes together",
            BodyFault::LineTooLong => "a line has over 65536 bytes; send the text in several appends",
        }
    }
}

/// The state of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProgress {
    /// More is to come.
    Partial,
    Complete,
}

/// Takes the framing off a body.
#[derive(Debug)]
pub struct BodyReader {
    state: ReaderState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReaderState {
    /// Bytes of a body with `Content-Length` that are left.
    Counted(usize),
    /// At the size line of a chunk.
    Size,
    /// Bytes of a chunk that are left; at least one.
    Data(usize),
    /// At the line end after a chunk.
    DataEnd,
    /// After the last chunk, with the bytes of trailers so far.
    Trailers(usize),
    Complete,
}

impl BodyReader {
    /// A body of this many bytes.
    pub fn counted(bytes: usize) -> BodyReader {
        BodyReader { state: if bytes == 0 { ReaderState::Complete } else { ReaderState::Counted(bytes) } }
    }

    /// A body with the transfer coding `chunked`.
    pub fn chunked() -> BodyReader {
        BodyReader { state: ReaderState::Size }
    }

    /// Moves the content of what was received to `content`. What is left in `received` is the beginning of a size line, of a line end or
    /// of a trailer, or follows the body.
    pub fn read(&mut self, received: &mut Vec<u8>, content: &mut Vec<u8>) -> Result<BodyProgress, BodyFault> {
        let mut rest = received.as_slice();
        let progress = loop {
            match self.step(&mut rest, content) {
                Ok(Step::Goes) => {}
                Ok(Step::Lacks) => break Ok(BodyProgress::Partial),
                Ok(Step::Done) => break Ok(BodyProgress::Complete),
                Err(fault) => break Err(fault),
            }
        };
        let taken = received.len() - rest.len();
        received.drain(..taken);
        progress
    }

    fn step(&mut self, rest: &mut &[u8], content: &mut Vec<u8>) -> Result<Step, BodyFault> {
        let (next, step) = match self.state {
            ReaderState::Complete => return Ok(Step::Done),
            ReaderState::Counted(left) => match take(rest, left, content) {
                0 => return Ok(Step::Lacks),
                taken if taken == left => (ReaderState::Complete, Step::Done),
                taken => (ReaderState::Counted(left - taken), Step::Lacks),
            },
            ReaderState::Size => {
                let Some(line) = line(rest, SIZE_LINE_BYTES_MAX, BodyFault::ChunkSize)? else {
                    return Ok(Step::Lacks);
                };
                match chunk_size(line)? {
                    0 => (ReaderState::Trailers(0), Step::Goes),
                    size => (ReaderState::Data(size), Step::Goes),
                }
            }
            ReaderState::Data(left) => match take(rest, left, content) {
                0 => return Ok(Step::Lacks),
                taken if taken == left => (ReaderState::DataEnd, Step::Goes),
                taken => (ReaderState::Data(left - taken), Step::Lacks),
            },
            ReaderState::DataEnd => match *rest {
                [] | [b'\r'] => return Ok(Step::Lacks),
                [b'\r', b'\n', after @ ..] => {
                    *rest = after;
                    (ReaderState::Size, Step::Goes)
                }
                _ => return Err(BodyFault::ChunkEnd),
            },
            ReaderState::Trailers(taken) => {
                let Some(line) = line(rest, TRAILER_BYTES_MAX - taken, BodyFault::Trailers)? else {
                    return Ok(Step::Lacks);
                };
                match line.len() {
                    0 => (ReaderState::Complete, Step::Done),
                    bytes => (ReaderState::Trailers(taken + bytes + 2), Step::Goes),
                }
            }
        };
        self.state = next;
        Ok(step)
    }
}

enum Step {
    Goes,
    /// More bytes are needed.
    Lacks,
    Done,
}

/// Moves at most `most` bytes; returns their number.
fn take(rest: &mut &[u8], most: usize, content: &mut Vec<u8>) -> usize {
    let (taken, after) = rest.split_at(rest.len().min(most));
    content.extend_from_slice(taken);
    *rest = after;
    taken.len()
}

/// Takes a line that ends with CR LF and has, with that, at most `most` bytes. `None` if its end has not come.
fn line<'a>(rest: &mut &'a [u8], most: usize, fault: BodyFault) -> Result<Option<&'a [u8]>, BodyFault> {
    let window = rest.get(..most).unwrap_or(rest);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        // Control characters are no part of a line, and a bare CR is no line end.
        let body = window.strip_suffix(b"\r").unwrap_or(window);
        return if window.len() < most && body.iter().all(|byte| is_of_line(*byte)) {
            Ok(None)
        } else {
            Err(fault)
        };
    };
    let (taken, after) = rest.split_at(end + 1);
    *rest = after;
    match taken {
        [line @ .., b'\r', b'\n'] if line.iter().all(|byte| is_of_line(*byte)) => Ok(Some(line)),
        _ => Err(fault),
    }
}

fn is_of_line(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// Reads the size line of a chunk: digits, and extensions after a semicolon.
fn chunk_size(line: &[u8]) -> Result<usize, BodyFault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let is_end = rest.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    // White space is allowed only before the semicolon of an extension.
    let is_clean = is_end && (rest.is_empty() || rest.contains(&b';'));
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match (1..=SIZE_DIGITS_MAX).contains(&digits.len()) && is_clean {
        true => usize::from_str_radix(text, 16).map_err(|_| BodyFault::ChunkSize),
        false => Err(BodyFault::ChunkSize),
    }
}

/// Splits content into lines.
#[derive(Debug, Default)]
pub struct BodyLines {
    /// The content that is not split yet.
    pub content: Vec<u8>,
    /// The bytes at its beginning that have no line end.
    looked: usize,
}

impl BodyLines {
    /// The lines of this content.
    pub fn of(content: Vec<u8>) -> BodyLines {
        BodyLines { content, looked: 0 }
    }

    /// True if there is enough to split, so that no more should be read.
    pub fn has_much(&self) -> bool {
        self.content.len() > LINE_BYTES_MAX
    }

    /// The next line, without its end. The last line of a complete body needs no end. Empty lines are passed over.
    pub fn next(&mut self, progress: BodyProgress) -> Result<Option<Vec<u8>>, BodyFault> {
        loop {
            let unseen = self.content.get(self.looked..).unwrap_or_default();
            let end = unseen.iter().position(|byte| *byte == b'\n').map(|at| self.looked + at);
            let line = match (end, progress) {
                (Some(end), _) => {
                    let rest = self.content.split_off(end + 1);
                    let mut line = std::mem::replace(&mut self.content, rest);
                    line.pop();
                    line
                }
                (None, BodyProgress::Partial) => {
                    self.looked = self.content.len();
                    return if self.looked > LINE_BYTES_MAX { Err(BodyFault::LineTooLong) } else { Ok(None) };
                }
                (None, BodyProgress::Complete) if self.content.is_empty() => return Ok(None),
                (None, BodyProgress::Complete) => std::mem::take(&mut self.content),
            };
            self.looked = 0;
            if line.len() > LINE_BYTES_MAX {
                return Err(BodyFault::LineTooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests;
