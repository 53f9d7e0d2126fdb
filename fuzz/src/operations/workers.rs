//! The workers behind the engine's jobs: a store, an auth worker that counts, and a bus. The fuzzer decides which job is
//! answered next, and how.

use super::store::Store;
use seawall::auth::permission::Permissions;
use seawall::auth::token::TokenFault;
use seawall::client_error::ReportOutcome;
use seawall::engine::Job;
use seawall::id::{ChannelName, UserName};
use seawall::job::bus::Interest;
use seawall::job::presence::{PageReply, PresenceJob};
use seawall::job::{
    AddressDenied, Append, AppendError, AuthJob, Broadcast, Completion, Counted, Denied, Form, Identity,
    Occasion, Page, PageRequest, Read, ReadError,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Jobs that may wait for all workers together.
const WAITING_MAX: usize = 16;
/// The way to answer that grants, stores and reads everything that is asked.
pub const GRANT: u8 = 7;
/// The rights of a restricted token.
const READER: &str = r#"[{"pattern":"a","rights":["subscribe"]},{"pattern":"write.*","rights":["publish"]}]"#;

/// Bits of the job queues that the fuzzer declares full: appends, reads, admissions and releases, interests, and reads without
/// the engine's knowledge, as when other reactors fill the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Full(pub u8);

/// See the module.
#[derive(Debug)]
pub struct Workers {
    pub store: Store,
    waiting: VecDeque<Job>,
    pub full: Full,
    /// Bytes of a page of frames. Small pages make replays long.
    pub page_bytes: usize,
    /// The longest page of history so far.
    pub history_bytes: usize,
    /// Channels that the bus brings.
    followed: BTreeSet<ChannelName>,
    /// Connections that the auth worker counts for the user, and for the address.
    users: i64,
    addresses: i64,
    /// Tokens that grant the rights of [`READER`].
    restricted: BTreeSet<Box<str>>,
}

impl Workers {
    pub fn new(page_bytes: usize) -> Workers {
        Workers {
            store: Store::default(),
            waiting: VecDeque::new(),
            full: Full::default(),
            page_bytes,
            history_bytes: 0,
            followed: BTreeSet::new(),
            users: 0,
            addresses: 0,
            restricted: BTreeSet::new(),
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Reads that the store's queue has room for.
    pub fn read_room(&self) -> usize {
        if self.full.0 & 2 == 0 { WAITING_MAX - self.waiting.len().min(WAITING_MAX) } else { 0 }
    }

    pub fn is_restricted(&self, token: &str) -> bool {
        self.restricted.contains(token)
    }

    /// Takes a job, or gives it back if its queue is full.
    #[allow(clippy::result_large_err, reason = "as in the reactor")]
    pub fn send(&mut self, job: Job) -> Result<(), Job> {
        let queue = match &job {
            Job::Append(_) => 1,
            Job::Read(_) => 2 | 16,
            Job::Admit(_) => 4,
            Job::Interest(_) => 8,
            // Commands about streams are answered at their deadline.
            Job::Signal { .. } | Job::Stream(_) | Job::Presence(PresenceJob::Event(_)) => return Ok(()),
            Job::Presence(PresenceJob::Page { .. }) | Job::Report(_) => 32,
        };
        if self.full.0 & queue != 0 {
            return Err(job);
        }
        match job {
            Job::Admit(AuthJob::ReleaseUser { .. }) => self.users -= 1,
            Job::Admit(AuthJob::ReleaseAddress { .. }) => self.addresses -= 1,
            Job::Interest(Interest::Leave { channel }) => {
                assert!(self.followed.remove(&channel), "{channel} is left but was not followed");
            }
            job if self.waiting.len() >= WAITING_MAX => return Err(job),
            job => {
                if let Job::Interest(Interest::Follow { channel, .. }) = &job {
                    self.followed.insert(channel.clone());
                }
                self.waiting.push_back(job);
            }
        }
        assert!(self.users >= 0 && self.addresses >= 0, "a connection was released twice");
        Ok(())
    }

    /// Does one of the waiting jobs. What it publishes comes before its answer.
    pub fn answer(&mut self, index: usize, how: u8, unix_ms: u64) -> (Option<Broadcast>, Option<Completion>) {
        let Some(job) = self.waiting.remove(index) else { return (None, None) };
        let read_error = ReadError { retry_ms: 1 };
        let completion = match job {
            Job::Append(append) => return self.append(&append, how),
            Job::Read(Read::Page(request)) => {
                let outcome = if how < 2 { Err(read_error) } else { Ok(self.page(&request)) };
                Completion::Page { ticket: request.ticket, outcome }
            }
            Job::Read(Read::Heads { ticket, channels }) => {
                let heads = channels.into_iter().map(|(channel, _)| {
                    let position = self.store.position(&channel);
                    (channel, position)
                });
                let outcome = if how < 2 { Err(read_error) } else { Ok(heads.collect()) };
                Completion::Heads { ticket, outcome }
            }
            Job::Read(Read::Stream(request)) => {
                let outcome = if how < 2 { Err(read_error) } else { Ok(Vec::new()) };
                Completion::StreamRead { ticket: request.ticket, outcome }
            }
            Job::Admit(AuthJob::CheckToken { ticket, token, occasion, .. }) => {
                let outcome = self.check_token(&token, &occasion, how, unix_ms);
                Completion::TokenChecked { ticket, outcome }
            }
            Job::Admit(AuthJob::AdmitAddress { ticket, address }) => {
                let outcome = match how {
                    0 => Err(AddressDenied::TooMany),
                    1 => Err(AddressDenied::TooFast { retry_ms: 1_000 }),
                    _ => Ok(()),
                };
                self.addresses += i64::from(outcome.is_ok());
                Completion::AddressChecked { ticket, address, outcome }
            }
            Job::Interest(Interest::Follow { ticket, .. }) => Completion::Followed { ticket },
            Job::Presence(PresenceJob::Page { reply: PageReply::Reactor(ticket), .. }) => {
                Completion::Presence { ticket, page: Arc::from(&b"{}"[..]) }
            }
            Job::Report(report) => {
                let outcome =
                    ReportOutcome { accepted: report.errors.len() as u16, ..ReportOutcome::default() };
                Completion::ReportTaken { ticket: report.ticket, outcome }
            }
            job @ (Job::Read(Read::Survey(_) | Read::Contradicted(_))
            | Job::Admit(
                AuthJob::ReleaseUser { .. }
                | AuthJob::ReleaseAddress { .. }
                | AuthJob::LookUpUsers(_)
                | AuthJob::ReportAllUsers,
            )
            | Job::Interest(Interest::Leave { .. })
            | Job::Signal { .. }
            | Job::Stream(_)
            | Job::Presence(_)) => panic!("not a job that waits: {job:?}"),
        };
        (None, Some(completion))
    }

    fn append(&mut self, append: &Append, how: u8) -> (Option<Broadcast>, Option<Completion>) {
        let ticket = append.ticket;
        let answer = |outcome| Some(Completion::Appended { ticket, outcome });
        if how == 0 {
            return (None, answer(Err(AppendError::Unavailable { retry_ms: 1 })));
        }
        let stored = self.store.append(append);
        let published = stored.as_ref().ok().and_then(|(_, published)| published.clone());
        let outcome = match how {
            // Committed, but the confirmation was lost.
            1 => Err(AppendError::Unconfirmed { retry_ms: 1 }),
            _ => stored.map(|(appended, _)| appended),
        };
        (published.map(|published| Broadcast::Published(Arc::from([published]))), answer(outcome))
    }

    fn page(&mut self, request: &PageRequest) -> Page {
        match request.form {
            Form::Frames => self.store.page(request, self.page_bytes),
            Form::Json => {
                let page = self.store.page(request, usize::MAX);
                self.history_bytes = self.history_bytes.max(page.body.len());
                page
            }
        }
    }

    fn check_token(
        &mut self,
        token: &str,
        occasion: &Occasion,
        how: u8,
        unix_ms: u64,
    ) -> Result<Identity, Denied> {
        let (permissions, lives_ms) = match how {
            0 => return Err(Denied::OtherUser),
            1 => return Err(Denied::Token(TokenFault::Malformed)),
            2 => return Err(Denied::TooManyOfUser),
            3 => (Permissions::from_claim(READER).expect("valid"), 1 << 40),
            4 => (Permissions::everything(), 2_000),
            5 => return Err(Denied::Unchecked { retry_ms: 1_000, reference: None }),
            6 => return Err(Denied::TooManyWaiting),
            _ => (Permissions::everything(), 1 << 40),
        };
        if how == 3 {
            self.restricted.insert(token.into());
        }
        let counted = match occasion {
            Occasion::Connect => Counted::Yes,
            Occasion::Refresh(_) | Occasion::Recheck(_) => Counted::No,
        };
        self.users += i64::from(counted == Counted::Yes);
        let ann = Identity::new(UserName::parse("ann").expect("valid"), Arc::new(permissions));
        Ok(Identity { expires_unix_ms: Some(unix_ms + lives_ms), counted, ..ann })
    }

    /// After the last connection nothing may be left.
    pub fn assert_empty(&self) {
        assert_eq!((self.users, self.addresses), (0, 0), "each counted connection is released");
        assert!(self.followed.is_empty(), "channels without subscribers are left: {:?}", self.followed);
    }
}
