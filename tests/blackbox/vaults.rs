//! Further vaults, with real devices: each has its own entries, names are read by the account's devices only, and
//! every device reads all of them.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_api::Code;
use lockstep_client::{Client, Error, model::Link};
use lockstep_events::VaultId;
use lockstepd::config::Layer;

use crate::{
    keys::Ground,
    mode::Mode,
    people::{Device, another, contents, register, until},
    server::Server,
};

in_both_modes! {
    entries_of_two_vaults_stay_apart_on_every_device,
    a_vault_that_is_new_is_followed_live,
    every_vault_gets_a_new_key_when_a_device_is_removed,
    a_plan_without_room_for_another_vault_says_so_and_nothing_begins,
    names_given_apart_are_a_conflict_on_every_device_until_it_is_named_anew,
    a_server_that_was_restored_to_before_a_vault_began_gets_it_back,
}

async fn within(device: &Device, vault: VaultId) -> Client {
    device.in_vault(vault).await.unwrap()
}

async fn texts(device: &Device, vault: VaultId) -> Vec<String> {
    contents(&within(device, vault).await.entries().await.unwrap())
}

async fn names(device: &Device) -> Vec<Option<String>> {
    device.vaults().await.unwrap().into_iter().map(|vault| vault.name).collect()
}

async fn entries_of_two_vaults_stay_apart_on_every_device(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    let home = first.add(b"at home").await.unwrap();
    let work = first.create_vault(" Work ").await.unwrap();
    let at_work = within(&first, work).await;
    let job = at_work.add(b"at work").await.unwrap();
    first.file_put(&[], b"the file").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(names(&second).await, [None, Some("Work".to_owned())]);
    for device in [&first, &second, &ground.another().await] {
        assert_eq!(device.contents().await, ["at home"]);
        assert_eq!(texts(device, work).await, ["at work"]);
        // The one file stands in the first vault, wherever it is asked for.
        let file = within(device, work).await.file_get().await.unwrap().unwrap();
        assert_eq!(&*file.0, b"the file");
        assert_eq!(device.alarms().await.unwrap(), []);
    }
    // What is in one vault is nothing in the other.
    let base = first.get(home).await.unwrap().head_ids();
    assert!(matches!(at_work.get(home).await, Err(Error::NotFound)));
    assert!(matches!(at_work.edit(home, &base, b"moved").await, Err(Error::NotFound)));
    assert!(matches!(at_work.remove(home, &base).await, Err(Error::NotFound)));
    assert!(matches!(first.history(job).await, Err(Error::NotFound)));
    let nowhere = VaultId(uuid::Uuid::new_v4());
    assert!(matches!(first.in_vault(nowhere).await, Err(Error::NotFound)));
    // A conflict in the other vault is counted by every sync, and resolved where it is.
    let base = at_work.get(job).await.unwrap().head_ids();
    at_work.edit(job, &base, b"by the first").await.unwrap();
    within(&second, work).await.edit(job, &base, b"by the second").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(first.sync().await.unwrap().conflicts, 1);
    assert!(first.conflicts().await.unwrap().is_empty());
    assert_eq!(at_work.conflicts().await.unwrap().len(), 1);
    let heads = at_work.get(job).await.unwrap().head_ids();
    at_work.edit(job, &heads, b"by both").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(texts(&second, work).await, ["by both"]);
    // Which vault a profile opens at is its own choice.
    at_work.keep_vault().unwrap();
    let first = first.reopened().await;
    assert_eq!(
        (first.status().await.unwrap().vault, first.contents().await),
        (work, vec!["by both".to_owned()])
    );
    assert_eq!(second.contents().await, ["at home"]);
}

async fn a_vault_that_is_new_is_followed_live(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let work = first.create_vault("Work").await.unwrap();
    let at_work = within(&first, work).await;
    at_work.add(b"one").await.unwrap();
    first.sync().await.unwrap();
    until("the vault is there", || async {
        second.in_vault(work).await.is_ok() && texts(&second, work).await == ["one"]
    })
    .await;
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    at_work.add(b"two").await.unwrap();
    first.sync().await.unwrap();
    until("and what comes into it", || async { texts(&second, work).await == ["one", "two"] }).await;
    // What the follower writes there goes out by itself, too.
    within(&second, work).await.add(b"three").await.unwrap();
    until("and back", || async {
        first.sync().await.unwrap();
        texts(&first, work).await == ["one", "three", "two"]
    })
    .await;
    assert_eq!(
        (names(&second).await, second.alarms().await.unwrap()),
        (vec![None, Some("Work".into())], vec![])
    );
}

