//! Serves the console: who may ask, and the answers.

use super::live::{FIRST_ROWS, FIRST_STEP_S, LIVE, Live, series_json};
use super::path::{ConsoleTask, SeriesWish};
use super::session::{IDLE_FOR, LINK_FOR, LoginFault, RANDOM_BYTES, Random, SESSION_FOR, Secret};
use super::{Console, action, files};
use crate::admin::access::{AdminAccess, Scope};
use crate::admin::refusal::AdminRefusal;
use crate::admin::request::ReceivedRequest;
use crate::admin::{Admin, refuse, tell};
use crate::clock::Now;
use crate::metrics::changes::ChangeKind;
use crate::metrics::history::TIERS;
use crate::metrics::series;
use crate::wire::request::{Head, Method};
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// The path at which links are exchanged, which needs neither token nor session.
const LOG_IN: &str = "/console/session";
const JSON: &str = "application/json";

impl<C: Fn() -> Now + Send + Sync + 'static> Admin<C> {
    /// Decides whether a request is served at all.
    ///
    /// No page of another site can send the token, so a request with it needs no other proof. Requests that a browser may send by
    /// itself, or with a session, must come to a name of this listener and from a page of its own.
    pub(in crate::admin) fn authorize(&self, head: &Head<'_>) -> Result<AdminAccess, AdminRefusal> {
        if head.bearer().is_some_and(|shown| self.knows(shown)) {
            return Ok(AdminAccess::Token);
        }
        let key = head.values("seawall-session").next();
        // The files hold no data, and a link from anywhere may lead to them.
        if is_public(head.method, head.path) {
            return self.console.rules.check_host(head).map(|()| AdminAccess::Open);
        }
        let is_log_in = head.path == LOG_IN && head.method == Method::Post;
        if key.is_none() && !is_log_in {
            return Err(AdminRefusal::unauthorized());
        }
        self.console.rules.check(head)?;
        let Some(key) = key.filter(|_| !is_log_in) else { return Ok(AdminAccess::Open) };
        let checked = self.console.sessions.lock().check(key, (self.clock)().at);
        let (scope, id) = checked.map_err(AdminRefusal::login)?;
        let may_only_read = scope == Scope::Read && head.path != LOG_IN;
        if may_only_read && !matches!(head.method, Method::Get | Method::Head) {
            return Err(AdminRefusal::read_only());
        }
        Ok(AdminAccess::Session { scope, id })
    }

    /// Answers a request for a path of the console; false if this is none.
    pub(in crate::admin) fn console(
        &self,
        out: &mut Vec<u8>,
        request: &ReceivedRequest,
        peer: SocketAddr,
    ) -> bool {
        let (method, (path, query)) = (request.method, request.parts());
        if is_public(method, path) {
            match files::find(path) {
                Some(file) => files::answer(out, method, request.coding, file),
                None => files::lead(out, method),
            }
            return true;
        }
        let Some(path) = path.strip_prefix("/console/") else { return false };
        let task = ConsoleTask::of(method, path, query, &request.body);
        let answered = task.and_then(|task| match task {
            ConsoleTask::Live { since, changes } => Ok((200, self.live(since, changes, &request.access))),
            ConsoleTask::Series(wish) => self.series(&wish).map(|body| (200, body)),
            ConsoleTask::Link(scope) => self.link(scope, &request.access).map(|body| (201, body)),
            ConsoleTask::LogIn(code) => self.log_in(code, &request.access).map(|body| (201, body)),
            ConsoleTask::LogOut => {
                if let AdminAccess::Session { id, .. } = &request.access {
                    self.console.sessions.lock().end(id);
                }
                Ok((204, String::new()))
            }
        });
        match answered {
            Ok((status, body)) => tell(out, method, status, JSON, &body),
            Err(refusal) => {
                self.count_refusal(&refusal, peer);
                refuse(out, method, &refusal);
            }
        }
        true
    }

    fn live(&self, since: Option<u64>, changes: u64, access: &AdminAccess) -> String {
        let (now, snapshot) = ((self.clock)(), self.outlook.snapshot());
        let places: Vec<usize> = LIVE.iter().filter_map(|name| series::place(name)).collect();
        let (tick, rows) = self.console.rows(since, &places);
        let (cluster, health) = (self.cluster.report().json(None), self.outlook.report());
        let drain = self.vitals.drain.progress(now.at, self.vitals.connections()).json();
        let (slo, alerts) = (self.metrics.slo.report(), self.metrics.alerts.report());
        let changes = self.console.changes.after(changes);
        let live = Live {
            instance: &self.instance,
            boot: u64::try_from(self.vitals.started().as_millis()).unwrap_or(u64::MAX),
            now: now.unix_ms,
            tick,
            status: &snapshot.status,
            status_since: snapshot.since.unix_ms,
            rows: &rows,
            cluster: &cluster,
            health: &health.body,
            drain: &drain,
            connections_max: self.vitals.connections_max(),
            slo: &slo,
            alerts: &alerts,
            changes: &changes,
            scope: access.scope().as_str(),
        };
        live.json()
    }

    fn series(&self, wish: &SeriesWish) -> Result<String, AdminRefusal> {
        let history = self.console.history.lock();
        let rows = history.merged(wish.step_s, wish.points, &wish.places).ok_or_else(SeriesWish::unkept)?;
        let tick = history.tick();
        drop(history);
        Ok(series_json(&wish.places, &rows, tick, (self.clock)().unix_ms))
    }

    fn link(&self, scope: Scope, access: &AdminAccess) -> Result<String, AdminRefusal> {
        if *access != AdminAccess::Token {
            return Err(AdminRefusal::unauthorized());
        }
        let code = self.console.sessions.lock().link(scope, &random()?, (self.clock)().at);
        let expires_ms = LINK_FOR.as_millis();
        Ok(format!("{{\"code\":\"{}\",\"expires_ms\":{expires_ms}}}\n", *code))
    }

    fn log_in(&self, code: Option<String>, access: &AdminAccess) -> Result<String, AdminRefusal> {
        let (random, now) = (random()?, (self.clock)().at);
        let mut sessions = self.console.sessions.lock();
        let (key, scope): (Secret, Scope) = match (code.map(Zeroizing::new), access) {
            (Some(code), _) => {
                sessions.exchange(code.as_bytes(), &random, now).map_err(AdminRefusal::login)?
            }
            (None, AdminAccess::Token) => (sessions.open(Scope::Operate, &random, now), Scope::Operate),
            (None, AdminAccess::Session { .. } | AdminAccess::Open) => {
                return Err(AdminRefusal::unauthorized());
            }
        };
        Ok(format!(
            "{{\"session\":\"{}\",\"scope\":\"{}\",\"expires_ms\":{},\"idle_ms\":{}}}\n",
            *key,
            scope.as_str(),
            SESSION_FOR.as_millis(),
            IDLE_FOR.as_millis()
        ))
    }

    /// Notes an action that was carried out for the list of changes, and every order of a session for the audit log.
    pub(in crate::admin) fn note_action(&self, request: &ReceivedRequest, status: u16, peer: SocketAddr) {
        let (method, path) = (request.method, request.parts().0);
        let text = action::text(method, path, status);
        if let Some(text) = &text {
            self.console.changes.add((self.clock)().unix_ms, ChangeKind::Action, text, None);
        }
        if let AdminAccess::Session { id, .. } = &request.access
            && action::is_order(method, path)
        {
            // An order that was not answered in time (503) may have been carried out all the same.
            let action = text.as_deref().unwrap_or(path);
            tracing::info!(target: "audit", session = %id, %peer, action, status, "action of a console session");
        }
    }
}

