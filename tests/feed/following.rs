//! The real client where a socket does not follow all that it should.

use lockstep_api::live::{MAX_SUBS, ServerMessage};
use lockstep_client::model::Link;
use lockstep_events::{StreamId, VaultId};

use crate::{
    live::in_both_modes,
    people::{Device, another, contents, register, until},
    proxy::{Lie, Proxy},
    renewal::Server,
    support::{Mode, Node},
};

in_both_modes! {
    a_vault_for_which_the_log_did_not_answer_is_followed_by_the_next_socket
    a_device_with_more_vaults_than_a_socket_follows_is_live_and_hears_of_all_of_them
}

/// What a server says on the first socket whose log does not answer for a vault.
fn unanswered(vault: StreamId) -> Lie {
    let mut sockets = 0;
    Box::new(move |asked, answer, _| {
        if asked.method != "LIVE" {
            return false;
        }
        let Ok(message) = serde_json::from_slice::<ServerMessage>(&answer.body) else { return false };
        sockets += u32::from(matches!(message, ServerMessage::Welcome { .. }));
        let said = match message {
            _ if sockets > 1 => return false,
            ServerMessage::Subbed { stream, .. } if stream == vault => {
                let (code, msg) = ("log_unavailable".to_owned(), "subscribe again".to_owned());
                vec![ServerMessage::Error { code, msg, retry: true }]
            }
            ServerMessage::Ev { stream, .. } if stream == vault => vec![],
            ServerMessage::Ping { t, mut pos } => {
                pos.retain(|head| head.stream != vault);
                vec![ServerMessage::Ping { t, pos }]
            }
            _ => return false,
        };
        answer.body = serde_json::to_vec(&said).unwrap();
        true
    })
}

async fn a_vault_for_which_the_log_did_not_answer_is_followed_by_the_next_socket(mode: Mode) {
    let node = Node::start(mode).await;
    let relay = Proxy::start(node.running().addr).await;
    let server = Server { address: relay.address.clone() };
    let author = register(&server, "unanswered@example.org").await;
    let reader = another(&server, "unanswered@example.org").await;
    relay.tell(unanswered(reader.status().await.unwrap().vault.into()));
    let mut following = reader.follow();
    until("the log does not answer", || async { relay.told() > 0 }).await;
    author.add(b"news").await.unwrap();
    author.sync().await.unwrap();
    until("the news are here", || async { reader.contents().await == ["news"] }).await;
    following.link.wait_for(|link| *link == Link::Live).await.unwrap();
}

async fn within(device: &Device, vault: VaultId) -> Vec<String> {
    contents(&device.in_vault(vault).await.unwrap().entries().await.unwrap())
}

async fn a_device_with_more_vaults_than_a_socket_follows_is_live_and_hears_of_all_of_them(mode: Mode) {
    let node = Node::start(mode).await;
    let relay = Proxy::start(node.running().addr).await;
    let server = Server { address: relay.address.clone() };
    let author = register(&server, "vaults@example.org").await;
    let first = author.status().await.unwrap().vault;
    let mut vaults = Vec::new();
    // Beside the account and the first vault that is two too many.
    for n in 0..MAX_SUBS {
        vaults.push(author.create_vault(&format!("Vault {n}")).await.unwrap());
    }
    author.sync().await.unwrap();
    let reader = another(&server, "vaults@example.org").await;
    let following = reader.follow();
    until("it is live", || async { *following.link.borrow() == Link::Live }).await;
    vaults.push(first);
    for vault in &vaults {
        author.in_vault(*vault).await.unwrap().add(b"news").await.unwrap();
    }
    author.sync().await.unwrap();
    for vault in vaults {
        until("the news are here", || async { within(&reader, vault).await == ["news"] }).await;
    }
    assert_eq!(*following.link.borrow(), Link::Live);
    assert_eq!(reader.alarms().await.unwrap(), []);
}
