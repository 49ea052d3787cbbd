//! Two or three lies at once, chosen at random from a seed: whatever they are, nothing of them is taken.

use lockstep_api::sync::Changes;
use lockstep_client::Error;
use lockstep_events::{BlobHash, Chain, DeviceId, Seq, VersionKind, event::VersionAdded};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use uuid::Uuid;

use crate::{
    ground::{Ground, change, held, nothing_secret},
    lies::{fit, places, state, version, versions},
};

/// What is done to a page whose last versions are at these places.
type Mutator = (&'static str, fn(&mut Changes, &[usize]));

fn forge(page: &mut Changes, at: usize, change: fn(&mut VersionAdded)) {
    if let Some(mut added) = version(&page.events[at]) {
        change(&mut added);
        state(&mut page.events[at], added);
    }
}

/// Lies about the history, told without care.
const CARELESS: [Mutator; 8] = [
    ("omit", |page, _| drop(page.events.remove(0))),
    ("cut short", |page, _| drop(page.events.pop())),
    ("reorder", |page, at| page.events.swap(at[0], at[at.len() - 1])),
    ("duplicate", |page, _| page.events.extend(page.events.last().cloned())),
    ("renumber", |page, _| page.events.iter_mut().for_each(|event| event.seq = event.seq.next())),
    ("another time", |page, _| page.events[0].recorded_at.0 -= 1),
    ("another chain", |page, _| page.chain.0[7] ^= 1),
    ("another life", |page, _| page.epoch.0[7] ^= 1),
];

/// Lies about versions, told so that the history fits.
const CAREFUL: [Mutator; 10] = [
    ("duplicate", |page, _| page.events.extend(page.events.last().cloned())),
    ("child first", |page, at| page.events.swap(at[0], at[1])),
    ("sign nothing", |page, at| forge(page, at[1], |added| added.signature.0 = [0; 64])),
    ("another device", |page, at| {
        forge(page, at[0], |added| added.signer = DeviceId(Uuid::from_u128(1)));
    }),
    ("another entry", |page, at| forge(page, at[1], |added| added.header.entry = Uuid::from_u128(1).into())),
    ("another content", |page, at| {
        forge(page, at[0], |added| added.header.content_hash = Some(BlobHash([1; 32])));
    }),
    ("inferred parents", |page, at| forge(page, at[1], |added| added.parent_inferred = true)),
    ("delete", |page, at| forge(page, at[1], |added| added.header.kind = VersionKind::Tombstone)),
    ("another history", |page, at| {
        forge(page, at[1], |added| {
            (added.header.observed_seq, added.header.observed_chain) = (Seq(1), Chain::ZERO)
        });
    }),
    ("swap ciphertexts", |page, at| {
        let content = page.events[at[0]].content.take();
        page.events[at[0]].content = page.events[at[1]].content.take();
        page.events[at[1]].content = content;
    }),
];

/// How many: a night may ask for thousands.
fn sequences() -> u64 {
    std::env::var("LOCKSTEP_EVIL_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

#[tokio::test]
async fn no_composition_of_lies_is_taken_silently() {
    let (ground, first, second) = Ground::with_news(&["three"]).await;
    change(&first, "three", "three again").await;
    first.sync().await.unwrap();
    second.add(b"unsaid").await.unwrap();
    let before = held(&second).await;
    for seed in 0..sequences() {
        let mut rng = StdRng::seed_from_u64(seed);
        let careful = rng.gen_bool(0.5);
        let pool: &[Mutator] = if careful { &CAREFUL } else { &CARELESS };
        let number = rng.gen_range(2..=3);
        let chosen: Vec<Mutator> = pool.choose_multiple(&mut rng, number).copied().collect();
        let names: Vec<_> = chosen.iter().map(|(name, _)| *name).collect();
        ground.proxy.tell(versions(move |page, before| {
            let honest = page.clone();
            for (_, lie) in &chosen {
                let at = places(page);
                if at.len() > 1 {
                    lie(page, &at);
                }
            }
            if careful {
                fit(page, before);
            }
            *page != honest
        }));
        let synced = second.sync().await;
        let (told, after) = ground.proxy.honest();
        assert!(told > 0, "seed {seed}: {names:?}");
        let typed = matches!(synced, Err(Error::Alarm(_) | Error::Protocol(_) | Error::UpdateNeeded(_)));
        assert!(typed, "seed {seed}: {names:?}: {synced:?}");
        assert_eq!(held(&second).await, before, "seed {seed}: {names:?}");
        nothing_secret(&after);
    }
    second.acknowledge_alarms().await.unwrap();
    ground.recovers(&second, &["one", "three again", "two", "unsaid"]).await;
}
