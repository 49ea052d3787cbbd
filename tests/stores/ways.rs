//! What is kept about ways in that are not a password, and about mail: tasks, addresses, mailed links, identities
//! elsewhere.

use std::sync::Arc;

use lockstep_events::{AccountId, Micros, Position, SessionId};
use lockstepd::{
    auth::{
        addresses::{Address, FINISH_S, MailedLink, Purpose, Standing},
        credentials::{NameIndex, PasswordRecord, Reservation, Reserved},
        identities::{Flow, Identity, IdentityKey},
    },
    mail::outbox::{Task, confirmed_id},
};
use uuid::Uuid;

use crate::{open::Entrances, over_every_adapter};

over_every_adapter! { sqlite = crate::open::sqlite_entrances, postgres = crate::open::postgres_entrances; {
    a_task_is_put_once_and_never_again_after_it_was_done;
    a_task_is_not_claimed_before_its_time_nor_twice_within_a_lease;
    a_postponed_task_waits_and_a_done_one_is_not_postponed;
    of_many_who_claim_each_task_has_one;
    only_tasks_that_were_done_long_ago_are_forgotten;
    tasks_about_an_account_are_forgotten_with_it;
    what_events_have_become_tasks_never_goes_back;
    an_account_claims_one_address_the_last_that_it_named;
    only_a_confirmed_address_leads_to_its_account;
    an_address_that_another_has_confirmed_is_not_confirmed;
    of_many_accounts_that_confirm_an_address_exactly_one_has_it;
    what_follows_from_a_confirmation_is_told_again_by_its_link_and_waits_as_a_task;
    a_link_confirms_its_own_address_and_not_one_that_was_named_since;
    a_second_address_makes_the_first_the_former_one_and_a_name_that_was_it_follows;
    who_had_a_confirmed_address_only_for_a_name_can_no_longer_be_entered;
    three_links_of_a_purpose_are_outstanding_at_most;
    links_for_an_address_that_was_mistyped_take_nothing_from_the_right_one;
    of_many_who_press_a_link_exactly_one_has_it;
    a_pressed_link_is_given_to_its_initiator_once;
    a_link_that_ran_out_is_nothing_and_is_swept;
    a_flow_is_taken_once_by_its_owner_and_not_after_its_time;
    an_identity_belongs_to_the_first_account_that_links_it;
    an_identity_is_unlinked_by_its_own_account_alone;
}}

pub type Store = Arc<dyn Entrances>;

pub const NOW: Micros = Micros(1_000_000);
pub const LATER: Micros = Micros(2_000_000);
const MUCH_LATER: Micros = Micros(3_000_000);

pub fn account(n: u128) -> AccountId {
    AccountId(Uuid::from_u128(n))
}

const fn task(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Numbers and tries of the tasks that are claimed.
async fn claimed(store: &Store, now: Micros, until: Micros) -> Vec<(u128, u32)> {
    let tasks = store.claim_tasks(now, until, 99).await.unwrap();
    let mut tasks: Vec<_> = tasks.into_iter().map(|one| (one.id.as_u128(), one.tries)).collect();
    tasks.sort_unstable();
    tasks
}

async fn a_task_is_put_once_and_never_again_after_it_was_done(store: Store) {
    store.put_task(task(1), None, b"one", NOW).await.unwrap();
    store.put_task(task(1), None, b"another", NOW).await.unwrap();
    let found = store.claim_tasks(NOW, LATER, 9).await.unwrap();
    assert_eq!(
        found.iter().map(|one| (one.id, &*one.task, one.tries)).collect::<Vec<_>>(),
        [(task(1), &b"one"[..], 1)]
    );
    store.finish_task(task(1), NOW).await.unwrap();
    store.put_task(task(1), None, b"one", NOW).await.unwrap();
    assert_eq!(claimed(&store, MUCH_LATER, MUCH_LATER).await, []);
}

async fn a_task_is_not_claimed_before_its_time_nor_twice_within_a_lease(store: Store) {
    store.put_task(task(1), None, b"x", LATER).await.unwrap();
    assert_eq!(claimed(&store, NOW, LATER).await, []);
    assert_eq!(claimed(&store, LATER, MUCH_LATER).await, [(1, 1)]);
    assert_eq!(claimed(&store, LATER, MUCH_LATER).await, []);
    assert_eq!(claimed(&store, MUCH_LATER, MUCH_LATER).await, [(1, 2)]);
}

async fn a_postponed_task_waits_and_a_done_one_is_not_postponed(store: Store) {
    for n in [1, 2] {
        store.put_task(task(n), None, b"x", NOW).await.unwrap();
    }
    store.postpone_task(task(1), MUCH_LATER).await.unwrap();
    store.finish_task(task(2), NOW).await.unwrap();
    store.postpone_task(task(2), NOW).await.unwrap();
    assert_eq!(claimed(&store, LATER, LATER).await, []);
    assert_eq!(claimed(&store, MUCH_LATER, MUCH_LATER).await, [(1, 1)]);
}

async fn of_many_who_claim_each_task_has_one(store: Store) {
    for n in 0..40 {
        store.put_task(task(n), None, b"x", NOW).await.unwrap();
    }
    let claiming = (0..16).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.claim_tasks(NOW, LATER, 5).await.unwrap() })
    });
    let mut all = Vec::new();
    for one in claiming.collect::<Vec<_>>() {
        let few = one.await.unwrap();
        assert!(few.len() <= 5);
        all.extend(few.into_iter().map(|one| one.id.as_u128()));
    }
    all.extend(claimed(&store, NOW, LATER).await.into_iter().map(|(n, _)| n));
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

