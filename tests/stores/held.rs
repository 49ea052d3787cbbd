//! An address that was confirmed is held for its account, and for a time after another one has taken its place.

use std::sync::Arc;

use lockstep_events::Micros;
use lockstepd::auth::{
    addresses::{MailedLink, Purpose, Standing},
    credentials::{NameIndex, Reserved},
};

use crate::{
    over_every_adapter,
    ways::{LATER, NOW, Store, account, asked, by_name, confirmed, named, registered, reservation, standing},
};

over_every_adapter! { sqlite = crate::open::sqlite_entrances, postgres = crate::open::postgres_entrances; {
    a_former_address_is_held_for_its_account_until_it_is_freed;
    an_address_that_comes_back_gives_the_one_between_its_place;
    the_link_of_a_letter_to_the_former_address_never_becomes_one_to_the_new_one;
    a_confirmed_address_is_nobody_elses_name_and_leads_to_who_confirmed_it;
    of_a_name_and_a_confirmation_at_the_same_moment_one_stands;
}}

async fn confirms(store: &Store, of: u128, index: u8) -> bool {
    named(store, of, index).await;
    confirmed(store, of, index).await
}

async fn a_former_address_is_held_for_its_account_until_it_is_freed(store: Store) {
    registered(&store, 5, 1).await;
    for index in [1, 2] {
        assert!(confirms(&store, 5, index).await);
    }
    let taken = store.reserve(&reservation(1, 6)).await.unwrap();
    assert!(matches!(taken, Reserved::Taken { by, confirmed: true, .. } if by == account(5)), "{taken:?}");
    assert!(store.password_of(account(6)).await.unwrap().is_none(), "nothing of it is kept");
    assert!(!confirms(&store, 7, 1).await, "another account does not confirm it");
    // Whoever goes on changing it does not free the first one.
    assert!(confirms(&store, 5, 3).await);
    assert_eq!(standing(&store, 5, Standing::Former).await, Some(1));
    assert_eq!((by_name(&store, 1).await, by_name(&store, 2).await), (Some(account(5)), None));
    assert_eq!(by_name(&store, 3).await, Some(account(5)));
    assert_eq!(store.free_addresses(Micros(LATER.0 - 1)).await.unwrap(), 0);
    assert_eq!(store.free_addresses(LATER).await.unwrap(), 1);
    assert_eq!((by_name(&store, 1).await, by_name(&store, 3).await), (None, Some(account(5))));
    assert_eq!(store.reserve(&reservation(1, 6)).await.unwrap(), Reserved::Yes);
}

async fn a_confirmed_address_is_nobody_elses_name_and_leads_to_who_confirmed_it(store: Store) {
    registered(&store, 5, 7).await;
    assert!(confirms(&store, 5, 1).await);
    let taken = store.reserve(&reservation(1, 6)).await.unwrap();
    assert!(matches!(taken, Reserved::Taken { by, confirmed: true, .. } if by == account(5)), "{taken:?}");
    assert!(store.password_of(account(6)).await.unwrap().is_none(), "nothing of it is kept");
    assert_eq!(by_name(&store, 1).await, None, "it is no name to log in with");
    assert_eq!(store.account_of(NameIndex([1; 32])).await.unwrap(), Some(account(5)));
    assert_eq!(store.account_of(NameIndex([7; 32])).await.unwrap(), Some(account(5)));
}

async fn of_a_name_and_a_confirmation_at_the_same_moment_one_stands(store: Store) {
    for n in 1..=24_u8 {
        let (of, squatter) = (u128::from(n), 100 + u128::from(n));
        named(&store, of, n).await;
        let reserving = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.reserve(&reservation(n, squatter)).await.unwrap() })
        };
        let (confirmed, reserved) = tokio::join!(confirmed(&store, of, n), reserving);
        assert!(confirmed, "the name is no claim to the address");
        let reserved = reserved.unwrap();
        assert_eq!(by_name(&store, n).await, None, "the name was displaced, or not given: {reserved:?}");
        assert!(store.password_of(account(squatter)).await.unwrap().is_none());
    }
}

async fn an_address_that_comes_back_gives_the_one_between_its_place(store: Store) {
    registered(&store, 5, 1).await;
    for index in [1, 2] {
        assert!(confirms(&store, 5, index).await);
    }
    named(&store, 5, 1).await;
    let link = MailedLink { token_hash: [99; 32], ..asked(5, 1) };
    assert!(store.put_link(&link, NOW).await.unwrap());
    assert!(store.confirm_address(&link, LATER).await.unwrap().is_some());
    assert_eq!(standing(&store, 5, Standing::Confirmed).await, Some(1));
    assert_eq!(standing(&store, 5, Standing::Former).await, Some(2));
    assert_eq!((by_name(&store, 1).await, by_name(&store, 2).await), (Some(account(5)), Some(account(5))));
}

async fn the_link_of_a_letter_to_the_former_address_never_becomes_one_to_the_new_one(store: Store) {
    registered(&store, 5, 1).await;
    assert!(confirms(&store, 5, 1).await);
    let to = |index: u8, token: u8| MailedLink {
        token_hash: [token; 32],
        purpose: Purpose::SignIn,
        initiator: [token; 32],
        ..asked(5, index)
    };
    for token in [50, 51] {
        assert!(store.put_link(&to(1, token), NOW).await.unwrap());
    }
    store.press_link([51; 32], NOW).await.unwrap().unwrap();
    assert!(confirms(&store, 5, 2).await);
    assert!(store.link([50; 32], LATER).await.unwrap().is_none());
    // Whoever sends the letters has not noted that they went out, and tries again: they go to the new address now.
    for token in [50, 51] {
        store.put_link(&to(2, token), LATER).await.unwrap();
        assert!(store.link([token; 32], LATER).await.unwrap().is_none(), "the former mailbox has it, too");
        assert!(store.press_link([token; 32], LATER).await.unwrap().is_none());
        assert_eq!(store.take_pressed([token; 32], LATER).await.unwrap(), None);
    }
    // Nor do they count for what is asked of the new one.
    for token in 60..63 {
        assert!(store.put_link(&to(2, token), LATER).await.unwrap(), "{token}");
    }
    assert!(store.link([60; 32], LATER).await.unwrap().is_some());
}