impl AdminRefusal {
    fn login(fault: LoginFault) -> AdminRefusal {
        let again = "run `seawall console` on the gateway's host for a new link, or paste the admin token";
        let (word, message) = match fault {
            LoginFault::Used => ("link_used", format!("this link was used before: {again}")),
            LoginFault::Expired => ("link_expired", format!("this link is older than a minute: {again}")),
            LoginFault::UnknownLink => (
                "link_unknown",
                format!(
                    "no such link: the gateway has started again, or eight newer links were made; {again}"
                ),
            ),
            LoginFault::Over => (
                "session_over",
                format!(
                    "the session is over: after 30 minutes without a request, after 8 hours, or because the gateway has started again; {again}"
                ),
            ),
            LoginFault::TooMany => {
                let message = "too many wrong codes and sessions in this second: try again in the next";
                let mut refusal = AdminRefusal::new(429, "rate_limited", message);
                refusal.headers.push(("Retry-After", "1"));
                return refusal;
            }
        };
        AdminRefusal::new(401, word, message)
    }

    fn read_only() -> AdminRefusal {
        let message =
            "this session may only read: run `seawall console` without --read-only for one that may act";
        AdminRefusal::new(403, "read_only", message)
    }
}

impl Console {
    /// The rows from a tick on, each of a second; without one, or if it is too old, the last half hour.
    fn rows(&self, since: Option<u64>, places: &[usize]) -> (u64, crate::metrics::history::Rows) {
        let history = self.history.lock();
        let tick = history.tick();
        let kept = TIERS.first().map_or(0, |(_, rows)| *rows as u64);
        let rows = match since.filter(|since| *since <= tick && tick - since <= kept) {
            Some(since) => history.since(1, since, kept as usize, places),
            None => history.since(FIRST_STEP_S, 0, FIRST_ROWS, places),
        };
        (tick, rows)
    }
}

/// True for the console's files and the way to its page.
fn is_public(method: Method, path: &str) -> bool {
    let is_read = matches!(method, Method::Get | Method::Head);
    is_read && (files::leads_to_page(path) || files::find(path).is_some())
}

fn random() -> Result<Random, AdminRefusal> {
    let mut random = Random::new([0; RANDOM_BYTES]);
    getrandom::fill(&mut *random).map_err(|error| {
        AdminRefusal::new(503, "unavailable", format!("the system gives no random numbers: {error}"))
    })?;
    Ok(random)
}