async fn only_tasks_that_were_done_long_ago_are_forgotten(store: Store) {
    for n in 1..=3 {
        store.put_task(task(n), None, b"x", NOW).await.unwrap();
    }
    store.finish_task(task(1), NOW).await.unwrap();
    store.finish_task(task(2), LATER).await.unwrap();
    assert_eq!(store.sweep_tasks(LATER).await.unwrap(), 1);
    for n in 1..=3 {
        store.put_task(task(n), None, b"x", NOW).await.unwrap();
    }
    assert_eq!(claimed(&store, NOW, LATER).await, [(1, 1), (3, 1)]);
}

async fn tasks_about_an_account_are_forgotten_with_it(store: Store) {
    let (gone, other) = (account(90), account(91));
    for (n, about) in [(1, Some(gone)), (2, Some(other)), (3, None), (4, Some(gone))] {
        store.put_task(task(n), about, b"x", NOW).await.unwrap();
    }
    store.finish_task(task(4), NOW).await.unwrap();
    store.forget_tasks(gone).await.unwrap();
    store.forget_tasks(gone).await.unwrap();
    assert_eq!(claimed(&store, NOW, LATER).await, [(2, 1), (3, 1)]);
    // Nothing is remembered of it: the same task again is a new one.
    store.put_task(task(4), None, b"x", NOW).await.unwrap();
    assert_eq!(claimed(&store, NOW, LATER).await, [(4, 1)]);
}

async fn what_events_have_become_tasks_never_goes_back(store: Store) {
    assert_eq!(store.reacted().await.unwrap(), None);
    for (to, stands) in [(5, 5), (3, 5), (8, 8)] {
        store.set_reacted(Position(to)).await.unwrap();
        assert_eq!(store.reacted().await.unwrap(), Some(Position(stands)));
    }
}

fn pending(of: u128, index: u8) -> Address {
    let (standing, index) = (Standing::Pending, NameIndex([index; 32]));
    Address { account: account(of), standing, index, sealed: vec![9; 40], since: NOW }
}

pub async fn named(store: &Store, of: u128, index: u8) {
    store.claim_address(&pending(of, index)).await.unwrap();
}

/// The link that asked for it; one for each account and address.
pub fn asked(of: u128, index: u8) -> MailedLink {
    let token_hash = [[u8::try_from(of).unwrap(); 16], [index; 16]].concat().try_into().unwrap();
    let (purpose, index) = (Purpose::Confirm, NameIndex([index; 32]));
    MailedLink {
        token_hash,
        purpose,
        account: account(of),
        index,
        initiator: [0; 32],
        expires_at: MUCH_LATER,
    }
}

pub async fn confirmed(store: &Store, of: u128, index: u8) -> bool {
    store.confirm_address(&asked(of, index), LATER).await.unwrap().is_some()
}

/// The first byte of the address that stands so.
pub async fn standing(store: &Store, of: u128, standing: Standing) -> Option<u8> {
    store.address(account(of), standing).await.unwrap().map(|address| address.index.0[0])
}

async fn an_account_claims_one_address_the_last_that_it_named(store: Store) {
    named(&store, 5, 1).await;
    named(&store, 5, 2).await;
    assert!(store.address(account(5), Standing::Pending).await.unwrap() == Some(pending(5, 2)));
    assert!(!confirmed(&store, 5, 1).await);
    assert_eq!(standing(&store, 5, Standing::Confirmed).await, None);
    store.forget_address(account(5), Standing::Pending).await.unwrap();
    assert!(!confirmed(&store, 5, 2).await);
}

