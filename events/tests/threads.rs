//! Property tests from real threads (sync.md): losses that users of other engines met, played on the model.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use lockstep_events::{
    VersionKind,
    testing::model::{
        Fault, Held, World,
        random::Random,
        universe::{Choice, V},
        world::Push,
    },
};
use proptest::prelude::*;

fn connected(devices: usize, entries: usize) -> World {
    let mut world = World::new(devices, entries, None);
    for device in 0..devices {
        world.pull(device, 10).unwrap();
    }
    world
}

fn sync(world: &mut World, device: usize) -> Held {
    while world.devices[device].cursor != (world.server.epoch, world.server.head()) {
        world.pull(device, 100)?;
    }
    world.push_all(device)?;
    while world.devices[device].cursor.1 < world.server.head() {
        world.pull(device, 100)?;
    }
    Ok(())
}

fn sync_all(world: &mut World) {
    for _ in 0..2 {
        for device in 0..world.devices.len() {
            sync(world, device).unwrap();
        }
    }
}

fn shown(world: &World, device: usize, entry: usize) -> Vec<V> {
    world.devices[device].shown[entry].iter().copied().collect()
}

/// One entry that all devices hold.
fn shared(devices: usize) -> (World, V) {
    let mut world = connected(devices, 1);
    let first = world.edit(0, 0, None).unwrap();
    sync_all(&mut world);
    (world, first)
}

#[test]
fn two_tabs_that_save_the_same_entry_leave_two_branches_and_no_lost_save() {
    // vaultwarden #780
    let (mut world, first) = shared(2);
    let one = world.edit(0, 0, Some(first)).unwrap();
    let two = world.edit(1, 0, Some(first)).unwrap();
    sync_all(&mut world);
    for device in 0..2 {
        assert_eq!(shown(&world, device, 0), [one, two]);
    }
    let heads = &world.server.entries[0].heads;
    assert!(heads.is_divergent());
    assert_eq!(heads.winner().unwrap().version, world.universe.made[one].id);
    world.come_to_rest().unwrap();
}

#[test]
fn an_entry_deleted_here_and_edited_there_stays_visible_with_both_heads() {
    let (mut world, first) = shared(2);
    world.delete(0, 0).unwrap();
    let edit = world.edit(1, 0, Some(first)).unwrap();
    sync_all(&mut world);
    let heads = &world.server.entries[0].heads;
    assert_eq!(heads.heads.len(), 2);
    assert!(heads.is_divergent() && !heads.is_deleted());
    assert_eq!(heads.winner().unwrap().version, world.universe.made[edit].id, "live before tombstone");
    world.come_to_rest().unwrap();
}

#[test]
fn two_devices_that_delete_alike_make_one_tombstone_and_no_question() {
    let (mut world, _) = shared(3);
    for device in 0..3 {
        world.delete(device, 0).unwrap();
    }
    sync_all(&mut world);
    let heads = &world.server.entries[0].heads;
    assert_eq!(heads.heads.len(), 1);
    assert!(heads.is_deleted() && !heads.is_divergent());
    assert_eq!(world.server.head(), 2, "the same choice is the same version");
}

#[test]
fn a_retry_after_a_lost_answer_is_recognised_even_when_others_have_built_on_it() {
    let (mut world, first) = shared(2);
    let edit = world.edit(0, 0, Some(first)).unwrap();
    let push = Push { device: 0, token: 1, epoch: 1, items: vec![edit] };
    world.arrive(&push, &mut Random::new(1)).unwrap();
    sync(&mut world, 1).unwrap();
    let newer = world.edit(1, 0, Some(edit)).unwrap();
    sync(&mut world, 1).unwrap();
    let head = world.server.head();
    assert_eq!(world.devices[0].outbox, [edit]);
    sync_all(&mut world);
    assert_eq!(world.server.head(), head, "nothing was appended twice");
    assert_eq!(shown(&world, 0, 0), [newer], "and nothing came back");
}

#[test]
fn a_restored_backup_gets_back_what_newer_devices_hold() {
    // vaultwarden #3481, etesync/android #189
    let (mut world, first) = shared(3);
    let backup = world.server.log.len();
    let second = world.edit(0, 0, Some(first)).unwrap();
    sync_all(&mut world);
    let third = world.edit(1, 0, Some(second)).unwrap();
    sync(&mut world, 1).unwrap();
    world.restore(backup).unwrap();
    assert_eq!(world.server.head(), 1);
    sync_all(&mut world);
    sync_all(&mut world);
    for device in 0..3 {
        assert_eq!(shown(&world, device, 0), [third]);
        assert!(world.devices[device].known.has(second));
    }
    world.come_to_rest().unwrap();
}

