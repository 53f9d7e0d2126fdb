//! Lines under keys with few and with all rights.

use super::*;
use crate::auth::api_key::{ApiRates, Authorship};
use crate::id::ReactorId;

const PRODUCER: ProducerId = ProducerId { reactor: ReactorId(9), connection: 9 };

fn key(rights: &[ApiRight], authorship: Authorship) -> ApiKey {
    let channels = ["room.*".to_owned()];
    ApiKey::new("bot", b"secret", rights.to_vec(), &channels, authorship, ApiRates::new(0, 0)).expect("a key")
}

fn judged(key: &ApiKey, streams: StreamsMode, line: &str) -> Result<LineOrder, (Option<u64>, ProblemCode)> {
    let bounds = ApiBounds { per_request: 1, data_bytes: 16, json_depth: 8 };
    let judge = LineJudge { key, bounds, streams, producer: PRODUCER };
    judge.order(line.as_bytes()).map_err(|(id, problem)| (id.map(|id| id.0), problem.code))
}

const BEGIN: &str = r#"{"id":1,"publish":{"channel":"room.1","key":"k","data":{},"stream":{"for":"u1"}}}"#;
const APPEND: &str = r#"{"append":{"channel":"room.1","offset":1,"text":"a"}}"#;
const END: &str = r#"{"id":2,"end":{"channel":"room.1","offset":1,"state":"completed"}}"#;
const SHOW: &str = r#"{"id":3,"stream":{"channel":"room.1","offset":1}}"#;

#[test]
fn each_command_needs_its_right_on_the_channel() {
    let all = [ApiRight::Publish, ApiRight::Stream, ApiRight::History];
    for (line, needed) in [
        (BEGIN, &[ApiRight::Publish, ApiRight::Stream][..]),
        (r#"{"id":1,"publish":{"channel":"room.1","data":1}}"#, &[ApiRight::Publish]),
        (APPEND, &[ApiRight::Stream]),
        (r#"{"id":2,"restart":{"channel":"room.1","offset":1}}"#, &[ApiRight::Stream]),
        (END, &[ApiRight::Stream]),
        (r#"{"id":2,"cancel":{"channel":"room.1","offset":1}}"#, &[ApiRight::Stream]),
        (SHOW, &[ApiRight::History]),
        (r#"{"id":3,"history":{"channel":"room.1"}}"#, &[ApiRight::History]),
    ] {
        for has in 0..1_u8 << all.len() {
            let rights: Vec<ApiRight> = all
                .into_iter()
                .enumerate()
                .filter(|(at, _)| has >> at & 1 == 1)
                .map(|(_, right)| right)
                .collect();
            let key = key(&rights, Authorship::Own);
            let is_allowed = needed.iter().all(|right| rights.contains(right));
            assert_eq!(judged(&key, StreamsMode::On, line).is_ok(), is_allowed, "{line} with {rights:?}");
            let elsewhere = line.replace("room.1", "other");
            assert!(judged(&key, StreamsMode::On, &elsewhere).is_err(), "{elsewhere}");
        }
    }
}

#[test]
fn author_is_the_key_or_the_named_user() {
    let rights = [ApiRight::Publish, ApiRight::Stream];
    let (own, any) = (key(&rights, Authorship::Own), key(&rights, Authorship::AnyUser));
    let author = |order: LineOrder| match order.job {
        OrderJob::Append(append) => append.user.to_string(),
        OrderJob::Stream(job) => job.user.to_string(),
        OrderJob::Read(_) => panic!("it has an author"),
    };
    for line in [BEGIN, APPEND, END] {
        assert_eq!(author(judged(&own, StreamsMode::On, line).expect("allowed")), "$api:bot");
        let named = line.replace(r#""channel""#, r#""user":"helper","channel""#);
        assert_eq!(author(judged(&any, StreamsMode::On, &named).expect("allowed")), "helper");
        let refused = judged(&own, StreamsMode::On, &named).expect_err("it may not");
        assert_eq!(refused.1, ProblemCode::Forbidden, "{named}");
    }
}

#[test]
fn line_that_is_no_command_of_the_api_is_refused_with_its_id() {
    let key = key(&[ApiRight::Publish, ApiRight::Stream, ApiRight::History], Authorship::Own);
    let refused = |line: &str| judged(&key, StreamsMode::On, line).expect_err("refused");
    assert_eq!(refused("{"), (None, ProblemCode::Malformed));
    assert_eq!(refused(r#"{"id":7,"dance":{}}"#), (Some(7), ProblemCode::UnknownCommand));
    assert_eq!(
        refused(r#"{"id":7,"subscribe":{"channel":"room.1"}}"#),
        (Some(7), ProblemCode::UnknownCommand)
    );
    let long = r#"{"id":7,"publish":{"channel":"room.1","data":"0123456789abcdef"}}"#;
    assert_eq!(refused(long), (Some(7), ProblemCode::TooLarge));
    assert_eq!(judged(&key, StreamsMode::Off, BEGIN).expect_err("off"), (Some(1), ProblemCode::Forbidden));
    assert!(judged(&key, StreamsMode::Off, APPEND).is_ok(), "open streams go on");
    let judge = LineJudge {
        key: &key,
        bounds: ApiBounds { per_request: 1, data_bytes: 16, json_depth: 8 },
        streams: StreamsMode::On,
        producer: PRODUCER,
    };
    assert_eq!(judge.order(b"\xFF").expect_err("not UTF-8").1.code, ProblemCode::Malformed);
}
