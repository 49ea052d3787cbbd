//! Turning a vault's key, by requests made by hand: once for each generation, by whoever is first, and never without
//! the wrapped key.

use std::sync::atomic::{AtomicBool, Ordering};

use lockstep_api::{
    Code,
    account::{Account, OfferRoster, TurnVaultKey, Wrap},
};
use lockstep_events::{
    VaultId,
    roster::{Claim, vault_key_name},
};
use lockstepd::auth::factors::{Replacement, Staged};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::support::{
    Mode, Node, Person, assert_problem,
    backup::{back_up, restore},
};

const MODES: [Mode; 2] = [Mode::Embedded, Mode::Distributed];

impl Person {
    /// The generation after `present`, with a key made of a byte.
    fn turn(&self, account: &Account, generation: u32, key: u8) -> TurnVaultKey {
        let vault = self.vault;
        let statement = self.state(account, Claim::VaultKeyGen { vault, generation });
        let name = vault_key_name(vault, generation);
        TurnVaultKey { statement, wrap: Wrap { name, generation, bytes: vec![key; 104].into() } }
    }

    async fn send_turn(&self, node: &Node, turn: &TurnVaultKey) -> Response {
        self.post(node, &format!("/v1/vaults/{}/key", self.vault), turn).await
    }

    async fn seq(&self, node: &Node) -> u64 {
        let heads = node.running().server.log.stream_heads(&[self.account.into()]).await;
        heads.unwrap()[0].seq.0
    }
}

