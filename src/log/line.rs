//! The bytes of a line: its format, the instance at its end, and no line break inside.

use std::sync::Arc;

/// The format of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Time, level, message, and fields as in logfmt, for people.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// The last field of each line: the instance. It may be empty.
#[derive(Clone, Default)]
pub(super) struct Mark {
    field: Arc<str>,
    /// The bytes of a line that follow the field.
    after: &'static [u8],
}

impl Mark {
    pub(super) fn new(format: Format, instance: &str) -> Mark {
        let quoted = serde_json::Value::from(instance).to_string();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        match format {
            Format::Json => Mark { field: format!(",\"instance\":{quoted}").into(), after: b"}\n" },
            Format::Text if instance.bytes().all(is_plain) => {
                Mark { field: format!(" instance={instance}").into(), after: b"\n" }
            }
            Format::Text => Mark { field: format!(" instance={quoted}").into(), after: b"\n" },
        }
    }

    /// The line with the field.
    pub(super) fn set(&self, line: &[u8]) -> Vec<u8> {
        match line.strip_suffix(self.after) {
            Some(start) => [start, self.field.as_bytes(), self.after].concat(),
            None => line.to_vec(),
        }
    }
}

/// Replaces line breaks inside an event: they came from a peer and would forge a second event.
pub(super) fn one_line(line: Vec<u8>) -> Box<[u8]> {
    let mut line = line.into_boxed_slice();
    if let Some((_, inside)) = line.split_last_mut() {
        inside.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_names_its_instance_in_both_formats() {
        let text = |instance, line: &str| {
            String::from_utf8(Mark::new(Format::Text, instance).set(line.as_bytes())).expect("text")
        };
        assert_eq!(text("gw-1", "INFO serving port=1\n"), "INFO serving port=1 instance=gw-1\n");
        assert_eq!(text("a b", "INFO serving\n"), "INFO serving instance=\"a b\"\n");
        let line = Mark::new(Format::Json, "a\"b").set(b"{\"level\":\"INFO\"}\n");
        let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(line["instance"], "a\"b");
        assert_eq!(Mark::default().set(b"line\n"), b"line\n");
    }

    #[test]
    fn event_stays_one_line() {
        assert_eq!(&*one_line(b"user=a\nWARN forged\r\n".to_vec()), b"user=a WARN forged \n");
    }
}
