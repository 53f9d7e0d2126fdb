use super::*;
use crate::wire::short_text::ShortText;

fn client(connection: u64, offline_ms: u32) -> Box<ClientReturn> {
    let previous = Previous {
        connection,
        code: 1006,
        reason: ShortText::of("lost"),
        reference: ShortText::default(),
        offline_ms,
        idle_ms: 0,
        waited_ms: 0,
        attempts: 1,
        failed: Default::default(),
    };
    Box::new(ClientReturn { previous, restore_ms: 0 })
}

fn end_of(judged: Option<JudgedReturn>) -> Option<EndKind> {
    judged.expect("judged").end
}

#[test]
fn return_is_proven_once_by_an_end_of_this_instance() {
    let mut returns = Returns::default();
    assert_eq!(returns.ended(7, EndKind::Lost, 10), None);
    assert_eq!(end_of(returns.returned(client(7, 1), 11)), Some(EndKind::Lost));
    assert_eq!(end_of(returns.returned(client(7, 1), 12)), None, "an end proves one return");
}

#[test]
fn return_before_its_end_is_proven_when_the_end_is_known() {
    let mut returns = Returns::default();
    assert_eq!(returns.returned(client(7, 1), 10), None);
    assert_eq!(end_of(returns.returned(client(7, 2), 10)), None, "one waits already");
    let judged = returns.ended(7, EndKind::Lost, 60).expect("it waited");
    assert_eq!((judged.client.previous.offline_ms, judged.end), (1, Some(EndKind::Lost)));
    assert_eq!(end_of(returns.returned(client(7, 3), 61)), None);
    assert_eq!((0..64).map(|_| returns.not_returned(600)).sum::<u64>(), 0);
}

#[test]
fn client_cannot_have_been_away_much_longer_than_its_end_is_known() {
    const WEEK_MS: u32 = 7 * 24 * 3_600_000;
    let exaggerated = |connection| {
        let mut client = client(connection, WEEK_MS);
        (client.previous.idle_ms, client.previous.waited_ms) = (WEEK_MS, 1_000);
        client.previous.failed[0] = 9;
        client
    };
    let bounded = |judged: Option<JudgedReturn>| {
        let Previous { offline_ms, idle_ms, waited_ms, failed, .. } = judged.expect("judged").client.previous;
        (offline_ms, idle_ms, waited_ms, failed[0])
    };
    let mut returns = Returns::default();
    returns.ended(7, EndKind::Failed(BadCause::Fault), 10);
    let most = (EARLY_S + 2) * 1_000;
    assert_eq!(bounded(returns.returned(exaggerated(7), 12)), (most, most, 1_000, 1));
    assert_eq!(returns.returned(exaggerated(8), 12), None);
    let most = EARLY_S * 1_000;
    assert_eq!(bounded(returns.ended(8, EndKind::Lost, 60)), (most, most, 1_000, 1));
    returns.ended(9, EndKind::Lost, 10);
    let late = returns.returned(client(9, 250_000), 260).expect("judged");
    assert_eq!(late.client.previous.offline_ms, 250_000, "an honest report stays as it is");
}

#[test]
fn return_of_another_instance_is_not_proven() {
    let mut returns = Returns::default();
    assert_eq!(returns.returned(client(7, 1), 10), None);
    assert_eq!(returns.expire(10 + EARLY_S - 1), None);
    assert_eq!(end_of(returns.expire(10 + EARLY_S)), None);
    assert_eq!(returns.expire(1_000), None);
}

#[test]
fn waiting_returns_have_a_bound_and_the_oldest_makes_room() {
    let mut returns = Returns::default();
    for connection in 1..=EARLY_MAX as u64 {
        assert_eq!(returns.returned(client(connection, 1), 10), None);
    }
    let oldest = returns.returned(client(5_000, 1), 11).expect("no room");
    assert_eq!((oldest.client.previous.connection, oldest.end), (1, None));
    assert_eq!(returns.early.len(), EARLY_MAX);
}

