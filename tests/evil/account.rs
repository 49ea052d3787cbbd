//! Lies about the account: its suite, its keys, its devices, its recovery code, who asks to join it.

use lockstep_api::{
    account::{Account, Devices, LoggedIn, LoginStarted, Tokens},
    approval::{Approval, Approvals, Collected},
    factor::{Demanded, Shown},
    recovery::RecoveryStarted,
    ways::Identified,
};
use lockstep_client::{Client, Error, model::AlarmKind, server::Server as Address};
use lockstep_events::{
    DeviceId, Event,
    event::AccountEvent,
    ids::PublicKey,
    roster::{Claim, Statement},
};
use uuid::Uuid;

use crate::{
    ground::{Forgery, Ground, alarmed, held},
    lies::{about, fit, page, raw, say},
    people::password,
    proxy::{Asked, Lie},
};

/// A new device logs in while the server lies: the reason, and what it sent after the lie. It leaves nothing behind.
async fn fails(ground: &Ground, lie: Lie) -> (Error, Vec<Asked>) {
    let home = tempfile::tempdir().unwrap();
    ground.proxy.tell(lie);
    let tried = Client::login(home.path(), &ground.server.address, &ground.name, &password()).await;
    let (told, after) = ground.proxy.honest();
    assert!(told > 0, "the lie was not told");
    assert!(Client::profile(home.path()).is_err(), "no profile is made");
    (tried.err().unwrap(), after)
}

/// There is no second factor here.
pub fn none(_: &Demanded) -> Result<Shown, Error> {
    Err(Error::NotFound)
}

fn inject(path: &'static str, field: &'static str) -> Lie {
    raw(path, move |answer| {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        answer.body = text.replacen('{', &format!("{{{field},"), 1).into_bytes();
    })
}

#[tokio::test]
async fn e01_e02_a_suite_that_the_server_names_is_not_used() {
    let ground = Ground::start().await;
    let first = ground.first().await;
    first.add(b"one").await.unwrap();
    first.sync().await.unwrap();
    // A weaker or a more expensive function is not even read: nothing that is made of the password is sent.
    for field in ["\"suite\":0", "\"suite\":2", "\"memory_kib\":4294967295", "\"iterations\":1"] {
        let (error, after) = fails(&ground, inject("/v1/sessions/start", field)).await;
        assert!(matches!(error, Error::Protocol(_)), "{field}: {error:?}");
        assert_eq!(after.len(), 0, "{field}");
    }
    // Nor is another number in the place of the one that is the account's.
    for suite in [0, 2, u16::MAX] {
        let lie = about("/v1/sessions/finish", move |said: &mut LoggedIn| {
            said.account.suite = suite;
            true
        });
        let (error, after) = fails(&ground, lie).await;
        assert!(matches!(error, Error::UpdateNeeded(_)), "{suite}: {error:?}");
        assert_eq!(after.len(), 0, "{suite}");
    }
    let second = ground.another().await;
    assert_eq!(second.contents().await, ["one"]);
    assert_eq!(Client::profile(second.home.path()).unwrap().suite, 1);
}

#[tokio::test]
async fn e07_a_roster_that_is_shorter_than_it_was_is_not_taken() {
    let (ground, first, second) = Ground::two().await;
    let vault = first.status().await.unwrap().vault;
    let old = first.status().await.unwrap().key_generation;
    first.rotate_vault_key(vault).await.unwrap();
    // To a device that knows it: an older statement in the place of the newest.
    let known: Account = get(&first, "/v1/account").await;
    let older = known.roster[1].clone();
    ground
        .caught(
            &second,
            AlarmKind::Roster,
            stated(move |newest| {
                let epoch = newest.epoch;
                newest.clone_from(&older);
                newest.epoch = epoch;
            }),
        )
        .await;
    // To a new device: everything as it was before, which fits; but what it states then does not follow.
    let (error, after) = fails(
        &ground,
        about("/v1/sessions/finish", move |said: &mut LoggedIn| {
            said.account.roster.pop();
            said.account.wraps.retain(|wrap| wrap.name == format!("vault/{vault}") || wrap.generation <= old);
            let newest = format!("vault/{vault}/2");
            said.account.wraps.retain(|wrap| wrap.name != newest);
            true
        }),
    )
    .await;
    assert!(matches!(&error, Error::Refused { .. } | Error::Alarm(_)), "{error:?}");
    assert!(after.len() <= 1, "its own statement, signed, and nothing else: {after:?}");
    ground.recovers(&second, &["one", "two", "unsaid"]).await;
    assert_eq!(second.status().await.unwrap().key_generation, 2);
}