async fn only_a_confirmed_address_leads_to_its_account(store: Store) {
    named(&store, 5, 1).await;
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), None);
    assert!(store.claims(account(5), NameIndex([1; 32])).await.unwrap().pending);
    assert!(confirmed(&store, 5, 1).await);
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), Some(account(5)));
    assert_eq!(standing(&store, 5, Standing::Pending).await, None);
    // A moment later the same again is no fault.
    assert!(store.claims(account(5), NameIndex([1; 32])).await.unwrap().pending);
    assert!(confirmed(&store, 5, 1).await);
    assert_eq!(standing(&store, 5, Standing::Confirmed).await, Some(1));
}

async fn an_address_that_another_has_confirmed_is_not_confirmed(store: Store) {
    named(&store, 5, 1).await;
    named(&store, 6, 1).await;
    assert!(confirmed(&store, 5, 1).await);
    assert_eq!(standing(&store, 6, Standing::Pending).await, None, "other claims end with it");
    named(&store, 6, 1).await;
    assert!(store.claims(account(6), NameIndex([1; 32])).await.unwrap().taken);
    assert!(!confirmed(&store, 6, 1).await);
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), Some(account(5)));
}

async fn of_many_accounts_that_confirm_an_address_exactly_one_has_it(store: Store) {
    for n in 1..=8 {
        named(&store, n, 1).await;
    }
    let confirming = (1..=8).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.confirm_address(&asked(n, 1), LATER).await })
    });
    let mut winners = 0;
    for one in confirming.collect::<Vec<_>>() {
        winners += usize::from(one.await.unwrap().unwrap().is_some());
    }
    assert_eq!(winners, 1);
}

async fn what_follows_from_a_confirmation_is_told_again_by_its_link_and_waits_as_a_task(store: Store) {
    registered(&store, 6, 2).await;
    for index in [1, 2] {
        named(&store, 5, index).await;
        assert!(confirmed(&store, 5, index).await);
    }
    // Another address that waits does not change what follows from this one.
    named(&store, 5, 3).await;
    let again = async || store.confirm_address(&asked(5, 2), MUCH_LATER).await.unwrap();
    let (what, id) = (again().await.unwrap(), confirmed_id(&asked(5, 2).token_hash));
    assert_eq!((what.account, what.link), (account(5), asked(5, 2).token_hash));
    assert_eq!((what.replaced, &what.rivals[..], what.at), (true, &[account(6)][..], LATER));
    let due = LATER.plus_seconds(FINISH_S);
    assert!(
        store.claim_tasks(Micros(due.0 - 1), due, 9).await.unwrap().is_empty(),
        "whoever confirms does it"
    );
    let tasks = store.claim_tasks(due, due, 9).await.unwrap();
    let task = tasks.iter().find(|task| task.id == id).unwrap();
    assert_eq!(Task::from_bytes(&task.task), Some(Task::Confirmed { what: what.clone() }));
    assert_eq!(again().await, Some(what));
}

async fn a_link_confirms_its_own_address_and_not_one_that_was_named_since(store: Store) {
    named(&store, 5, 1).await;
    assert!(confirmed(&store, 5, 1).await);
    store.finish_task(confirmed_id(&asked(5, 1).token_hash), LATER).await.unwrap();
    named(&store, 5, 2).await;
    assert!(confirmed(&store, 5, 1).await);
    assert_eq!(standing(&store, 5, Standing::Confirmed).await, Some(1));
    assert_eq!(standing(&store, 5, Standing::Pending).await, Some(2));
}

pub fn reservation(name: u8, of: u128) -> Reservation {
    let password = PasswordRecord { account: account(of), setup: 1, suite: 1, record: vec![1; 192] };
    let (name, attempt) = (NameIndex([name; 32]), Uuid::from_u128(of));
    Reservation { name, attempt, at: NOW, password, wraps: Vec::new() }
}

pub async fn registered(store: &Store, of: u128, name: u8) {
    assert_eq!(store.reserve(&reservation(name, of)).await.unwrap(), Reserved::Yes);
    store.confirm(account(of)).await.unwrap();
}

pub async fn by_name(store: &Store, name: u8) -> Option<AccountId> {
    store.password(NameIndex([name; 32])).await.unwrap().map(|known| known.record.account)
}

