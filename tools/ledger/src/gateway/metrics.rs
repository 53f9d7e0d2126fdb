//! Reads a gateway's `/metrics` and compares it with the ledger.

use crate::ledger::Counts;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The timeout of one request.
const WITHIN: Duration = Duration::from_secs(3);

/// All samples by name and labels, without the prefix `seawall_`.
#[derive(Clone, Debug, Default)]
pub struct MetricsPage(pub BTreeMap<String, f64>);

impl MetricsPage {
    /// Parses a response body.
    pub fn read(text: &str) -> MetricsPage {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("seawall_").unwrap_or(name).to_owned(), value.parse().ok()?))
        });
        MetricsPage(samples.collect())
    }

    /// The value of a sample; 0 if it is missing.
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// The number of WebSockets: all connections except the scraper's own.
    pub fn sessions(&self) -> f64 {
        (self.value("connections") - 1.0).max(0.0)
    }

    /// The samples of a family, by the value of their only label.
    fn family(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let start = format!("{name}{{{label}=\"");
        let of = |(full, value): (&String, &f64)| {
            let rest = full.strip_prefix(&start)?.strip_suffix("\"}")?;
            Some((rest.to_owned(), *value))
        };
        self.0.iter().filter_map(of).collect()
    }
}

/// Reads `/metrics` repeatedly on one connection, which keeps working when no new ones are accepted.
#[derive(Debug)]
pub struct Scraper {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Scraper {
    /// Creates a scraper for the gateway at this address.
    pub fn new(address: SocketAddr) -> Scraper {
        Scraper { address, stream: None }
    }

    /// Reads the metrics.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no answer or it is not a metrics page.
    pub fn page(&mut self) -> io::Result<MetricsPage> {
        let page = self.ask();
        if page.is_err() {
            self.stream = None;
        }
        page
    }

    fn ask(&mut self) -> io::Result<MetricsPage> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, WITHIN)?;
                stream.set_read_timeout(Some(WITHIN))?;
                stream.set_write_timeout(Some(WITHIN))?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        stream.get_mut().write_all(request.as_bytes())?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a metrics page");
        let (mut length, mut line, mut status) = (None, String::new(), String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if status.is_empty() {
                status = line.clone();
            }
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            }
        }
        let mut body = vec![0; length.ok_or_else(bad)?];
        stream.read_exact(&mut body)?;
        if !status.contains(" 200 ") {
            return Err(bad());
        }
        Ok(MetricsPage::read(&String::from_utf8_lossy(&body)))
    }
}

/// One counter: the gateways' value, and the range the ledger allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub name: String,
    /// The value in `/metrics`.
    pub reported: f64,
    /// The number the clients certainly saw.
    pub least: f64,
    /// The same plus what may have been lost on broken connections; infinite if that is unknown.
    pub most: f64,
}

impl Compared {
    /// True if the value is in the range.
    pub fn is_good(&self) -> bool {
        self.least <= self.reported && self.reported <= self.most
    }

    /// Formats a mismatch for people.
    pub fn text(&self, process: usize) -> String {
        let Compared { name, reported, least, most } = self;
        format!("process {process}: {name} is {reported}, but clients saw {least} to {most}")
    }
}

/// Compares one process with its clients' view. If no connection broke, every range is a single number.
pub fn compare(page: &MetricsPage, counts: &Counts) -> Vec<Compared> {
    let lost = counts.unanswered as f64;
    let broken = counts.lost as f64;
    let unbounded = if counts.lost > 0 { f64::INFINITY } else { 0.0 };
    let mut all = Vec::new();
    let mut add = |name: String, reported: f64, seen: u64, more: f64| {
        all.push(Compared { name, reported, least: seen as f64, most: seen as f64 + more });
    };
    add(
        "upgrades_total".into(),
        page.value("upgrades_total"),
        counts.upgraded,
        counts.refused_upgrades as f64,
    );
    add("published_total".into(), page.value("published_total"), counts.published, lost);
    add("commands_total".into(), page.value("commands_total"), counts.answered, lost);
    add("deliveries_total".into(), page.value("deliveries_total"), counts.deliveries, unbounded);
    let mut codes: BTreeMap<String, f64> = page.family("errors_total", "code");
    for code in counts.errors.keys() {
        codes.entry(code.clone()).or_insert(0.0);
    }
    for (code, reported) in codes {
        let seen = counts.errors.get(&code).copied().unwrap_or(0);
        add(format!("errors_total{{code=\"{code}\"}}"), reported, seen, lost);
    }
    let mut codes: BTreeMap<String, f64> = page.family("closes_total", "code");
    for code in counts.closes.keys() {
        codes.entry(code.to_string()).or_insert(0.0);
    }
    for (code, reported) in codes {
        let seen = code.parse().ok().and_then(|code: u16| counts.closes.get(&code)).copied().unwrap_or(0);
        add(format!("closes_total{{code=\"{code}\"}}"), reported, seen, broken);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP x\nseawall_upgrades_total 3\nseawall_published_total 5\nseawall_commands_total 9\n\
        seawall_deliveries_total 7\nseawall_errors_total{code=\"unavailable\"} 1\nseawall_closes_total{code=\"1012\"} 2\n# EOF\n";

    fn counts() -> Counts {
        Counts {
            upgraded: 3,
            published: 5,
            answered: 9,
            deliveries: 7,
            errors: [("unavailable".to_owned(), 1)].into(),
            closes: [(1012, 2)].into(),
            ..Counts::default()
        }
    }

    #[test]
    fn equal_counters_agree_and_every_difference_is_found() {
        let page = MetricsPage::read(PAGE);
        let wrong = |counts: &Counts| compare(&page, counts).iter().filter(|it| !it.is_good()).count();
        assert_eq!(wrong(&counts()), 0);
        let changes: [fn(&mut Counts); 6] = [
            |counts| counts.upgraded += 1,
            |counts| counts.published -= 1,
            |counts| counts.answered += 1,
            |counts| counts.deliveries -= 1,
            |counts| counts.errors.clear(),
            |counts| *counts.closes.entry(1012).or_default() += 1,
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut counts = counts();
            change(&mut counts);
            assert_eq!(wrong(&counts), 1, "change {at}");
        }
    }

    #[test]
    fn broken_connections_widen_the_ranges() {
        let page = MetricsPage::read(PAGE);
        let lossy = Counts { published: 4, deliveries: 1, lost: 1, unanswered: 1, ..counts() };
        assert!(compare(&page, &lossy).iter().all(Compared::is_good));
    }
}
