//! Lines of a body that arrives in parts.

/// The longest line, in bytes without its end.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A line has more than [`LINE_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

/// The part of a body that is not a whole line yet. It holds at most one line.
#[derive(Debug, Default)]
pub struct LineBuffer {
    begun: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes of the body, and gives each line that they complete to `line`, without `\n` and a `\r` before it. Ends early if
    /// `line` does: with its error, and with the bytes after that line dropped.
    pub fn push<E: From<LineTooLong>>(
        &mut self,
        bytes: &[u8],
        mut line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (now, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if self.begun.is_empty() {
                line(whole(now)?)?;
                continue;
            }
            self.keep(now)?;
            let begun = std::mem::take(&mut self.begun);
            line(whole(&begun)?)?;
        }
        Ok(self.keep(rest)?)
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self) -> Result<Vec<u8>, LineTooLong> {
        let begun = std::mem::take(&mut self.begun);
        whole(&begun).map(<[u8]>::to_vec)
    }

    /// Keeps one byte more than a line may have, because it may be a `\r`.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        if self.begun.len() + bytes.len() > LINE_BYTES_MAX + 1 {
            return Err(LineTooLong);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }
}

fn whole(line: &[u8]) -> Result<&[u8], LineTooLong> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX { Err(LineTooLong) } else { Ok(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for part in parts {
            buffer.push(part, |line| {
                lines.push(line.to_vec());
                Ok::<_, LineTooLong>(())
            })?;
        }
        lines.push(buffer.finish()?);
        Ok(lines)
    }

    #[test]
    fn line_has_a_bound_however_it_arrives() {
        let most = vec![b'a'; LINE_BYTES_MAX];
        let (end, windows) = ([&most[..], b"\n"].concat(), [&most[..], b"\r\n"].concat());
        for parts in
            [vec![&most[..]], vec![&end[..]], vec![&windows[..]], vec![&most[..1], &most[1..], b"\r", b"\n"]]
        {
            assert_eq!(lines(&parts).expect("fits")[0], most);
        }
        let long = [&most[..], b"a"].concat();
        let ended = [&long[..], b"\n"].concat();
        for parts in [vec![&long[..]], vec![&ended[..]], vec![&most[..], b"a\n"], vec![&most[..], b"ab"]] {
            assert_eq!(lines(&parts), Err(LineTooLong));
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_the_lines(text in "[ab\r\n]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let mut parts = Vec::new();
            for cut in cuts {
                parts.push(&bytes[from..cut]);
                from = cut;
            }
            let naive: Vec<Vec<u8>> =
                text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).as_bytes().to_vec()).collect();
            prop_assert_eq!(lines(&parts), Ok(naive));
        }
    }
}