async fn a_second_address_makes_the_first_the_former_one_and_a_name_that_was_it_follows(store: Store) {
    registered(&store, 5, 1).await;
    registered(&store, 6, 7).await;
    for (of, first, second) in [(5, 1, 2), (6, 3, 4)] {
        for index in [first, second] {
            named(&store, of, index).await;
            assert!(confirmed(&store, of, index).await);
        }
        let now = [Standing::Former, Standing::Confirmed];
        assert_eq!(standing(&store, of, now[0]).await, Some(first));
        assert_eq!(standing(&store, of, now[1]).await, Some(second));
    }
    let both = [by_name(&store, 1).await, by_name(&store, 2).await];
    assert_eq!(both, [Some(account(5)); 2], "the one before is held");
    assert_eq!(by_name(&store, 7).await, Some(account(6)), "a name that is no address stays");
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), None, "no letter goes by it");
}

async fn who_had_a_confirmed_address_only_for_a_name_can_no_longer_be_entered(store: Store) {
    registered(&store, 5, 1).await;
    registered(&store, 6, 2).await;
    named(&store, 6, 1).await;
    let claims = store.claims(account(6), NameIndex([1; 32])).await.unwrap();
    assert_eq!(claims.rivals, [account(5)]);
    assert!(confirmed(&store, 6, 1).await);
    assert_eq!(by_name(&store, 1).await, None);
    assert!(store.password_of(account(5)).await.unwrap().is_none());
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), Some(account(6)));
    assert_eq!(by_name(&store, 2).await, Some(account(6)));
}

fn link(token: u8, initiator: u8, expires_at: Micros) -> MailedLink {
    MailedLink {
        token_hash: [token; 32],
        purpose: Purpose::SignIn,
        account: account(5),
        index: NameIndex([1; 32]),
        initiator: [initiator; 32],
        expires_at,
    }
}

async fn three_links_of_a_purpose_are_outstanding_at_most(store: Store) {
    named(&store, 5, 1).await;
    for token in 1..=3 {
        assert!(store.put_link(&link(token, token, LATER), NOW).await.unwrap());
    }
    assert!(!store.put_link(&link(4, 4, LATER), NOW).await.unwrap());
    assert!(store.put_link(&link(3, 3, LATER), NOW).await.unwrap(), "the same again is kept already");
    assert!(store.link([1; 32], NOW).await.unwrap() == Some(link(1, 1, LATER)));
    assert!(store.link([4; 32], NOW).await.unwrap().is_none());
    let other = MailedLink { purpose: Purpose::Confirm, ..link(5, 5, LATER) };
    assert!(store.put_link(&other, NOW).await.unwrap());
    store.press_link([1; 32], NOW).await.unwrap().unwrap();
    assert!(store.put_link(&link(6, 6, LATER), NOW).await.unwrap());
    assert!(store.put_link(&link(7, 7, MUCH_LATER), LATER).await.unwrap(), "the others have run out");
}

async fn links_for_an_address_that_was_mistyped_take_nothing_from_the_right_one(store: Store) {
    let to = |token: u8, index: u8| MailedLink { token_hash: [token; 32], ..asked(5, index) };
    for index in 1..=4 {
        named(&store, 5, index).await;
        assert!(store.put_link(&to(index, index), NOW).await.unwrap(), "{index}");
    }
    // One address is asked three times at most, also if others are named in between.
    for (token, kept) in [(5, true), (6, true), (7, false)] {
        named(&store, 5, 2).await;
        named(&store, 5, 1).await;
        assert_eq!(store.put_link(&to(token, 1), NOW).await.unwrap(), kept, "{token}");
    }
}

async fn of_many_who_press_a_link_exactly_one_has_it(store: Store) {
    store.put_link(&link(1, 1, LATER), NOW).await.unwrap();
    let pressing = (0..16).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.press_link([1; 32], NOW).await.unwrap() })
    });
    let mut winners = 0;
    for one in pressing.collect::<Vec<_>>() {
        winners += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(winners, 1);
    assert!(store.link([1; 32], NOW).await.unwrap().is_none());
}

