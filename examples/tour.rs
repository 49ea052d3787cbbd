//! The story of the product in one terminal: `cargo run --release --example tour`.
//!
//! A real server in this process, two real devices, nothing prepared and nothing mocked.

#![expect(clippy::print_stdout, reason = "a tour is there to be read")]

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use lockstep_api::sync::{Changes, StreamEvent};
use lockstep_client::{
    Client, Follow,
    crypto::{password::Password, wipe::Plaintext},
    model::{Change, Conflict, Link, Resolution},
    porting::{Body, Item, item::Login, merge},
    server::{Server, Trust},
};
use lockstep_events::{Chain, EntryId, Recorded, StreamKind, VersionId};
use lockstepd::{
    app::{self, Running},
    config::{Config, Layer},
};

type Step<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const NAME: &str = "ada@example.org";
const PASSWORD: &str = "violet anchor mumbles seventeen";

#[tokio::main]
async fn main() -> Step {
    let tour = Tour { started: Instant::now() };
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("server");
    println!("Lockstep in one terminal: a real server and two real devices.\n");

    let running = serve(&data, "127.0.0.1:0").await?;
    let address = running.addr.to_string();
    tour.say("server", &format!("{} with its own log, bus, blobs and certificate", running.url));
    let pin = running.fingerprint.clone().unwrap_or_default().parse()?;
    let server = Server::new(&running.url, Trust::Pinned(pin))?;

    let password = Password::new(PASSWORD.to_owned());
    let laptop = Client::register(&folder.path().join("laptop"), &server, NAME, &password).await?;
    let fingerprint = laptop.status().await?.fingerprint;
    tour.say(
        "account",
        &format!(
            "{NAME} registered from the laptop; the server learned no password ({}…)",
            &fingerprint[..16]
        ),
    );

    let entry = laptop.add(&sealed(&item("octopus-1", ""))?).await?;
    laptop.sync().await?;
    tour.say(
        "entry",
        "the laptop adds \"code host\"; the server stores ciphertext, a signature and a place in the log",
    );

    let phone = Client::login(&folder.path().join("phone"), &server, NAME, &password).await?;
    phone.sync().await?;
    let seen = open(&phone, entry).await?;
    tour.say(
        "device 2",
        &format!("the phone logs in and opens \"{}\" of {}", text(&seen, "name"), text(&seen, "username")),
    );

    live(&tour, &laptop, &phone, entry).await?;

    running.shutdown().await;
    edit(&laptop, entry, "password", "octopus-3-laptop").await?;
    edit(&phone, entry, "password", "octopus-3-phone").await?;
    edit(&phone, entry, "notes", "changed in the train").await?;
    tour.say("offline", "the server is gone; the laptop sets a password, the phone another one and a note");

    let running = serve(&data, &address).await?;
    laptop.sync().await?;
    let report = phone.sync().await?;
    laptop.sync().await?;
    let conflict = laptop.conflict(entry).await?;
    tour.say(
        "two heads",
        &format!(
            "the server is back; nothing was lost: {} branches, {} forked",
            conflict.entry.heads.len(),
            report.forked
        ),
    );
    show(&conflict)?;

    resolve(&tour, &laptop, &phone, &conflict).await?;
    verify(&tour, &laptop).await?;
    running.shutdown().await;
    println!("\nNext: cargo run --release, then the command that it prints. Everything above was deleted.");
    Ok(())
}

struct Tour {
    started: Instant,
}

impl Tour {
    fn say(&self, what: &str, text: &str) {
        println!("{:5.1} s  {what:<10} {text}", self.started.elapsed().as_secs_f32());
    }
}

async fn serve(data: &Path, listen: &str) -> Step<Running> {
    let options = format!("data = {data:?}\nlisten = {listen:?}\n");
    Ok(app::start(Config::with(Layer::from_toml(&options, "tour")?)?).await?)
}

fn item(password: &str, notes: &str) -> Item {
    let login = Login { username: "ada".into(), password: password.into(), ..Login::default() };
    let mut item = Item::new("code host", Body::Login(login));
    item.notes = notes.into();
    item
}

fn sealed(item: &Item) -> Step<Vec<u8>> {
    Ok(serde_json::to_vec(item)?)
}

fn text(item: &Item, field: &str) -> String {
    item.get(field).map(|field| field.value.as_str().to_owned()).unwrap_or_default()
}

async fn open(device: &Client, entry: EntryId) -> Step<Item> {
    let entry = device.get(entry).await?;
    let bytes = entry.winner().and_then(|head| head.content.bytes()).ok_or("the content is not here")?;
    Ok(serde_json::from_slice(bytes)?)
}

async fn edit(device: &Client, entry: EntryId, field: &str, value: &str) -> Step<VersionId> {
    let head = device.get(entry).await?.head_ids();
    let mut item = open(device, entry).await?;
    item.set(field, value.into())?;
    Ok(device.edit(entry, &head[..1], &sealed(&item)?).await?)
}

