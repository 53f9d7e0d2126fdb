//! Clients that return.

use super::*;
use crate::slo::returns::ClientReturn;

const SUBSCRIBE: &str = r#"{"id":2,"subscribe":{"channel":"d"}}"#;
const RETURN: &str = r#"{"id":1,"connect":{"client":"web 1","previous":{"connection":"2a","code":1006,"attempts":2,"offline_ms":900}}}"#;
const RECOVERING: &str = r#"{"id":1,"connect":{"recover":[{"channel":"c","epoch":"7","offset":1}],"previous":{"connection":"2","code":1,"attempts":1}}}"#;

/// Waits for clients that have returned.
fn returned(stage: &mut Stage) -> Vec<ClientReturn> {
    let mut returns = Vec::new();
    stage.turn_until(|stage| {
        returns.extend(stage.engine.take_returns());
        !returns.is_empty()
    });
    returns
}

#[test]
fn client_that_recovers_nothing_has_returned_with_connected() {
    let mut stage = Stage::new(AuthMode::Off);
    stage.chat(&[RETURN]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 1);
    let returns = stage.engine.take_returns();
    assert_eq!((returns.len(), returns[0].previous.connection, returns[0].away_ms()), (1, 0x2a, 900));
    assert!(stage.engine.take_returns().is_empty(), "once");
}

#[test]
fn restore_time_lasts_until_everything_is_recovered() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[RECOVERING]);
    let position = stage.asked();
    stage.pause = Duration::from_millis(700);
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(9)) });
    stage.turn_until(|stage| stage.has(client, r#""connected""#));
    stage.pause = Duration::from_millis(1);
    assert!(stage.engine.take_returns().is_empty(), "eight publications are missing");
    stage.turn_until(|stage| !stage.engine.patience().is_zero());
    assert!(stage.engine.patience() <= Duration::from_millis(100), "no turn comes for the next look");
    stage.leave(client);
    let returns = returned(&mut stage);
    assert_eq!(returns.len(), 1, "one that leaves again is reported, too");
    assert!(returns[0].restore_ms >= 700, "{}", returns[0].restore_ms);
}

#[test]
fn subscription_that_is_opened_later_does_not_delay_the_return() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[RECOVERING, SUBSCRIBE]);
    let position = stage.asked();
    stage.answer(Completion::Page { ticket: position.ticket, outcome: Ok(page(1)) });
    let returns = returned(&mut stage);
    assert!(!stage.has(client, r#""subscribed""#), "its log has not been read");
    assert!(returns.len() == 1 && returns[0].restore_ms < 1_000, "{returns:?}");
}

#[test]
fn version_is_counted_while_its_client_is_connected() {
    let mut stage = Stage::new(AuthMode::Off);
    let client = stage.chat(&[RETURN]);
    stage.turn_until(|stage| stage.engine.tally.connected.read() == 1);
    let versions = stage.engine.take_versions().expect("changed");
    assert_eq!((versions.kept[0].version.as_str(), versions.kept[0].clients), ("web 1", 1));
    stage.leave(client);
    stage.turn_until(|stage| stage.engine.is_empty());
    assert_eq!(stage.engine.take_versions().map(|versions| versions.kept.len()), Some(0));
    assert_eq!(stage.engine.take_versions(), None);
}