/// The wraps of the vault's keys, oldest first.
fn wraps(account: &Account, vault: VaultId) -> Vec<Wrap> {
    let of = |generation| {
        let name = vault_key_name(vault, generation);
        account.wraps.iter().find(|wrap| wrap.name == name).cloned()
    };
    (1..).map_while(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_generation_lies_beside_the_older_ones_and_a_retry_changes_nothing() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let ada = Person::register(&node).await;
        for generation in 2..5 {
            let account = ada.look(&node).await;
            let turn = ada.turn(&account, generation, 7);
            assert_eq!(ada.send_turn(&node, &turn).await.status(), StatusCode::NO_CONTENT);
            let seq = ada.seq(&node).await;
            assert_eq!(ada.send_turn(&node, &turn).await.status(), StatusCode::NO_CONTENT, "a retry");
            assert_eq!(ada.seq(&node).await, seq);
            let after = ada.look(&node).await;
            assert_eq!(after.roster.last(), Some(&turn.statement));
            let all = wraps(&after, ada.vault);
            assert_eq!(all.len(), generation as usize);
            assert_eq!(all.last(), Some(&turn.wrap));
            assert_eq!(all[0], wraps(&account, ada.vault)[0], "the first is as it was");
        }
        assert_eq!(ada.look(&node).await.vaults, [ada.vault]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_is_not_what_it_should_be_is_refused_and_nothing_is_written() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let (ada, bob) = (Person::register(&node).await, Person::register(&node).await);
        let account = ada.look(&node).await;
        let before = ada.seq(&node).await;
        let right = ada.turn(&account, 2, 7);
        let mut wrong = Vec::new();
        let claim = |claim| TurnVaultKey { statement: ada.state(&account, claim), ..right.clone() };
        let vault = ada.vault;
        wrong.push((ada.turn(&account, 3, 7), Code::RosterConflict));
        wrong.push((claim(Claim::VaultKeyGen { vault, generation: 1 }), Code::InvalidField));
        wrong.push((claim(Claim::VaultKeyGen { vault: bob.vault, generation: 2 }), Code::InvalidField));
        wrong.push((claim(Claim::SuiteRaised { suite: 2 }), Code::InvalidField));
        let theirs = Person { ask: bob.ask.clone(), ..ada.clone() };
        wrong.push((theirs.turn(&account, 2, 7), Code::RosterConflict));
        let mut late = right.clone();
        late.statement.epoch += 1;
        wrong.push((late, Code::RosterConflict));
        for (name, generation, len) in [
            (vault_key_name(vault, 1), 2, 104),
            (vault_key_name(vault, 3), 2, 104),
            (right.wrap.name.clone(), 3, 104),
            (right.wrap.name.clone(), 2, 0),
            (right.wrap.name.clone(), 2, 1025),
        ] {
            let wrap = Wrap { name, generation, bytes: vec![7; len].into() };
            wrong.push((TurnVaultKey { wrap, ..right.clone() }, Code::InvalidField));
        }
        for (wrong, code) in wrong {
            assert_problem(ada.send_turn(&node, &wrong).await, code).await;
        }
        // Somebody else's vault is none.
        let foreign = Person { vault: bob.vault, ..ada.clone() };
        let turn = foreign.turn(&account, 2, 7);
        assert_problem(foreign.send_turn(&node, &turn).await, Code::NotFound).await;
        assert_eq!(ada.seq(&node).await, before, "something was written");
        assert_eq!(wraps(&ada.look(&node).await, vault).len(), 1);
        assert_eq!(ada.send_turn(&node, &right).await.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_keys_for_one_generation_one_wins_and_it_is_the_one_that_everybody_gets() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let other = if mode == Mode::Distributed { Some(node.second().await) } else { None };
        let ada = Person::register(&node).await;
        for generation in 2..10 {
            let account = ada.look(&node).await;
            let [one, two] = [1, 2].map(|key| ada.turn(&account, generation, key));
            assert_eq!(one.statement, two.statement, "the statement does not tell them apart");
            let elsewhere = other.as_ref().unwrap_or(&node);
            let (first, second) = tokio::join!(ada.send_turn(&node, &one), ada.send_turn(elsewhere, &two));
            let taken = [first.status(), second.status()].map(|status| status == StatusCode::NO_CONTENT);
            assert!(taken != [true, true], "both were taken");
            for refused in [first, second].into_iter().filter(|answer| !answer.status().is_success()) {
                let code = crate::support::problem(refused).await.code;
                assert!([Code::RosterConflict, Code::PreconditionFailed].contains(&code), "{code:?}");
            }
            let winner = match taken {
                [true, _] => one,
                [_, true] => two,
                // Each found the other under way: whoever comes again is taken.
                _ => {
                    assert_eq!(ada.send_turn(&node, &one).await.status(), StatusCode::NO_CONTENT);
                    one
                }
            };
            for node in [&node, elsewhere] {
                assert_eq!(wraps(&ada.look(node).await, ada.vault).last(), Some(&winner.wrap));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrap_that_was_lost_comes_back_with_the_same_key_and_with_no_other() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let ada = Person::register(&node).await;
        let account = ada.look(&node).await;
        let turn = ada.turn(&account, 2, 7);
        assert_eq!(ada.send_turn(&node, &turn).await.status(), StatusCode::NO_CONTENT);
        let credentials = &node.running().server.credentials;
        let attempt = Uuid::new_v4();
        let replacement =
            Replacement { dropped_wraps: vec![turn.wrap.name.clone()], ..Replacement::default() };
        let staged_at = lockstep_events::Clock::now(&*node.clock);
        let lose = Staged { account: ada.account, attempt, replacement, staged_at };
        assert!(credentials.stage(&lose).await.unwrap());
        credentials.carry_out(ada.account, attempt).await.unwrap();
        assert_eq!(wraps(&ada.look(&node).await, ada.vault).len(), 1);
        let mut other = turn.clone();
        other.wrap.bytes = vec![8; 104].into();
        assert_problem(ada.send_turn(&node, &other).await, Code::RosterConflict).await;
        assert_eq!(ada.send_turn(&node, &turn).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(wraps(&ada.look(&node).await, ada.vault).last(), Some(&turn.wrap));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_is_taken_back_from_an_offer_with_its_wrap_and_not_without() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let ada = Person::register(&node).await;
        let account = ada.look(&node).await;
        let turn = ada.turn(&account, 2, 7);
        let statements = vec![turn.statement.clone()];
        let bare = OfferRoster { statements: statements.clone(), wraps: Vec::new() };
        assert_problem(ada.post(&node, "/v1/roster", &bare).await, Code::InvalidField).await;
        let many = OfferRoster { statements: statements.clone(), wraps: vec![turn.wrap.clone(); 65] };
        assert_problem(ada.post(&node, "/v1/roster", &many).await, Code::InvalidField).await;
        let offer = OfferRoster { statements, wraps: vec![turn.wrap.clone()] };
        for _ in 0..2 {
            let answer = ada.post(&node, "/v1/roster", &offer).await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        }
        assert_eq!(wraps(&ada.look(&node).await, ada.vault).last(), Some(&turn.wrap));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_a_restore_has_lost_is_taken_back_whatever_the_plan_says() {
    for mode in MODES {
        let plan = |vaults: u32| lockstepd::config::Layer {
            plans: Some(format!("one = {{ vaults = {vaults} }}").parse().unwrap()),
            default_plan: Some("one".into()),
            ..lockstepd::config::Layer::default()
        };
        let mut node = Node::start_with(mode, plan(2)).await;
        let ada = Person::register(&node).await;
        let backup = back_up(&mut node, mode).await;
        let account = ada.look(&node).await;
        let second = Person { vault: VaultId(Uuid::new_v4()), ..ada.clone() };
        let begun = second.turn(&account, 1, 7);
        let offer = OfferRoster { statements: vec![begun.statement], wraps: vec![begun.wrap.clone()] };
        assert_eq!(ada.post(&node, "/v1/roster", &offer).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(ada.look(&node).await.vaults, [ada.vault, second.vault]);

        restore(&mut node, &backup).await;
        node.restart_with(plan(1)).await;
        assert_eq!(ada.look(&node).await.vaults, [ada.vault], "it is lost");
        assert_eq!(ada.post(&node, "/v1/roster", &offer).await.status(), StatusCode::NO_CONTENT);
        let after = ada.look(&node).await;
        assert_eq!(after.vaults, [ada.vault, second.vault]);
        assert_eq!(wraps(&after, second.vault), [begun.wrap]);
        assert_eq!(second.get(&node, &format!("/v1/vaults/{}/snapshot", second.vault)).await.status(), 200);
    }
}

/// Asks for the account until the turning is over; each answer has every key that its own roster names.
async fn looks_whole(node: &Node, person: &Person, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        let account = person.look(node).await;
        let named = account.roster.iter().filter_map(|stated| match stated.claim {
            Claim::VaultKeyGen { vault, generation } if vault == person.vault => Some(generation),
            _ => None,
        });
        assert_eq!(named.max().unwrap() as usize, wraps(&account, person.vault).len(), "one is withheld");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_while_a_key_is_turned_gets_every_key_that_the_answer_names() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let other = if mode == Mode::Distributed { Some(node.second().await) } else { None };
        let elsewhere = other.as_ref().unwrap_or(&node);
        let ada = Person::register(&node).await;
        let over = AtomicBool::new(false);
        let turning = async {
            for generation in 2..62 {
                let turn = ada.turn(&ada.look(&node).await, generation, 7);
                assert_eq!(ada.send_turn(&node, &turn).await.status(), StatusCode::NO_CONTENT);
            }
            over.store(true, Ordering::SeqCst);
        };
        let looking = (0..8).map(|n| looks_whole(if n % 2 == 0 { &node } else { elsewhere }, &ada, &over));
        tokio::join!(turning, futures_util::future::join_all(looking));
    }
}
