//! A former address is held for its account for a time.

use lockstep_events::Micros;
use lockstepd::auth::{
    addresses::{MailedLink, Standing},
    credentials::Reserved,
};

use crate::{
    over_every_adapter,
    ways::{LATER, NOW, Store, account, asked, by_name, confirmed, named, registered, reservation, standing},
};

over_every_adapter! { sqlite = crate::open::sqlite_entrances, postgres = crate::open::postgres_entrances; {
    a_former_address_is_held_for_its_account_until_it_is_freed;
    an_address_that_comes_back_gives_the_one_between_its_place;
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
