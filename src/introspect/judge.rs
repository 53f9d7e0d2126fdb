//! Runs an inquiry: makes its calls, counts, and says what an outage means for a client.

use super::fetcher;
use super::service::{
    AUTH, AuthService, CALLERS, Call, Caller, Clock, Introspector, RecheckMode, ServiceNews, add, outage,
};
use crate::auth::inquiry::{
    EarlierAnswers, Inquiry, InquirySettings, IntrospectionSettings, Judgement, Reach, Rejection, WAIT_MAX,
    Waiter,
};
use crate::auth::key::KeyChanges;
use crate::auth::known::Person;
use crate::auth::token::{Judged, Verifier};
use crate::auth::token_trace::TokenTrace;
use crate::clock::{Moment, Now};
use crate::job::issuer_keys::{IssuerKeys, KeySetFetches};
use crate::job::{Denied, Occasion, SnapshotReader, Ticket, UNANSWERED};
use crate::log;
use crate::log::audit::AuditEvent;
use crate::metrics::auth::ServiceCounters;
use crate::net::deadline;
use crossbeam_channel::{Receiver, Sender, bounded, never};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// When to come back where no outage is known, in milliseconds.
const RETRY_MS: std::ops::Range<u32> = 1_000..2_000;
/// The time after the next fetch within which clients return that it may admit, in milliseconds.
const AFTER_FETCH_MS: std::ops::Range<u32> = 100..500;
/// The pause between two log lines about unjudged tokens.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// The connection that presented a token.
pub(super) struct Asker {
    pub(super) ticket: Ticket,
    pub(super) occasion: Occasion,
    /// The token, if it may be checked again.
    pub(super) token: Option<Arc<str>>,
    pub(super) address: IpAddr,
    /// The names in the token, if the keys at hand do not accept it.
    pub(super) trace: TokenTrace,
}

/// The answer to one asker.
pub(super) type Verdict = (Asker, Result<Person, Denied>);

fn report_keys(setting: &'static str, changes: Option<KeyChanges>) {
    if let Some(KeyChanges { added, removed }) = changes {
        log::report(AuditEvent::KeysChanged { setting, added, removed });
    }
}

pub(super) struct TokenJudge {
    inquiry: Inquiry<Asker>,
    calls: Option<Sender<Call>>,
    fetches: Option<Sender<()>>,
    snapshot: Option<SnapshotReader>,
    counters: Arc<ServiceCounters>,
    random: fastrand::Rng,
    recheck: RecheckMode,
    complained: Option<Moment>,
}

impl TokenJudge {
    /// Starts the threads that call, and returns the receiver of their news.
    pub(super) fn start(
        verifier: Verifier,
        service: Option<&AuthService>,
        issuer_keys: &Arc<IssuerKeys>,
        counters: &Arc<ServiceCounters>,
        clock: &Clock,
    ) -> io::Result<(TokenJudge, Receiver<ServiceNews>)> {
        let verifier = Arc::new(verifier);
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let mut settings = InquirySettings {
            verifier: Arc::clone(&verifier),
            waiting_max: service.map_or(0, |service| service.waiting),
            introspection: None,
            key_set_pause: None,
            salt,
        };
        let (mut calls, mut fetches, mut news) = (None, None, never());
        let introspection = service.and_then(|service| service.introspection.as_ref());
        if service.is_none_or(|service| service.key_set.is_none()) {
            // Ends the thread of a key set that was configured before.
            issuer_keys.follow(None);
        }
        if let Some(service) = service {
            let (news_in, news_out) = bounded(service.waiting);
            news = news_out;
            if let Some(introspection) = &service.introspection {
                let (sender, taken) = bounded(CALLERS);
                for number in 0..CALLERS {
                    let introspector = Introspector {
                        caller: Caller::new(service, &introspection.endpoint, counters, &news_in),
                        calls: taken.clone(),
                        names: introspection.names.clone(),
                        verifier: Arc::clone(&verifier),
                        clock: Arc::clone(clock),
                        recheck: introspection.recheck,
                        known_token: Arc::clone(&service.known_token),
                    };
                    introspector.start(number)?;
                }
                settings.introspection = Some(IntrospectionSettings {
                    bounds: introspection.bounds,
                    pattern: introspection.pattern.clone(),
                    callers: CALLERS,
                });
                calls = Some(sender);
            }
            if let Some(source) = &service.key_set {
                let (sender, taken) = bounded(1);
                let caller = Caller::new(service, &source.endpoint, counters, &news_in);
                let (clock, keys) = (Arc::clone(clock), Arc::clone(issuer_keys));
                let (mark, pause) = (source.mark, source.pause);
                keys.follow(Some(KeySetFetches { mark, requests: sender.clone(), pause }));
                fetcher::start(caller, source, keys, taken, clock)?;
                settings.key_set_pause = Some(pause);
                fetches = Some(sender);
            }
        }
        let judge = TokenJudge {
            inquiry: Inquiry::new(settings),
            calls,
            fetches,
            snapshot: service.map(|service| service.outlook.reader()),
            counters: Arc::clone(counters),
            random: fastrand::Rng::new(),
            recheck: introspection.map_or(RecheckMode::Off, |introspection| introspection.recheck),
            complained: None,
        };
        Ok((judge, news))
    }

    /// True exactly when introspected tokens are checked again.
    pub(super) fn is_recheck_on(&self) -> bool {
        self.recheck == RecheckMode::On
    }

    /// True exactly while a connection waits, so that [`TokenJudge::tick`] has to be called often.
    pub(super) fn is_waited_for(&self) -> bool {
        self.inquiry.is_waited_for()
    }