#[test]
fn a_catch_up_of_page_size_plus_one_ends_and_has_everything() {
    // Etebase loops
    let mut world = connected(2, 1);
    let mut last = None;
    for _ in 0..101 {
        last = Some(world.edit(0, 0, last).unwrap());
    }
    sync(&mut world, 0).unwrap();
    world.pull(1, 100).unwrap();
    assert_eq!(world.devices[1].cursor.1, 100);
    world.pull(1, 100).unwrap();
    assert_eq!(world.devices[1].cursor.1, 101);
    let before = world.devices[1].cursor;
    world.pull(1, 100).unwrap();
    assert_eq!(world.devices[1].cursor, before, "and an empty page changes nothing");
    assert_eq!(shown(&world, 1, 0), [last.unwrap()]);
}

#[test]
fn importing_and_deleting_427_entries_in_one_range_leaves_none_anywhere() {
    // vaultwarden #4693
    let mut world = connected(2, 427);
    for entry in 0..427 {
        world.edit(0, entry, None).unwrap();
    }
    sync(&mut world, 0).unwrap();
    for entry in 0..427 {
        world.delete(0, entry).unwrap();
    }
    sync(&mut world, 0).unwrap();
    sync(&mut world, 1).unwrap();
    assert_eq!(world.server.head(), 2 * 427);
    for entry in 0..427 {
        assert!(world.server.entries[entry].heads.is_deleted());
        assert_eq!(shown(&world, 1, entry), shown(&world, 0, entry));
        assert_eq!(shown(&world, 1, entry).len(), 1);
    }
    world.come_to_rest().unwrap();
}

#[test]
fn a_hundred_stale_devices_do_not_slow_a_save() {
    // vaultwarden #3577: what a save writes and sends does not depend on who has not synced for long.
    let cost = |stale: usize| {
        let mut world = connected(2 + stale, 1);
        for device in 2..2 + stale {
            world.devices[device].online = false;
        }
        let first = world.edit(0, 0, None).unwrap();
        sync(&mut world, 0).unwrap();
        let (events, frames) = (world.server.log.len(), world.frames_sent);
        world.edit(0, 0, Some(first)).unwrap();
        sync(&mut world, 0).unwrap();
        (world.server.log.len() - events, world.frames_sent - frames)
    };
    assert_eq!(cost(100), cost(0));
    assert_eq!(cost(0), (1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_clock_that_is_off_decides_nothing(ahead in -200_000_000_000_i64..200_000_000_000) {
        let play = |clock: i64| {
            let (mut world, first) = shared(2);
            let choice = Choice {
                entry: 0,
                kind: VersionKind::Edit,
                parents: vec![first],
                content_of: None,
                content_len: 40,
            };
            world.devices[0].make(&mut world.universe, choice, 1_700_000_000_000 + clock).unwrap();
            world.edit(1, 0, Some(first)).unwrap();
            sync_all(&mut world);
            let winner = world.server.entries[0].heads.winner().unwrap();
            (winner.branch, winner.seq, world.server.entries[0].heads.heads.len())
        };
        prop_assert_eq!(play(ahead), play(0));
    }

    #[test]
    fn a_third_branch_that_arrives_during_a_resolution_stays_open(late in any::<bool>()) {
        let (mut world, first) = shared(3);
        let one = world.edit(0, 0, Some(first)).unwrap();
        let two = world.edit(1, 0, Some(first)).unwrap();
        sync(&mut world, 1).unwrap();
        sync(&mut world, 0).unwrap();
        let third = world.edit(2, 0, Some(first)).unwrap();
        let choice =
            Choice { entry: 0, kind: VersionKind::Merge, parents: vec![one, two], content_of: None, content_len: 9 };
        let merge = world.choose(0, choice).unwrap();
        for device in if late { [0, 2] } else { [2, 0] } {
            sync(&mut world, device).unwrap();
        }
        sync_all(&mut world);
        let mut open = vec![third, merge];
        open.sort_unstable();
        prop_assert_eq!(shown(&world, 1, 0), open);
    }
}

#[test]
fn one_item_that_is_refused_for_good_holds_up_no_other() {
    let mut world = connected(2, 3);
    let fine = world.edit(0, 0, None).unwrap();
    let choice =
        Choice { entry: 1, kind: VersionKind::Edit, parents: vec![], content_of: None, content_len: 65_537 };
    let unfit = world.choose(0, choice).unwrap();
    let after = world.edit(0, 2, None).unwrap();
    sync_all(&mut world);
    assert!(world.devices[0].quarantine.has(unfit) && world.devices[0].outbox.is_empty());
    assert_eq!((shown(&world, 1, 0), shown(&world, 1, 2)), (vec![fine], vec![after]));
    assert!(shown(&world, 1, 1).is_empty());
}

#[test]
fn the_model_itself_loses_a_write_when_it_is_told_to() {
    // Without this the tests above could pass in a world where nothing can go wrong.
    let mut world = World::new(2, 1, Some(Fault::ReparentUnsent));
    world.pull(0, 10).unwrap();
    world.pull(1, 10).unwrap();
    let first = world.edit(0, 0, None).unwrap();
    sync_all(&mut world);
    world.edit(0, 0, Some(first)).unwrap();
    sync(&mut world, 0).unwrap();
    world.edit(1, 0, Some(first)).unwrap();
    assert_eq!(world.pull(1, 10).unwrap_err().invariant, "C3");
}
