//! The fields of a line for people: `key=value`, as in logfmt. A value with a space, a quote or a sign that ends it is quoted,
//! so that programs can read such a line as well.

use std::fmt::{self, Debug};
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes the message as it is, and the other fields behind it.
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut pairs = Pairs { writer, result: Ok(()), is_empty: true };
        fields.record(&mut pairs);
        pairs.result
    }
}

struct Pairs<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
    is_empty: bool,
}

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueForm {
    /// A text, which is quoted always.
    Text,
    /// A number, a name or a sentence, which is quoted if it has to be.
    Other,
}

impl Pairs<'_> {
    fn write(&mut self, field: &Field, form: ValueForm, value: &str) -> fmt::Result {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.writer.write_char(' ')?;
        }
        if field.name() == "message" {
            return escaped(&mut self.writer, value);
        }
        write!(self.writer, "{}=", field.name())?;
        if form == ValueForm::Other && is_bare(value) {
            return self.writer.write_str(value);
        }
        self.writer.write_char('"')?;
        escaped(&mut self.writer, value)?;
        self.writer.write_char('"')
    }

    fn put(&mut self, field: &Field, form: ValueForm, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, form, value);
        }
    }
}

impl Visit for Pairs<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, ValueForm::Text, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, ValueForm::Other, &format!("{value:?}"));
    }
}

/// True if a value ends where the next space is.
fn is_bare(value: &str) -> bool {
    !value.is_empty()
        && !value.contains(|sign: char| sign.is_whitespace() || sign.is_control() || "\"=\\".contains(sign))
}

/// Writes a text without signs that could end it, or that a terminal would obey.
fn escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for sign in text.chars() {
        match sign {
            '"' | '\\' => write!(writer, "\\{sign}")?,
            '\n' => writer.write_str("\\n")?,
            sign if sign.is_control() => write!(writer, "\\u{:04x}", u32::from(sign))?,
            sign => writer.write_char(sign)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::io;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(TextFields)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = kept.0.lock().clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn value_is_quoted_unless_it_ends_at_the_next_space() {
        let (cause, empty) = ("db:5432 says \"no\"\nand \u{1b}[31mmore", "");
        let line = logged(|| {
            tracing::warn!(%cause, %empty, port = 8080, at = %"db:5432", role = ?Some(1), name = "ann", "it failed");
        });
        let quoted = r#"cause="db:5432 says \"no\"\nand \u001b[31mmore" empty="" port=8080 at=db:5432 role=Some(1) name="ann""#;
        assert_eq!(line, format!(" WARN it failed {quoted}\n"));
    }

    #[test]
    fn value_with_the_sign_of_a_pair_is_quoted() {
        let line = logged(|| tracing::info!(change = %"a=b", path = %r"c:\d", "x"));
        assert_eq!(line, " INFO x change=\"a=b\" path=\"c:\\\\d\"\n");
    }
}
