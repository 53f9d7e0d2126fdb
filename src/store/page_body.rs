//! The body of a page: publications in the order read, cut at the page's bound and put in ascending order.

use crate::id::Offset;
use crate::job::{Form, Page, PageRequest, Span};
use crate::wire::publication::Stored;
use crate::wire::push::{self, LogPosition};

/// A page being filled. The pieces are in the order read, which is descending for [`Span::Before`].
pub(crate) struct PageBody<'a> {
    request: &'a PageRequest,
    bytes: Vec<u8>,
    /// The end of each piece in `bytes`, and its offset.
    pieces: Vec<(usize, Offset)>,
}

/// The room that a page has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There may be more.
    Some,
    /// The page is full, without the publication just offered.
    None,
}

impl PageBody<'_> {
    pub(crate) fn new(request: &PageRequest) -> PageBody<'_> {
        PageBody { request, bytes: Vec::new(), pieces: Vec::new() }
    }

    /// Takes the next publication in the order read, if it fits.
    pub(crate) fn take(&mut self, stored: &Stored<'_>) -> Room {
        match self.request.form {
            Form::Json => push::publication_body(&mut self.bytes, &self.request.channel, stored),
            Form::Frames => push::publication(&mut self.bytes, &self.request.channel, stored),
        }
        match self.pieces.last() {
            Some((end, _)) if self.bytes.len() + self.commas() > self.request.bytes_max => {
                self.bytes.truncate(*end);
                Room::None
            }
            Some(_) | None => {
                self.pieces.push((self.bytes.len(), stored.offset));
                Room::Some
            }
        }
    }

    /// The number of commas between the pieces so far and the one just written.
    fn commas(&self) -> usize {
        match self.request.form {
            Form::Json => self.pieces.len(),
            Form::Frames => 0,
        }
    }

    /// Puts the pieces in ascending order, with commas between them in JSON.
    pub(crate) fn finish(self, position: LogPosition) -> Page {
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        let ends: Vec<usize> = self.pieces.iter().map(|(end, _)| *end).collect();
        let read_first = self.pieces.first().map_or(Offset::ZERO, |(_, offset)| *offset);
        let read_last = self.pieces.last().map_or(Offset::ZERO, |(_, offset)| *offset);
        let (first, last) = (read_first.min(read_last), read_first.max(read_last));
        let body = match (self.request.form, self.request.span) {
            (Form::Frames, Span::After(_)) => self.bytes,
            (form, span) => join(&self.bytes, &ends, form, span),
        };
        Page { position, count, first, last, body, has_streams: false }
    }
}

impl<'a> PageBody<'a> {
    pub(crate) fn request(&self) -> &'a PageRequest {
        self.request
    }
}

fn join(bytes: &[u8], ends: &[usize], form: Form, span: Span) -> Vec<u8> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let mut pieces: Vec<&[u8]> = starts.zip(ends).filter_map(|(start, end)| bytes.get(start..*end)).collect();
    if let Span::Before(_) = span {
        pieces.reverse();
    }
    match form {
        Form::Json => pieces.join(&b","[..]),
        Form::Frames => pieces.concat(),
    }
}