async fn get<T: serde::de::DeserializeOwned>(device: &Client, path: &str) -> T {
    let (status, text) = device.api("GET", path, None).await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The last statement of a page of the account's stream is another one.
fn stated(mut forge: impl FnMut(&mut Statement) + Send + 'static) -> Lie {
    page(move |page, before| {
        for event in page.events.iter_mut().rev() {
            let said = crate::lies::said(event);
            let Some(Event::Account(AccountEvent::RosterStated(mut stated))) = said else { continue };
            forge(&mut stated.statement);
            say(event, &Event::Account(AccountEvent::RosterStated(stated)));
            fit(page, before);
            return true;
        }
        false
    })
}

/// What a server does to a request of a device that asks to join.
type Exchange = fn(&mut Approval);

#[tokio::test]
async fn e19_a_pairing_key_that_was_exchanged_has_other_words_and_opens_nothing() {
    let (ground, first, _second) = Ground::two().await;
    let home = tempfile::tempdir().unwrap();
    let asking = Client::ask_approval(home.path(), &ground.server.address, &ground.name).await.unwrap();
    let honest = first.approvals().await.unwrap().remove(0);
    assert_eq!(honest.words, asking.words());
    let exchanges: [(Exchange, bool); 4] = [
        (|asked| asked.kem_key.0[0] ^= 1, true),
        (|asked| asked.public_key.0[0] ^= 1, true),
        (|asked| asked.device = DeviceId(Uuid::from_u128(19)), true),
        // What the server gives a request, it could choose until two requests show the same words.
        (|asked| asked.approval = Uuid::from_u128(19), false),
    ];
    for (exchange, shows) in exchanges {
        ground.proxy.tell(about("/v1/approvals", move |all: &mut Approvals| {
            all.approvals.iter_mut().for_each(exchange);
            true
        }));
        let shown = first.approvals().await.unwrap().remove(0);
        assert!(ground.proxy.honest().0 > 0);
        assert_eq!(shown.words != asking.words(), shows, "a person sees it");
    }
    // What the device collects is what was sealed for it, or an alarm.
    first.approve(&honest, &password(), &mut none).await.unwrap();
    ground.proxy.tell(about("/collect", |said: &mut Collected| {
        let Some(approved) = &mut said.approved else { return false };
        *approved.sealed.0.last_mut().unwrap() ^= 1;
        true
    }));
    let tried = Client::approved(home.path(), asking, &password()).await;
    assert!(matches!(tried.err(), Some(Error::Alarm(AlarmKind::Keys))));
    assert!(ground.proxy.honest().0 > 0);
    assert!(Client::profile(home.path()).is_err());
}

#[tokio::test]
async fn e21_a_recovery_slot_that_the_account_did_not_state_is_an_alarm() {
    let ground = Ground::start().await;
    let first = ground.first().await;
    let code = first.new_recovery_code(&password(), &mut none).await.unwrap();
    let lies: [Forgery<RecoveryStarted>; 3] = [
        (AlarmKind::Roster, |said| {
            said.account.roster.pop();
        }),
        (AlarmKind::Roster, |said| {
            let last = said.account.roster.last_mut().unwrap();
            last.claim = Claim::RecoverySlotSet { slot: 0, commitment: lockstep_events::Hash32([1; 32]) };
        }),
        (AlarmKind::Keys, |said| {
            let wrap = said.account.wraps.iter_mut().find(|wrap| wrap.name == "ark/recovery").unwrap();
            *wrap.bytes.0.last_mut().unwrap() ^= 1;
        }),
    ];
    for (kind, lie) in lies {
        ground.proxy.tell(about("/v1/recovery/start", move |said: &mut RecoveryStarted| {
            lie(said);
            true
        }));
        let home = tempfile::tempdir().unwrap();
        let address = &ground.server.address;
        let tried = Client::recover(home.path(), address, &ground.name, &code, &password()).await;
        let (told, after) = ground.proxy.honest();
        assert!(matches!(tried.err(), Some(Error::Alarm(raised)) if raised == kind));
        assert_eq!((told, after.len()), (1, 0), "nothing is sent after it");
        assert!(Client::profile(home.path()).is_err());
    }
}

/// Takes any proof, and shows this account.
fn takes_any(tokens: &Tokens, shown: &Account) -> Lie {
    let bodies = [serde_json::to_vec(tokens).unwrap(), serde_json::to_vec(shown).unwrap()];
    Box::new(move |asked, answer, _| {
        let paths = ["/v1/sessions/vault", "/v1/account"];
        let Some(nth) = paths.iter().position(|path| *path == asked.path) else { return false };
        (answer.status, answer.body) = (200, bodies[nth].clone());
        true
    })
}

#[tokio::test]
async fn another_server_that_takes_a_proof_and_shows_an_account_of_another_roster_is_an_alarm_and_not_kept() {
    let ground = Ground::start().await;
    let first = ground.first().await;
    let status = first.status().await.unwrap();
    let mut shown: Account = first.fetch("/v1/account").await.unwrap();
    shown.roster.last_mut().unwrap().claim =
        Claim::DeviceAdded { device: DeviceId(Uuid::from_u128(4)), public_key: PublicKey([4; 32]) };
    let session = Uuid::from_u128(5).into();
    let tokens = Tokens {
        account: status.account,
        device: status.device,
        session,
        access_token: "a".to_owned(),
        expires_in: 300,
        refresh_token: "r".to_owned(),
    };
    let proof =
        Identified { account: status.account, session, identity_token: "i".to_owned(), expires_in: 300 };
    let known = &ground.server.address;
    let other = Address::new(&known.url.replace("127.0.0.1", "localhost"), known.trust.clone()).unwrap();
    ground.proxy.tell(takes_any(&tokens, &shown));
    let tried = first.client.clone().enter(&other, &proof, &mut none).await;
    assert!(matches!(tried.err(), Some(Error::Alarm(AlarmKind::Roster))));
    let (told, after) = ground.proxy.honest();
    assert_eq!((told, after.len()), (2, 1), "nothing is sent after it");
    assert_eq!(Client::profile(first.home.path()).unwrap().server, *known);
    first.sessions().await.unwrap();
}

#[tokio::test]
async fn e29_a_login_that_the_server_cannot_have_a_record_for_ends_before_anything_is_proven() {
    let ground = Ground::start().await;
    let _first = ground.first().await;
    for at in [0, 40, 200, 319] {
        let (error, after) = fails(
            &ground,
            about("/v1/sessions/start", move |said: &mut LoginStarted| {
                said.response.0[at] ^= 1;
                true
            }),
        )
        .await;
        assert!(matches!(error, Error::LoginFailed), "{at}: {error:?}");
        assert_eq!(after.len(), 0, "{at}: no proof of the password is sent");
    }
}

#[tokio::test]
async fn e32_a_device_that_nobody_approved_is_an_alarm() {
    let (ground, first, second) = Ground::two().await;
    let vault = first.status().await.unwrap().vault;
    first.rotate_vault_key(vault).await.unwrap();
    let phantom =
        Claim::DeviceAdded { device: DeviceId(Uuid::from_u128(32)), public_key: PublicKey([32; 32]) };
    let claimed = phantom.clone();
    let lie = stated(move |statement| statement.claim = claimed.clone());
    ground.caught(&second, AlarmKind::Roster, lie).await;
    ground.recovers(&second, &["one", "two", "unsaid"]).await;
    // Nor does a device that is new take an account with a phantom in it.
    let (error, after) = fails(
        &ground,
        about("/v1/sessions/finish", move |said: &mut LoggedIn| {
            let mut statement = said.account.roster.last().unwrap().clone();
            statement.epoch += 1;
            statement.previous = said.account.roster.last().unwrap().hash();
            statement.claim = phantom.clone();
            said.account.roster.push(statement);
            true
        }),
    )
    .await;
    assert!(matches!(error, Error::Alarm(AlarmKind::Roster)), "{error:?}");
    assert_eq!(after.len(), 0);
    assert_eq!(alarmed(&second).await, []);
    assert!(!held(&second).await.is_empty());
}

#[tokio::test]
async fn e07_a_device_that_the_server_calls_revoked_is_not_until_a_device_signed_it() {
    let (ground, first, second) = Ground::two().await;
    let (own, lost) = (first.status().await.unwrap().device, second.status().await.unwrap().device);
    ground.proxy.tell(about("/v1/devices", |said: &mut Devices| {
        for known in &mut said.devices {
            (known.revoked, known.current) = (true, !known.current);
        }
        true
    }));
    let stands = |devices: Vec<lockstep_api::account::Device>| {
        let found = |device| devices.iter().find(|known| known.device == device).unwrap().clone();
        [own, lost].map(|device| (found(device).current, found(device).revoked))
    };
    assert_eq!(stands(first.devices().await.unwrap()), [(true, false), (false, false)]);
    first.revoke_device(lost).await.unwrap();
    assert_eq!(stands(first.devices().await.unwrap()), [(true, false), (false, true)]);
    assert!(ground.proxy.honest().0 > 0);
}
