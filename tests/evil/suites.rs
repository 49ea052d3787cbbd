//! Suites and parameters are compiled in: whatever an answer says of one, wherever in it, is refused. Not the numbers
//! that somebody thought of: any number, in any place of every answer that a secret is used with.

use lockstep_client::{
    Client, Error,
    crypto::{password::Password, recovery::RecoveryCode},
};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    account::none,
    ground::{Ground, held, nothing_secret},
    people::{Device, password},
    proxy::Lie,
};

/// What somebody who knows how passwords are stretched and boxes are made could name.
const NAMES: [&str; 10] = [
    "suite",
    "kdf",
    "algorithm",
    "format",
    "version",
    "memory_kib",
    "iterations",
    "parallelism",
    "salt",
    "box_suite",
];

/// Where a password or a recovery code is used, and the answers that come before its end.
const PROOFS: [(Secret, &str); 7] = [
    (Secret::LogIn, "/v1/sessions/start"),
    (Secret::LogIn, "/v1/sessions/finish"),
    (Secret::Change, "/v1/sessions/step-up/start"),
    (Secret::Change, "/v1/sessions/step-up/finish"),
    (Secret::Change, "/v1/account"),
    (Secret::Change, "/v1/account/password/start"),
    (Secret::Recover, "/v1/recovery/start"),
];

/// Where statements, versions and their wrapped keys come from.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Account,
    Vault,
    /// By a device that has read nothing yet.
    Snapshot,
}

const READINGS: [Reading; 3] = [Reading::Account, Reading::Vault, Reading::Snapshot];

#[derive(Debug, Clone, Copy)]
enum Secret {
    LogIn,
    Change,
    Recover,
}

/// Something that an answer names.
#[derive(Debug, Clone)]
struct Named {
    /// In which object of the answer.
    place: Index,
    name: &'static str,
    value: Value,
}

fn named() -> impl Strategy<Value = Named> {
    let small = (0_u64..5).prop_map(Value::from);
    let large = prop_oneof![any::<u16>().prop_map(Value::from), any::<u64>().prop_map(Value::from)];
    let other = prop_oneof![
        Just(Value::Null),
        "[a-z0-9-]{0,12}".prop_map(Value::from),
        Just(Value::Array(Vec::new()))
    ];
    let value = prop_oneof![2 => small, 3 => large, 1 => other];
    (any::<Index>(), prop::sample::select(NAMES.to_vec()), value).prop_map(|(place, name, value)| Named {
        place,
        name,
        value,
    })
}

/// Where the objects in a value are.
fn objects(value: &Value, at: &str) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(array) => array.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let own = value.is_object().then(|| at.to_owned());
    let below = below.into_iter().flat_map(|(name, value)| objects(value, &format!("{at}/{name}")));
    own.into_iter().chain(below).collect()
}

/// Names it in the answers at a path; nothing, if it is what they say anyway.
fn says(path: String, named: Named) -> Lie {
    Box::new(move |asked, answer, _| {
        let fits = asked.path.split('?').next().is_some_and(|asked| asked.ends_with(&path));
        let Ok(mut said) = serde_json::from_slice::<Value>(&answer.body) else { return false };
        if !fits || answer.status >= 300 || asked.method == "LIVE" {
            return false;
        }
        let places = objects(&said, "");
        let place =
            said.pointer_mut(&places[named.place.index(places.len())]).unwrap().as_object_mut().unwrap();
        if place.insert(named.name.to_owned(), named.value.clone()) == Some(named.value.clone()) {
            place.insert(named.name.to_owned(), Value::Null);
        }
        answer.body = said.to_string().into_bytes();
        true
    })
}

/// Refused for what it is: no answer, one of a newer program, or one that is not authentic.
fn is_refusal(error: Option<&Error>) -> bool {
    matches!(error, Some(Error::Protocol(_) | Error::UpdateNeeded(_) | Error::Alarm(_)))
}

struct Scene {
    ground: Ground,
    second: Device,
    unread: Device,
    code: RecoveryCode,
}