async fn live(tour: &Tour, laptop: &Client, phone: &Client, entry: EntryId) -> Step {
    let mut feed = phone.follow();
    let is_live = feed.link.wait_for(|link| *link == Link::Live);
    tokio::time::timeout(Duration::from_secs(10), is_live).await??;
    let version = edit(laptop, entry, "password", "octopus-2").await?;
    let pushed = Instant::now();
    laptop.sync().await?;
    tokio::time::timeout(Duration::from_secs(10), arrival(&mut feed, version)).await??;
    let took = pushed.elapsed();
    let seen = text(&open(phone, entry).await?, "password");
    tour.say(
        "live",
        &format!(
            "a new password on the laptop is \"{seen}\" on the phone {} ms after it was sent",
            took.as_millis()
        ),
    );
    Ok(())
}

async fn arrival(feed: &mut Follow, wanted: VersionId) -> Step {
    loop {
        if matches!(feed.changes.recv().await?, Change::Version { version, .. } if version == wanted) {
            return Ok(());
        }
    }
}

/// The common ancestor and the heads of a conflict, opened.
fn sides(conflict: &Conflict) -> Step<(Option<Item>, Vec<Item>)> {
    let opened = |bytes: Option<&[u8]>| bytes.map(serde_json::from_slice::<Item>).transpose();
    let base = opened(conflict.ancestors.first().and_then(|ancestor| ancestor.content.bytes()))?;
    let heads: Result<Vec<Option<Item>>, _> =
        conflict.entry.heads.iter().map(|head| opened(head.content.bytes())).collect();
    Ok((base, heads?.into_iter().flatten().collect()))
}

fn show(conflict: &Conflict) -> Step {
    let (base, heads) = sides(conflict)?;
    let heads: Vec<Option<&Item>> = heads.iter().map(Some).collect();
    for row in merge::compare(base.as_ref(), &heads).iter().filter(|row| row.differs()) {
        let shown = |value: &Option<merge::Cell>| match value {
            Some(value) => format!("\"{}\"", value.shown.as_str()),
            None => "—".to_owned(),
        };
        let sides: Vec<String> = row.sides.iter().map(shown).collect();
        println!(
            "                    {:<9} before {:<11} now {}",
            row.name,
            shown(&row.base),
            sides.join("  and  ")
        );
    }
    Ok(())
}

async fn resolve(tour: &Tour, laptop: &Client, phone: &Client, conflict: &Conflict) -> Step {
    let (base, heads) = sides(conflict)?;
    let heads: Vec<Option<&Item>> = heads.iter().map(Some).collect();
    let draft = merge::draft(base.as_ref(), &heads)?.ok_or("a live side")?;
    let (entry, shown) = (conflict.entry.entry, conflict.entry.head_ids());
    let content = Plaintext::new(sealed(&draft.item)?);
    laptop.resolve(entry, &shown, &Resolution::Merge(content)).await?;
    laptop.sync().await?;
    phone.sync().await?;
    let (here, there) = (laptop.get(entry).await?, phone.get(entry).await?);
    assert_eq!(here.head_ids(), there.head_ids(), "both devices show the same head");
    assert_eq!(here.heads.len(), 1);
    let merged = open(phone, entry).await?;
    tour.say(
        "resolved",
        &format!(
            "one head on both: password \"{}\", note \"{}\"; no password is lost",
            text(&merged, "password"),
            text(&merged, "notes")
        ),
    );
    Ok(())
}

/// An auditor's view: recompute the chain of the vault's stream from nothing, then change one letter.
async fn verify(tour: &Tour, device: &Client) -> Step {
    let vault = device.status().await?.vault;
    let (code, page) = device.api("GET", &format!("/v1/streams/{vault}/changes?limit=200"), None).await?;
    if code != 200 {
        return Err(format!("the server answered {code}").into());
    }
    let page: Changes = serde_json::from_str(&page)?;
    let mut events = chained(&page);
    assert_eq!(
        events.last().map(|event| event.chain),
        Some(page.chain),
        "the chain ends where the server says"
    );
    assert_eq!(first_break(&events), None);
    let changed = events.len() / 2;
    events[changed].public = events[changed].public.replacen("edit", "edjt", 1);
    assert_eq!(first_break(&events), Some(changed));
    let said = format!(
        "{} events, every link of the chain recomputed; one letter changed in event {} is found",
        events.len(),
        changed + 1
    );
    tour.say("verified", &said);
    Ok(())
}

/// The events of a page with the chain after each, recomputed from the zero before the first.
fn chained(page: &Changes) -> Vec<Recorded> {
    let mut chain = Chain::ZERO;
    let link = |event: &StreamEvent| {
        let event = event.recorded((page.stream, StreamKind::Vault), &chain);
        chain = event.chain;
        event
    };
    page.events.iter().map(link).collect()
}

fn first_break(events: &[Recorded]) -> Option<usize> {
    let before = |nth: usize| if nth == 0 { Chain::ZERO } else { events[nth - 1].chain };
    (0..events.len()).find(|nth| !events[*nth].follows(&before(*nth)))
}
