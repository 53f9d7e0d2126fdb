//! Messages of an incoming webhook of Slack. It has no keys and no edits, so each message is complete in itself.

use crate::alert::key::AlertSeverity;
use crate::alert::machine::AllClear;
use crate::alert::notice::{NoticeContent, NoticeEvent};
use crate::alert::report::runbook;
use crate::alert::text::{span, utc};
use crate::job::alerts::NoticeAttempt;
use crate::slo::calendar::ReportZone;
use serde_json::{Value, json};

/// Slack's bounds, in characters.
const HEADER_MAX: usize = 150;
const SECTION_MAX: usize = 3_000;
/// Characters kept for the place of the rest.
const REST_MAX: usize = 100;
const HALF_WEEK_MS: u64 = 7 * 86_400_000 / 2;

/// The message with blocks, and with the text for phones.
pub(super) fn body(attempt: &NoticeAttempt, mention: &str) -> String {
    let content = &attempt.notice.content;
    if content.event == NoticeEvent::Reported {
        return report(attempt);
    }
    let text = with_mention(attempt, mention);
    if !attempt.others.is_empty() {
        return group(attempt, &text);
    }
    let header = format!("#{} {}: {}", content.incident, word(content), content.title);
    let field =
        |name: &str, value: &str| json!({"type": "mrkdwn", "text": format!("*{name}*\n{}", escaped(value))});
    let mut fields = vec![field("Since", &utc(content.since_ms))];
    if let Some(reference) = &content.reference {
        fields.push(field("Reference", reference));
    }
    fields.push(field("Seen by", &attempt.sender.instance));
    let link = runbook_link(content, attempt);
    let key = format!("seawall/{}/{}", attempt.sender.deployment, content.key);
    let body = json!({
        "text": text,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(&header, HEADER_MAX)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": cut(&text_line(content, &text), SECTION_MAX)}, "fields": fields},
            {"type": "section", "text": {"type": "mrkdwn", "text": link}},
            {"type": "context", "elements": [
                {"type": "mrkdwn", "text": format!("{} · `seawall alert ack {}`", escaped(&key), content.incident)},
            ]},
        ],
    });
    body.to_string()
}

/// The text, and a mention of people if something critical begins.
fn with_mention(attempt: &NoticeAttempt, mention: &str) -> String {
    let text = text(attempt);
    let mut contents = contents(attempt);
    let is_urgent =
        contents.any(|it| it.event == NoticeEvent::Began && it.severity == AlertSeverity::Critical);
    if is_urgent && !mention.is_empty() { format!("{mention} {text}") } else { text }
}

/// Several begins.
fn group(attempt: &NoticeAttempt, text: &str) -> String {
    let header = format!("{} incidents began", attempt.others.len() + 1);
    let mut blocks =
        vec![json!({"type": "header", "text": {"type": "plain_text", "text": cut(&header, HEADER_MAX)}})];
    for content in contents(attempt) {
        let line = text_of(content);
        let lines = format!(
            "*{line}*\n{}\n{} · `seawall alert ack {}`",
            escaped(&content.text),
            runbook_link(content, attempt),
            content.incident
        );
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(&lines, SECTION_MAX)}}));
    }
    let place = format!("seawall/{} · {}", attempt.sender.deployment, attempt.sender.instance);
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(&place)}]}));
    json!({"text": text, "blocks": blocks}).to_string()
}

fn contents(attempt: &NoticeAttempt) -> impl Iterator<Item = &NoticeContent> {
    std::iter::once(&attempt.notice).chain(&attempt.others).map(|notice| &notice.content)
}

fn runbook_link(content: &NoticeContent, attempt: &NoticeAttempt) -> String {
    let place = runbook(&attempt.sender.docs_url, &content.key.runbook());
    if place.starts_with("http") { format!("<{place}|Runbook>") } else { format!("Runbook: `{place}`") }
}

/// The report of a week: its columns need letters of one width.
fn report(attempt: &NoticeAttempt) -> String {
    let content = &attempt.notice.content;
    let (lines, rest) = shortened(&content.text, SECTION_MAX - REST_MAX - 8);
    let rest = if rest == 0 { String::new() } else { rest_line(rest, content.since_ms) };
    json!({
        "text": text(attempt),
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": cut(&content.title, HEADER_MAX)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": format!("```\n{lines}```{rest}")}},
        ],
    })
    .to_string()
}

/// Whole lines, escaped and in at most this number of characters, and the number of lines after them.
fn shortened(text: &str, chars: usize) -> (String, usize) {
    let (mut out, mut used) = (String::new(), 0);
    for (at, line) in text.lines().enumerate() {
        let line = escaped(line) + "\n";
        used += line.chars().count();
        if used > chars {
            return (out, text.lines().count() - at);
        }
        out.push_str(&line);
    }
    (out, 0)
}

/// The place of the lines that do not fit. A week begins on Monday in the time zone of reports, so its middle is in the same ISO week
/// in every zone.
fn rest_line(lines: usize, since_ms: u64) -> String {
    let week = ReportZone::default().week_of(since_ms.saturating_add(HALF_WEEK_MS));
    let week = week.map(|week| format!(" --week {week}")).unwrap_or_default();
    format!("\n{lines} more lines: `seawall slo report{week}`")
}