    /// Takes over from a judge with other settings, whose threads end with this. Returns its waiters with their tokens.
    pub(super) fn succeed(
        &mut self,
        before: TokenJudge,
        answers: EarlierAnswers,
    ) -> Vec<(Box<str>, Waiter<Asker>)> {
        report_keys("auth.keys", self.inquiry.changes_since(&before.inquiry));
        self.inquiry.succeed(before.inquiry, answers)
    }

    /// The judgement of the keys at hand.
    pub(super) fn check(&mut self, token: &str, now: Now) -> Judged {
        self.inquiry.check(token, now)
    }

    /// Answers a waiter whose token is settled, and keeps any other until its token can be judged.
    pub(super) fn judge(
        &mut self,
        judged: Judged,
        token: Box<str>,
        waiter: Waiter<Asker>,
        now: Now,
    ) -> Option<Verdict> {
        let reach = self.reach();
        let judgement = self.inquiry.judge(judged, token, waiter, now, reach);
        self.make_calls(reach);
        self.count();
        judgement.map(|judgement| self.verdict(judgement, now.at))
    }

    /// Takes what a thread brought.
    pub(super) fn hear(&mut self, news: ServiceNews, now: Now) -> Vec<Verdict> {
        let reach = self.reach();
        if let ServiceNews::Keys(Some(fetched), _) = &news {
            report_keys("auth.jwks_url", self.inquiry.changes_by(fetched));
        }
        let judgements = match news {
            ServiceNews::Judged(hash, judged) => self.inquiry.answered(hash, judged, now, reach),
            ServiceNews::Keys(fetched, began) => self.inquiry.keys_fetched(fetched, began, now),
        };
        self.make_calls(reach);
        self.settle(judgements, now)
    }

    /// See [`Inquiry::tick`].
    pub(super) fn tick(&mut self, now: Now) -> Vec<Verdict> {
        let reach = self.reach();
        let mut judgements = self.inquiry.take_displaced();
        judgements.extend(self.inquiry.tick(now, reach));
        self.make_calls(reach);
        self.settle(judgements, now)
    }

    fn settle(&mut self, judgements: Vec<Judgement<Asker>>, now: Now) -> Vec<Verdict> {
        self.count();
        self.counters.waiting.store(self.inquiry.waiting() as u64, Ordering::Relaxed);
        let (entries, bytes) = self.inquiry.remembered();
        self.counters.cache_entries.store(entries as u64, Ordering::Relaxed);
        self.counters.cache_bytes.store(bytes as u64, Ordering::Relaxed);
        judgements.into_iter().map(|judgement| self.verdict(judgement, now.at)).collect()
    }

    fn reach(&mut self) -> Reach {
        let Some(snapshot) = self.snapshot.as_mut().map(SnapshotReader::load) else { return Reach::Up };
        match (snapshot.outage_of(AUTH), outage(snapshot)) {
            (None, _) => Reach::Up,
            (Some(_), Some(_)) => Reach::Down,
            (Some(_), None) => Reach::Observed,
        }
    }

    fn make_calls(&mut self, reach: Reach) {
        for question in self.inquiry.take_calls(reach) {
            let call = Call { hash: question.hash, token: question.token, until: deadline::now() + WAIT_MAX };
            // There are no more calls than callers, so that there is room.
            let _ = self.calls.as_ref().map(|calls| calls.try_send(call));
        }
        if self.inquiry.take_fetch() {
            // Full: a fetch is about to begin.
            let _ = self.fetches.as_ref().map(|fetches| fetches.try_send(()));
        }
    }

    fn count(&mut self) {
        let tally = self.inquiry.take_tally();
        let counters = &self.counters;
        let counted = [
            (&counters.cache_hits, tally.cache_hits),
            (&counters.cache_stale, tally.cache_stale),
            (&counters.cache_misses, tally.cache_misses),
            (&counters.joined, tally.joined),
            (&counters.too_many_waiting, tally.too_many_waiting),
        ];
        counted.into_iter().filter(|(_, count)| *count > 0).for_each(|(cell, count)| add(cell, count));
    }

    fn verdict(&mut self, (waiter, judged): Judgement<Asker>, now: Moment) -> Verdict {
        let outcome = judged.map_err(|rejection| match rejection {
            Rejection::Token(fault) => Denied::Token(fault),
            Rejection::TooManyWaiting => Denied::TooManyWaiting,
            Rejection::KeysTooNew(wait) => {
                add(&self.counters.unjudged, 1);
                let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
                Denied::KeysTooNew { retry_ms: wait_ms.saturating_add(self.random.u32(AFTER_FETCH_MS)) }
            }
            Rejection::Unchecked => self.unjudged(now),
        });
        (waiter.asker, outcome)
    }

    /// The refusal of a token that could not be judged. It names the outage if one is known.
    fn unjudged(&mut self, now: Moment) -> Denied {
        add(&self.counters.unjudged, 1);
        let random = self.random.f32();
        let outage = self.snapshot.as_mut().and_then(|snapshot| snapshot.load().outage_of(AUTH).cloned());
        if let Some(outage) = outage {
            let (retry_ms, reference) = (outage.retry_ms(now, random), Some(outage.reference()));
            return Denied::Unchecked { retry_ms, reference };
        }
        if self.complained.is_none_or(|last| now.since(last) >= COMPLAINT_PAUSE) {
            self.complained = Some(now);
            tracing::warn!(
                dependency = AUTH,
                reference = UNANSWERED,
                "tokens could not be judged in time although no outage is seen: see the auth service's own log and its latency"
            );
        }
        Denied::Unchecked { retry_ms: self.random.u32(RETRY_MS), reference: None }
    }
}