async fn every_vault_gets_a_new_key_when_a_device_is_removed(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second, lost) = (ground.first().await, ground.another().await, ground.another().await);
    let work = first.create_vault("Work").await.unwrap();
    within(&first, work).await.add(b"before").await.unwrap();
    first.sync().await.unwrap();
    first.revoke_device(lost.status().await.unwrap().device).await.unwrap();
    within(&first, work).await.add(b"after").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    for device in [&first, &second] {
        let vaults = device.vaults().await.unwrap();
        assert!(vaults.iter().all(|vault| vault.key_generation == 2 && !vault.due), "{vaults:?}");
        assert_eq!(texts(device, work).await, ["after", "before"]);
    }
}

async fn a_plan_without_room_for_another_vault_says_so_and_nothing_begins(mode: Mode) {
    let plans = Layer {
        plans: Some("two = { vaults = 2 }".parse().unwrap()),
        default_plan: Some("two".into()),
        ..Layer::default()
    };
    let ground = Ground::start_with(mode, plans).await;
    let first = ground.first().await;
    first.create_vault("Work").await.unwrap();
    let refused = first.create_vault("Play").await.unwrap_err();
    assert!(refused.to_string().ends_with("vaults: 2 of 2 are used"), "{refused}");
    assert!(matches!(refused, Error::Refused { problem, .. } if problem.code == Code::QuotaExceeded));
    assert!(matches!(first.create_vault("  ").await, Err(Error::Invalid(_))));
    assert_eq!(names(&first).await, [None, Some("Work".to_owned())]);
}

async fn names_given_apart_are_a_conflict_on_every_device_until_it_is_named_anew(mode: Mode) {
    let ground = Ground::start(mode).await;
    let (first, second) = (ground.first().await, ground.another().await);
    first.name_vault("Home").await.unwrap();
    second.name_vault("House").await.unwrap();
    first.sync().await.unwrap();
    for device in [&second, &first] {
        assert_eq!(device.sync().await.unwrap().conflicts, 1);
        let vault = device.vaults().await.unwrap().remove(0);
        assert!(vault.divergent);
        let both: BTreeSet<_> = vault.name.into_iter().chain(vault.also).collect();
        assert_eq!(both, BTreeSet::from(["Home".to_owned(), "House".to_owned()]));
    }
    assert_eq!(names(&first).await, names(&second).await, "the same one is shown");
    assert!(first.entries().await.unwrap().is_empty());
    assert_eq!(first.status().await.unwrap().entries, 0);
    second.name_vault("Flat").await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(first.sync().await.unwrap().conflicts, 0);
    let named = first.vaults().await.unwrap().into_iter().map(|vault| (vault.vault, vault.name));
    let named: BTreeMap<_, _> = named.collect();
    assert_eq!(named.into_values().collect::<Vec<_>>(), [Some("Flat".to_owned())]);
}

async fn a_server_that_was_restored_to_before_a_vault_began_gets_it_back(mode: Mode) {
    let mut server = Server::start_in(mode).await;
    let first = register(&server, "vaults@example.org").await;
    let second = another(&server, "vaults@example.org").await;
    first.add(b"at home").await.unwrap();
    first.sync().await.unwrap();
    let backup = server.backed_up().await;
    until("the server answers", || async { first.sync().await.is_ok() }).await;
    let work = first.create_vault("Work").await.unwrap();
    within(&first, work).await.add(b"at work").await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    within(&second, work).await.add(b"never sent").await.unwrap();
    server.goes_back_to(&backup).await;
    until("both have everything again", || async {
        let synced = (second.sync().await.is_ok(), first.sync().await.is_ok());
        synced == (true, true)
            && texts(&first, work).await == ["at work", "never sent"]
            && texts(&second, work).await == ["at work", "never sent"]
    })
    .await;
    let third = another(&server, "vaults@example.org").await;
    assert_eq!(texts(&third, work).await, ["at work", "never sent"]);
    assert_eq!(
        (names(&third).await, third.contents().await),
        (vec![None, Some("Work".into())], vec!["at home".into()])
    );
}
