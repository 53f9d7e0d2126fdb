//! ClickHouse over its HTTP interface: `/ping` shows that the server is up, and `SELECT 1` that it answers our queries.

use crate::health::finding::Fault;
use crate::net::address::HttpTarget;
use crate::net::http_client::{HttpAnswer, HttpClient};
use crate::net::trouble::Trouble;
use std::time::Instant;
use zeroize::Zeroizing;

pub(super) fn look(
    browser: &HttpClient,
    target: &HttpTarget,
    deadline: Instant,
) -> Result<Option<String>, Trouble> {
    let peer = &target.peer;
    let ping = browser.fetch(&address(target, "ping", None), &[], peer, deadline)?;
    expect(&ping, "/ping", "Ok.", target)?;
    let mut headers = Vec::new();
    if !target.user.is_empty() {
        headers.push(("x-clickhouse-user", Zeroizing::new(target.user.clone())));
    }
    if !target.password.is_empty() {
        headers.push(("x-clickhouse-key", target.password.clone()));
    }
    let select = browser.fetch(&address(target, "", Some("query=SELECT%201")), &headers, peer, deadline)?;
    expect(&select, "SELECT 1", "1", target)?;
    Ok(None)
}

fn address(target: &HttpTarget, path: &str, query: Option<&str>) -> String {
    let mut url = target.url.clone();
    let folder = url.path().trim_end_matches('/').to_string();
    url.set_path(&format!("{folder}/{path}"));
    let own = url.query().map(str::to_string);
    let both: Vec<String> = own.into_iter().chain(query.map(str::to_string)).collect();
    url.set_query((!both.is_empty()).then(|| both.join("&")).as_deref());
    url.into()
}

fn expect(answer: &HttpAnswer, question: &str, wanted: &str, target: &HttpTarget) -> Result<(), Trouble> {
    let (peer, quote) = (&target.peer, answer.quote());
    let fault = match answer.status {
        200 if quote == wanted => return Ok(()),
        200 => Fault::Protocol,
        // ClickHouse's own code 516 means "authentication failed".
        401 | 403 => Fault::Credentials,
        _ => Fault::Status,
    };
    Err(Trouble::new(fault, format!("{peer} answers {question} with status {}: {quote}", answer.status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::target::{DependencyKind, Target, TargetService};

    #[test]
    fn requests_keep_the_path_and_query_of_the_address() {
        let target = Target::parse(DependencyKind::Clickhouse, "http://a:8123/proxy/?database=chat")
            .expect("an address");
        let TargetService::Clickhouse(target) = target.service else { panic!("another kind") };
        assert_eq!(address(&target, "ping", None), "http://a:8123/proxy/ping?database=chat");
        assert_eq!(address(&target, "", Some("query=1")), "http://a:8123/proxy/?database=chat&query=1");
    }
}
