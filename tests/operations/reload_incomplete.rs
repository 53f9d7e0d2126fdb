//! A reload that reaches only some of the threads is reported as incomplete, and the next one distributes everything
//! again.

use crate::operations::reload::{file, hang_up, loaded_s, reload, says};
use crate::operations::reload_dependencies::{state, table};
use crate::operations::systemd::Held;
use crate::servers::Http;
use crate::support::token::{SECRET, claims, signed};
use crate::support::{Client, Gateway, Operator, SOON, Setup, until};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

fn is_complete(gateway: &Gateway) -> bool {
    gateway.metric("seawall_configuration_whole") == 1.0
}

#[test]
fn change_taken_late_by_the_watch_is_undone_by_the_previous_file() {
    let (well, mut broken) = (Http::start(), Http::start());
    broken.stop();
    let before = format!("[limits]\nsubscriptions = 10\n{}", table("mail", &well, ""));
    let gateway = Setup::new().with_admin().toml(&before).start();
    let operator = Operator::of(&gateway);
    until(SOON, "the dependency was probed", || state(&operator, "mail") == "ok");
    let loaded = loaded_s(&gateway);
    assert!(is_complete(&gateway));

    let held = Held::thread(&gateway, "watch");
    let next = format!(
        "[limits]\nsubscriptions = 20\n{}{}",
        table("mail", &broken, ""),
        table("search", &well, "criticality = \"optional\"")
    );
    reload(&gateway, &next, "incomplete");
    says(&gateway, "reload incomplete");
    assert!(!is_complete(&gateway));
    assert_eq!(loaded_s(&gateway), loaded);
    assert_eq!(Client::connect(&gateway).connected["limits"]["subscriptions"], 10);
    // An invalid file changes nothing of that, and the log also says that the earlier reload is incomplete.
    reload(&gateway, "[limits]\nsubscriptions = 0", "refused");
    says(&gateway, "earlier reload still incomplete");
    assert!(!is_complete(&gateway));
    drop(held);
    // The message was waiting for the watch thread.
    until(SOON, "the watch has applied its part", || state(&operator, "mail") == "down");
    assert_eq!(operator.get("/health/dependencies/search").status, 200);

    reload(&gateway, &before, "applied");
    assert!(is_complete(&gateway) && loaded_s(&gateway) > loaded);
    assert_eq!(operator.get("/health/dependencies/search").status, 404);
    until(SOON, "the old address is probed again", || state(&operator, "mail") == "ok");
    hang_up(&gateway, "unchanged");
    assert!(is_complete(&gateway));
}

#[test]
fn change_taken_by_the_auth_worker_alone_is_undone_and_the_file_is_distributed_again() {
    const NEXT: &str = "the-next-secret-of-at-least-32-bytes";
    let toml = |secret: &str, subscriptions: u32| {
        format!(
            "[[auth.keys]]\nkid = \"k\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n\
             [limits]\nsubscriptions = {subscriptions}"
        )
    };
    let connect = |gateway: &Gateway, secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let token = signed(&claims("ann"), Algorithm::HS256, Some("k"), &key);
        Client::open(gateway).with_connect(json!({"token": token}))
    };
    let gateway = Setup::new().toml(&toml(SECRET, 10)).start();
    assert_eq!(connect(&gateway, SECRET).connected["limits"]["subscriptions"], 10);

    // At most four messages wait for the auth worker. Each reload sends one, and a change of keys one more.
    let held = Held::thread(&gateway, "auth");
    for subscriptions in [11, 12, 13] {
        reload(&gateway, &toml(SECRET, subscriptions), "applied");
    }
    reload(&gateway, &toml(NEXT, 20), "incomplete");
    assert!(!is_complete(&gateway));
    drop(held);
    // It has applied its half: the new keys, with the previous limits.
    let mut limits = json!(null);
    until(SOON, "the auth worker has applied its part", || {
        let key = EncodingKey::from_secret(NEXT.as_bytes());
        let token = signed(&claims("ann"), Algorithm::HS256, Some("k"), &key);
        let mut client = Client::open(&gateway);
        client.send(json!({"connect": {"token": token}}));
        limits = client.try_reply(1).map_or(json!(null), |reply| reply["connected"]["limits"].clone());
        !limits.is_null()
    });
    assert_eq!(limits["subscriptions"], 13);

    reload(&gateway, &toml(SECRET, 13), "applied");
    assert_eq!(connect(&gateway, SECRET).connected["limits"]["subscriptions"], 13);
    assert!(is_complete(&gateway));
    std::fs::remove_file(file(&gateway)).expect("removed");
    hang_up(&gateway, "refused");
    assert!(is_complete(&gateway), "a complete configuration stays complete");
}