async fn a_pressed_link_is_given_to_its_initiator_once(store: Store) {
    named(&store, 5, 1).await;
    assert!(confirmed(&store, 5, 1).await);
    store.put_link(&link(1, 11, LATER), NOW).await.unwrap();
    assert_eq!(store.take_pressed([11; 32], NOW).await.unwrap(), None, "not pressed yet");
    store.press_link([1; 32], NOW).await.unwrap().unwrap();
    assert_eq!(store.take_pressed([12; 32], NOW).await.unwrap(), None, "somebody else");
    assert_eq!(store.take_pressed([11; 32], NOW).await.unwrap(), Some(account(5)));
    assert_eq!(store.take_pressed([11; 32], NOW).await.unwrap(), None);
    // The confirmation of an address proves nobody's identity.
    let confirm = MailedLink { purpose: Purpose::Confirm, ..link(2, 13, LATER) };
    store.put_link(&confirm, NOW).await.unwrap();
    store.press_link([2; 32], NOW).await.unwrap().unwrap();
    assert_eq!(store.take_pressed([13; 32], NOW).await.unwrap(), None);
}

async fn a_link_that_ran_out_is_nothing_and_is_swept(store: Store) {
    store.put_link(&link(1, 1, LATER), NOW).await.unwrap();
    store.put_link(&link(2, 2, LATER), NOW).await.unwrap();
    store.put_link(&link(3, 3, MUCH_LATER), NOW).await.unwrap();
    store.press_link([2; 32], NOW).await.unwrap().unwrap();
    assert!(store.link([1; 32], LATER).await.unwrap().is_none());
    assert!(store.press_link([1; 32], LATER).await.unwrap().is_none());
    assert_eq!(store.take_pressed([2; 32], LATER).await.unwrap(), None);
    assert_eq!(store.sweep_links(LATER).await.unwrap(), 2);
    assert!(store.link([3; 32], LATER).await.unwrap().is_some());
}

fn flow(owner: u8, link: bool) -> Flow {
    Flow {
        owner: [owner; 32],
        state_hash: [owner + 100; 32],
        provider: "work".to_owned(),
        port: u16::MAX,
        link: link.then(|| (account(5), SessionId(Uuid::from_u128(6)))),
        expires_at: LATER,
    }
}

async fn a_flow_is_taken_once_by_its_owner_and_not_after_its_time(store: Store) {
    for (owner, link) in [(1, false), (2, true), (3, false)] {
        assert!(store.put_flow(&flow(owner, link)).await.unwrap());
    }
    assert!(!store.put_flow(&Flow { port: 1, ..flow(1, true) }).await.unwrap());
    assert_eq!(store.flow_port([101; 32], NOW).await.unwrap(), Some(u16::MAX));
    assert_eq!(store.flow_port([1; 32], NOW).await.unwrap(), None);
    for (owner, link) in [(1, false), (2, true)] {
        assert!(store.take_flow([owner; 32], NOW).await.unwrap() == Some(flow(owner, link)));
        assert!(store.take_flow([owner; 32], NOW).await.unwrap().is_none());
    }
    assert_eq!(store.flow_port([103; 32], LATER).await.unwrap(), None);
    assert!(store.take_flow([3; 32], LATER).await.unwrap().is_none());
    assert_eq!(store.sweep_flows(LATER).await.unwrap(), 1);
}

fn identity(key: u8, id: u128, of: u128) -> Identity {
    let (key, id, provider) = (IdentityKey([key; 32]), Uuid::from_u128(id), "work".to_owned());
    Identity {
        key,
        id,
        account: account(of),
        provider,
        linked_at: Micros(i64::try_from(id.as_u128()).unwrap()),
    }
}

async fn an_identity_belongs_to_the_first_account_that_links_it(store: Store) {
    assert!(store.link_identity(&identity(1, 10, 5)).await.unwrap() == identity(1, 10, 5));
    assert!(store.link_identity(&identity(1, 11, 6)).await.unwrap() == identity(1, 10, 5));
    assert!(store.link_identity(&identity(2, 9, 5)).await.unwrap() == identity(2, 9, 5));
    assert!(store.identity(IdentityKey([1; 32])).await.unwrap() == Some(identity(1, 10, 5)));
    assert!(store.identity(IdentityKey([3; 32])).await.unwrap().is_none());
    assert!(store.identities(account(5)).await.unwrap() == [identity(2, 9, 5), identity(1, 10, 5)]);
    assert!(store.identities(account(6)).await.unwrap().is_empty());
}

async fn an_identity_is_unlinked_by_its_own_account_alone(store: Store) {
    store.link_identity(&identity(1, 10, 5)).await.unwrap();
    assert!(!store.unlink_identity(account(6), task(10)).await.unwrap());
    assert!(store.unlink_identity(account(5), task(10)).await.unwrap());
    assert!(!store.unlink_identity(account(5), task(10)).await.unwrap());
    assert!(store.link_identity(&identity(1, 11, 6)).await.unwrap() == identity(1, 11, 6));
}
