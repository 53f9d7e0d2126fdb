//! The two forms of a libpq connection string, a URL and `key=value` pairs, both parsed into pairs.
//!
//! Like libpq, the URL parser is lenient: the first `@` ends the credentials, whatever precedes it.

use percent_encoding::percent_decode_str;
use std::iter::Peekable;
use std::str::Chars;

/// A key and its value; a password need not be UTF-8.
pub(super) type Word = (String, Vec<u8>);

const NOT_AN_ADDRESS: &str = "it is neither a URL nor a list of key=value pairs";

/// Parses an address into its parameters, in order. The error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Word>, &'static str> {
    let url = ["postgres://", "postgresql://"].iter().find_map(|prefix| text.strip_prefix(prefix));
    url.map_or_else(|| pairs(text), url_words)
}

fn url_words(rest: &str) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut word = |key: &str, value: &str| words.push((key.to_owned(), decoded(value)));
    let (credentials, rest) = rest.split_once('@').map_or((None, rest), |(own, rest)| (Some(own), rest));
    if let Some(credentials) = credentials {
        let (user, password) = credentials.split_once(':').map_or((credentials, None), |(u, p)| (u, Some(p)));
        word("user", user);
        password.into_iter().for_each(|password| word("password", password));
    }
    let (hosts, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    for chunk in hosts.split(',').filter(|_| !hosts.is_empty()) {
        let (host, port) = match chunk.strip_prefix('[') {
            Some(chunk) => chunk.split_once(']').ok_or("a host has no closing `]`")?,
            None => chunk.split_at(chunk.find(':').unwrap_or(chunk.len())),
        };
        word("host", host);
        match port.strip_prefix(':') {
            Some(port) => word("port", port),
            None if port.is_empty() => word("port", ""),
            None => return Err("a host is followed by something other than a port"),
        }
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if let Some(database) = path.strip_prefix('/').filter(|name| !name.is_empty()) {
        word("dbname", database);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter has no value")?;
        word(&String::from_utf8_lossy(&decoded(key)), value);
    }
    Ok(words)
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn pairs(text: &str) -> Result<Vec<Word>, &'static str> {
    let mut chars = text.chars().peekable();
    let mut words = Vec::new();
    loop {
        skip_blank(&mut chars);
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        if key.is_empty() {
            return if chars.peek().is_none() { Ok(words) } else { Err(NOT_AN_ADDRESS) };
        }
        skip_blank(&mut chars);
        chars.next_if_eq(&'=').ok_or(NOT_AN_ADDRESS)?;
        skip_blank(&mut chars);
        words.push((key, value(&mut chars)?.into_bytes()));
    }
}

fn skip_blank(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// Parses a value, quoted or up to the next space. A backslash escapes the next character.
fn value(chars: &mut Peekable<Chars<'_>>) -> Result<String, &'static str> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let is_inside = |c: &char| if quoted { *c != '\'' } else { !c.is_whitespace() };
    let mut value = String::new();
    while let Some(c) = chars.next_if(is_inside) {
        value.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    match (quoted, chars.next_if_eq(&'\'')) {
        (true, None) => Err("a quoted value is not closed"),
        (false, _) if value.is_empty() => Err("a key has no value"),
        (true, Some(_)) | (false, _) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let words = read(text).ok()?;
        let shown = words.iter().map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value)));
        Some(shown.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_url_and_pairs_are_read_as_libpq_reads_them() {
        for (text, words) in [
            ("postgres://", ""),
            (
                "postgresql://u:p%40:@[::1]:7,b,%2Frun/d%20b?a=1&x%5F=%26",
                "user=u password=p@: host=::1 port=7 host=b port= host=/run port= dbname=d b a=1 x_=&",
            ),
            ("postgres://u@/d", "user=u dbname=d"),
            ("postgres:///?host=/run", "host=/run"),
            (r"user = 'a \'b\\' host=x\ y port=''", r"user=a 'b\ host=x y port="),
        ] {
            assert_eq!(shown(text).as_deref(), Some(words), "{text}");
        }
        for text in ["postgres://h?x", "postgres://[::1", "postgres://[::1]7", "nonsense", "a=", "a='b", "=b"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
