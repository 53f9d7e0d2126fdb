//! The text format that Prometheus had before OpenMetrics, for scrapers that read nothing else.

use std::fmt::Write as _;

/// The format of an answer to `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4.
    Text,
}

impl MetricsFormat {
    /// The format for a request with these values of `Accept`: OpenMetrics, unless the text format is named and it is not.
    pub fn accepted<'a>(values: impl Iterator<Item = &'a [u8]>) -> MetricsFormat {
        let named =
            |value: &[u8], name: &[u8]| value.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
        let (mut text, mut open) = (false, false);
        for value in values {
            text |= named(value, b"text/plain");
            open |= named(value, b"application/openmetrics-text");
        }
        if text && !open { MetricsFormat::Text } else { MetricsFormat::OpenMetrics }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            MetricsFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            MetricsFormat::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Rewrites OpenMetrics: the family of a counter is named like its samples, and nothing marks the end.
pub(super) fn text_format(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut help = None;
    for line in openmetrics.lines() {
        // Writing to a string cannot fail.
        let _ = if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
            Ok(())
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let help = help.take().map_or("", |(_, help)| help);
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
        } else if line == "# EOF" {
            Ok(())
        } else {
            writeln!(text, "{line}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_like_their_samples_and_the_end_is_not_marked() {
        let openmetrics = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# HELP c Level.\n# TYPE c gauge\n\
                           c 1.5\n# EOF\n";
        let expected = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n# HELP c Level.\n# TYPE c \
                        gauge\nc 1.5\n";
        assert_eq!(text_format(openmetrics), expected);
    }

    #[test]
    fn text_format_is_for_those_that_read_nothing_else() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let telegraf = "application/vnd.google.protobuf;q=0.7,text/plain;version=0.0.4;q=0.3";
        for (accept, format) in [
            (prometheus, MetricsFormat::OpenMetrics),
            (telegraf, MetricsFormat::Text),
            ("Text/Plain", MetricsFormat::Text),
            ("*/*", MetricsFormat::OpenMetrics),
            ("", MetricsFormat::OpenMetrics),
        ] {
            assert_eq!(MetricsFormat::accepted([accept.as_bytes()].into_iter()), format, "{accept}");
        }
        assert_eq!(MetricsFormat::accepted([].into_iter()), MetricsFormat::OpenMetrics);
    }
}