#[test]
fn lost_client_that_stays_away_is_counted_once() {
    let mut returns = Returns::default();
    for (connection, kind) in
        [(1, EndKind::Lost), (2, EndKind::Lost), (3, EndKind::Client), (4, EndKind::Drain)]
    {
        returns.ended(connection, kind, 10);
    }
    returns.returned(client(2, 1), 20);
    let mut round = |now_s| (0..64).map(|_| returns.not_returned(now_s)).sum::<u64>();
    assert_eq!(round(10 + RETURN_AWAITED_S - 1), 0);
    assert_eq!(round(10 + RETURN_AWAITED_S), 1);
    assert_eq!(round(10 + 2 * RETURN_AWAITED_S), 0);
}

#[test]
fn ends_take_a_fixed_memory_and_nearly_all_of_them_are_found() {
    let mut returns = Returns::default();
    // As an instance names its connections: a tag, and a number that is spread over the other bits.
    let name = |number: u64| 0xe36a_0000_0000_0000 | (number << 8);
    let kept = ENDS_MAX as u64 / 2;
    for number in 0..3 * ENDS_MAX as u64 {
        returns.ended(name(number), EndKind::Lost, number as u32);
    }
    let newest = (2 * ENDS_MAX as u64 + kept)..3 * ENDS_MAX as u64;
    let found = newest.filter(|number| returns.ends.take(name(*number)).is_some()).count() as u64;
    assert!(found * 100 >= kept * 95, "{found} of {kept}");
    assert_eq!(returns.ends.places.len() * WAYS, ENDS_MAX);
}

#[test]
fn recovery_is_judged_by_the_time_away_without_idle_time() {
    let judge = |offline_ms, idle_ms, restore_ms, end| {
        let mut client = client(7, offline_ms);
        client.previous.idle_ms = idle_ms;
        client.restore_ms = restore_ms;
        client.recovery(end)
    };
    let late = Some(SloOutcome::Bad(BadCause::Late));
    let own = Some(SloOutcome::Excluded(Exclusion::Client));
    assert_eq!(judge(29_000, 0, 1_000, EndKind::Lost), Some(SloOutcome::Good));
    assert_eq!(judge(29_000, 0, 1_001, EndKind::Lost), late);
    assert_eq!(judge(50_000, 20_000, 0, EndKind::Lost), Some(SloOutcome::Good));
    assert_eq!(judge(50_000, 25_001, 0, EndKind::Lost), own, "it slept for most of the time");
    assert_eq!(judge(31_000, 0, 0, EndKind::Drain), late, "a restart should take less");
    assert_eq!(judge(31_000, 0, 0, EndKind::Client), own);
    let mut moved = client(7, 0);
    moved.previous.reason = ShortText::of("moved");
    assert_eq!(moved.recovery(EndKind::Client), None);
}

#[test]
fn down_time_is_of_ends_by_the_gateway_and_leaves_out_waits_that_were_counted() {
    let down = |offline_ms, code, drain| {
        let mut client = client(7, offline_ms);
        client.previous.idle_ms = 1_000;
        client.previous.waited_ms = 2_000;
        client.down(EndKind::of(code, drain))
    };
    let of = |cause, ms| Some((SloOutcome::Bad(cause), ms));
    assert_eq!(down(9_000, 1011, DrainReason::Requested), of(BadCause::Unavailable, 6_000));
    assert_eq!(down(9_000, 1013, DrainReason::Requested), of(BadCause::Capacity, 6_000));
    assert_eq!(down(9_000, 1012, DrainReason::Fault), of(BadCause::Fault, 6_000));
    let drain = SloOutcome::Excluded(Exclusion::Drain);
    assert_eq!(down(9_000, 1012, DrainReason::Requested), Some((drain, 6_000)));
    assert_eq!(down(86_400_000, 1011, DrainReason::Requested), of(BadCause::Unavailable, DOWN_MS_MAX));
    for code in [1000, 1006, 4408, 4501] {
        assert_eq!(down(9_000, code, DrainReason::Fault), None, "{code}");
    }
    assert_eq!(down(3_000, 1011, DrainReason::Requested), None);
}