impl Scene {
    async fn set() -> Self {
        let (ground, first, second) = Ground::with_news(&["three"]).await;
        let code = first.new_recovery_code(&password(), &mut none).await.unwrap();
        let unread = ground.unread().await;
        Self { ground, second, unread, code }
    }

    /// Uses a secret while the server names something: how it failed, and no profile came of it.
    async fn uses(&self, secret: Secret) -> Option<Error> {
        let home = tempfile::tempdir().unwrap();
        let (address, name) = (&self.ground.server.address, &self.ground.name);
        let new = Password::new("umbrella seldom wrote eleven".to_owned());
        let failed = match secret {
            Secret::LogIn => Client::login(home.path(), address, name, &password()).await.err(),
            Secret::Recover => Client::recover(home.path(), address, name, &self.code, &new).await.err(),
            Secret::Change => return self.second.change_password(&password(), &new, &mut none).await.err(),
        };
        assert!(Client::profile(home.path()).is_err(), "no profile is made");
        failed
    }

    async fn proof(&self, (secret, path): (Secret, &'static str), named: Named) -> Result<(), TestCaseError> {
        self.ground.proxy.tell(says(path.to_owned(), named));
        let failed = self.uses(secret).await;
        let (told, after) = self.ground.proxy.honest();
        prop_assert!(told > 0, "it was not told");
        prop_assert!(is_refusal(failed.as_ref()), "{failed:?}");
        prop_assert!(after.is_empty(), "sent after it: {after:?}");
        self.second.acknowledge_alarms().await.unwrap();
        Ok(())
    }

    async fn reading(&self, reading: Reading, named: Named) -> Result<(), TestCaseError> {
        let status = self.second.status().await.unwrap();
        let (device, path) = match reading {
            Reading::Account => (&self.second, format!("{}/changes", status.account)),
            Reading::Vault => (&self.second, format!("{}/changes", status.vault)),
            Reading::Snapshot => (&self.unread, "/snapshot".to_owned()),
        };
        let before = held(device).await;
        self.ground.proxy.tell(says(path, named));
        let failed = device.sync().await.err();
        let (told, after) = self.ground.proxy.honest();
        prop_assert!(told > 0, "it was not told");
        prop_assert!(is_refusal(failed.as_ref()), "{failed:?}");
        prop_assert_eq!(held(device).await, before);
        nothing_secret(&after);
        device.acknowledge_alarms().await.unwrap();
        Ok(())
    }
}

/// Tries so many; `PROPTEST_CASES` makes it more.
fn each<C: std::fmt::Debug>(
    cases: u32,
    strategy: impl Strategy<Value = C>,
    test: impl Fn(C) -> Result<(), TestCaseError>,
) {
    let cases = cases.max(std::env::var("PROPTEST_CASES").map_or(0, |asked| asked.parse().unwrap()));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    TestRunner::new(config).run(&strategy, test).unwrap();
}

#[test]
fn whatever_suite_or_parameter_an_answer_names_where_a_secret_is_used_is_refused() {
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::set());
    each(32, (prop::sample::select(PROOFS.to_vec()), named()), |(proof, named)| {
        runtime.block_on(scene.proof(proof, named))
    });
    // What is told the truth is used as ever, under the suite that is compiled in.
    let new = Password::new("umbrella seldom wrote eleven".to_owned());
    runtime.block_on(async {
        scene.second.change_password(&password(), &new, &mut none).await.unwrap();
        assert_eq!(Client::profile(scene.second.home.path()).unwrap().suite, 1);
        drop(scene);
    });
}

#[test]
fn whatever_suite_or_parameter_is_named_beside_versions_or_their_keys_is_refused() {
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::set());
    each(64, (prop::sample::select(READINGS.to_vec()), named()), |(reading, named)| {
        runtime.block_on(scene.reading(reading, named))
    });
    runtime.block_on(async {
        scene.ground.recovers(&scene.second, &["one", "three", "two"]).await;
        scene.ground.recovers(&scene.unread, &["one", "three", "two"]).await;
        drop(scene);
    });
}