/// The message without blocks.
pub(super) fn plain(attempt: &NoticeAttempt) -> String {
    Value::from_iter([("text".to_owned(), Value::from(text(attempt)))]).to_string()
}

fn text_line(content: &NoticeContent, text: &str) -> String {
    if content.text.is_empty() { text.to_owned() } else { escaped(&content.text) }
}

fn text(attempt: &NoticeAttempt) -> String {
    let repeated = if attempt.is_repeated { " (repeated after a restart)" } else { "" };
    let lines: Vec<String> = contents(attempt).map(text_of).collect();
    format!("{}{repeated}", lines.join("; "))
}

fn text_of(content: &NoticeContent) -> String {
    let age = span(content.at_ms.saturating_sub(content.since_ms));
    let when = match content.event {
        NoticeEvent::Began => format!("since {}", utc(content.since_ms)),
        NoticeEvent::Continues => format!("for {age}, and not acknowledged"),
        NoticeEvent::Acknowledged => "acknowledged".into(),
        NoticeEvent::Ended if content.all_clear == Some(AllClear::NoTraffic) => {
            format!("over after {age}, with no traffic to tell")
        }
        NoticeEvent::Ended => format!("over after {age}"),
        NoticeEvent::Reported => return escaped(&content.title),
    };
    let (word, number, title) = (word(content).to_uppercase(), content.incident, escaped(&content.title));
    let mark = if content.is_perhaps_repeated { " (perhaps sent by another instance as well)" } else { "" };
    format!("{word} #{number} {title}, {when}{mark}")
}

fn word(content: &NoticeContent) -> &'static str {
    match content.event {
        NoticeEvent::Ended => "over",
        NoticeEvent::Began | NoticeEvent::Continues | NoticeEvent::Acknowledged | NoticeEvent::Reported => {
            content.severity.as_str()
        }
    }
}

/// Slack reads three characters as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::super::webhook::tests::attempt;
    use super::*;
    use std::ops::Add as _;

    #[test]
    fn message_says_it_all_and_names_of_others_are_no_markup() {
        let mut attempt = attempt(NoticeEvent::Began);
        attempt.notice.content.text = "<!channel> & more".into();
        let value: Value = serde_json::from_str(&body(&attempt, "<!here>")).expect("JSON");
        let text = value["text"].as_str().expect("text");
        assert_eq!(text, "<!here> CRITICAL #17 store is down, since 2026-11-24T08:11:40Z");
        assert_eq!(value["blocks"][1]["text"]["text"], "&lt;!channel&gt; &amp; more");
        assert_eq!(
            value["blocks"][2]["text"]["text"],
            "<https://ops.example/docs/outages.md#runbook-store-postgresql|Runbook>"
        );
        let mut report = attempt.clone();
        report.notice.content.event = NoticeEvent::Reported;
        let value: Value = serde_json::from_str(&body(&report, "<!here>")).expect("JSON");
        assert_eq!(value["text"], "store is down", "the headline, without a mention");
        assert_eq!(value["blocks"][1]["text"]["text"], "```\n&lt;!channel&gt; &amp; more\n```");
        let mut both = attempt.clone();
        both.others.push(attempt.notice.clone());
        both.others[0].content.incident = 18;
        let value: Value = serde_json::from_str(&body(&both, "<!here>")).expect("JSON");
        let line = "CRITICAL #17 store is down, since 2026-11-24T08:11:40Z";
        assert_eq!(value["text"], format!("<!here> {line}; {}", line.replace("17", "18")), "all that began");
        assert_eq!(value["blocks"][0]["text"]["text"], "2 incidents began");
        let second = value["blocks"][2]["text"]["text"].as_str().expect("text");
        assert!(
            second.contains("&lt;!channel&gt;") && second.ends_with("`seawall alert ack 18`"),
            "{second}"
        );
        report.notice.content.text = "<".repeat(49).add("\n").repeat(100);
        report.notice.content.since_ms = 1_795_392_000_000 - 14 * 3_600_000;
        let value: Value = serde_json::from_str(&body(&report, "")).expect("JSON");
        let text = value["blocks"][1]["text"]["text"].as_str().expect("text");
        let line = "&lt;".repeat(49).add("\n");
        let rest = "86 more lines: `seawall slo report --week 2026-W48`";
        assert_eq!(text, format!("```\n{}```\n{rest}", line.repeat(14)));
        assert!(text.chars().count() <= SECTION_MAX);
        let mut unsure = attempt.clone();
        unsure.notice.content.is_perhaps_repeated = true;
        let value: Value = serde_json::from_str(&plain(&unsure)).expect("JSON");
        let marked = "CRITICAL #17 store is down, since 2026-11-24T08:11:40Z (perhaps sent by another instance as well)";
        assert_eq!(value["text"], marked);
        attempt.is_repeated = true;
        attempt.notice.content.event = NoticeEvent::Ended;
        let plain = plain(&attempt);
        assert_eq!(plain, r#"{"text":"OVER #17 store is down, over after 60 s (repeated after a restart)"}"#);
    }
}
