//! Letters through a real SMTP server: encrypted or not sent, patient, and not lost or repeated by a stop.

use lockstep_events::AccountId;
use lockstepd::{
    adapters::smtp::Smtp,
    causes::with_causes,
    config::Layer,
    mail::{Mailer, letter::farewell},
};
use reqwest::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{
    Mode, Node, Person,
    letters::{Letter, Manner, Sink, awaited, letters},
    ways::press,
};

in_both_modes! {
    a_server_that_is_busy_is_asked_again_and_gets_the_letter_once,
    a_refused_letter_holds_nothing_up,
}

fn by(sink: &Sink, scheme: &str, login: &str) -> Layer {
    Layer {
        mail: Some(sink.url(scheme, login).as_str().into()),
        mail_ca: Some(sink.authority()),
        mail_from: Some("Lockstep <vault@example.org>".to_owned()),
        public_url: Some("https://vault.example.org/".to_owned()),
        ..Layer::default()
    }
}

async fn only(sink: &Sink) -> Letter {
    awaited(&sink.mailbox(), 1, |_| true).await.pop().unwrap()
}

async fn handed_over(mode: Mode, manner: Manner, scheme: &str, login: &str) {
    let sink = Sink::start(manner);
    let node = Node::start_with(mode, by(&sink, scheme, login)).await;
    let person = Person::register(&node).await;
    let email = format!("{}@example.org", Uuid::new_v4());
    assert_eq!(person.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let letter = only(&sink).await;
    let secure = if manner == Manner::Plain { "plain auth=False" } else { "tls auth=True" };
    assert_eq!((letter.header("X-Sink"), letter.header("X-Receiver")), (secure, email.as_str()));
    assert_eq!(letter.header("From"), "Lockstep <vault@example.org>");
    assert!(letter.header("Message-ID").ends_with("@example.org>"), "{}", letter.text);
    for part in ["text/plain", "text/html", "https://vault.example.org/link/"] {
        assert!(letter.text.contains(part), "{part}: {}", letter.text);
    }
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::OK);
    assert_eq!(person.email(&node).await.confirmed, Some(email));
}

#[tokio::test]
async fn a_letter_goes_out_by_starttls_with_a_name_and_a_password() {
    handed_over(Mode::Embedded, Manner::StartTls, "smtp", "ada:lovelace@").await;
}

#[tokio::test]
async fn a_letter_goes_out_by_tls_from_the_first_byte() {
    handed_over(Mode::Distributed, Manner::Tls, "smtps", "ada:lovelace@").await;
}

#[tokio::test]
async fn a_letter_goes_to_a_relay_on_the_same_host_without_tls() {
    handed_over(Mode::Embedded, Manner::Plain, "smtp+plain", "").await;
}

/// A server without STARTTLS, and one whose certificate nobody vouches for, get nothing.
#[tokio::test]
async fn nothing_is_sent_where_the_way_is_not_secure() {
    let plain = Sink::start(Manner::Plain);
    let stranger = Sink::start(Manner::StartTls);
    let trusted = Sink::start(Manner::StartTls);
    let unvouched = Layer { mail_ca: Some(trusted.authority()), ..by(&stranger, "smtp", "ada:lovelace@") };
    let wrong = by(&trusted, "smtp", "ada:wrong@");
    for (options, sink) in [(by(&plain, "smtp", ""), &plain), (unvouched, &stranger), (wrong, &trusted)] {
        let node = Node::start_with(Mode::Embedded, options).await;
        let person = Person::register(&node).await;
        person.name_email(&node, "ada@example.org").await;
        tried(&node).await;
        assert!(letters(&sink.mailbox()).is_empty());
    }
}

#[tokio::test]
async fn an_operator_is_told_which_of_these_it_is_and_never_an_address() {
    let (plain, stranger) = (Sink::start(Manner::Plain), Sink::start(Manner::StartTls));
    let trusted = Sink::start(Manner::StartTls);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ways = [
        (plain.url("smtp", ""), "no STARTTLS"),
        (stranger.url("smtp", "ada:lovelace@"), "mail_ca"),
        (format!("smtp://{nobody}"), "no connection"),
    ];
    for (url, expected) in ways {
        let smtp = Smtp::new(&url, "vault@example.org", Some(&trusted.authority())).unwrap();
        let error = smtp.send(&farewell((AccountId::NIL, "one"), "ada@example.org")).await.unwrap_err();
        let said = with_causes(&error);
        assert!(said.contains(expected) && !said.contains("ada"), "{said}");
    }
}

/// Waits until a worker has tried the one task that waits, and come to its end.
async fn tried(node: &Node) {
    let server = &node.running().server;
    for own in 1_u32.. {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let now = server.clock.now();
        // Looking takes the task, for no time at all. The worker takes one at a time: with its second try the first
        // is over.
        let taken = server.ways.claim_tasks(now.plus_seconds(7200), now, 8).await.unwrap();
        if taken.iter().any(|task| task.tries >= own + 2) {
            return;
        }
    }
}

async fn a_server_that_is_busy_is_asked_again_and_gets_the_letter_once(mode: Mode) {
    let sink = Sink::start(Manner::Plain);
    let node = Node::start_with(mode, by(&sink, "smtp+plain", "")).await;
    let person = Person::register(&node).await;
    person.name_email(&node, "busy-2@example.org").await;
    let hurry = async {
        for _ in 0..1000 {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            node.clock.pass(30);
        }
    };
    tokio::select! {
        letter = only(&sink) => assert_eq!(letter.header("X-Receiver"), "busy-2@example.org"),
        () = hurry => panic!("the letter never came"),
    }
}

/// What is refused for good is not tried for ever, and does not hold up what comes after it.
async fn a_refused_letter_holds_nothing_up(mode: Mode) {
    let sink = Sink::start(Manner::Plain);
    let node = Node::start_with(mode, by(&sink, "smtp+plain", "")).await;
    let (first, second) = (Person::register(&node).await, Person::register(&node).await);
    first.name_email(&node, "gone@example.org").await;
    second.name_email(&node, "ada@example.org").await;
    assert_eq!(only(&sink).await.header("X-Receiver"), "ada@example.org");
    // The letter is there a moment before its task is taken out.
    let mut left = usize::MAX;
    for hour in 2..200 {
        let far = node.running().server.clock.now().plus_seconds(hour * 3600);
        left = node.running().server.ways.claim_tasks(far, far, 8).await.unwrap().len();
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0, "tasks are left");
}

/// A mail server that takes connections and says nothing, on every second one: the other ones go to the sink.
async fn half_silent(sink: u16) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            silent.push(listener.accept().await.unwrap());
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = TcpStream::connect(("127.0.0.1", sink)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_takes_a_connection_and_says_nothing_holds_up_neither_other_letters_nor_a_stop() {
    let sink = Sink::start(Manner::Plain);
    let behind = sink.url("smtp+plain", "").rsplit(':').next().unwrap().parse().unwrap();
    let address = half_silent(behind).await;
    let mail = Some(format!("smtp+plain://{address}").as_str().into());
    let mut node = Node::start_with(Mode::Embedded, Layer { mail, ..by(&sink, "smtp+plain", "") }).await;
    let people =
        [Person::register(&node).await, Person::register(&node).await, Person::register(&node).await];
    for (n, person) in people.iter().enumerate() {
        person.name_email(&node, &format!("silent-{n}@example.org")).await;
    }
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, only(&sink)).await.expect("no other letter went out");
    // By now the third one is in the hands of a server that says nothing.
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, node.stop()).await.expect("the stop waits for the mail server");
}

/// The mail server is away, this server is stopped and started: the letter comes when both are there, once, and its
/// link is the one that a first try would have had.
async fn survives(mode: Mode) {
    let mut sink = Sink::start(Manner::Plain);
    let mut node = Node::start_with(mode, by(&sink, "smtp+plain", "")).await;
    sink.stop();
    let person = Person::register(&node).await;
    let email = format!("{}@example.org", Uuid::new_v4());
    person.name_email(&node, &email).await;
    tried(&node).await;
    node.restart().await;
    sink.start_again(Manner::Plain);
    node.clock.pass(300);
    let letter = only(&sink).await;
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::OK);
    // A letter to somebody else shows that the outbox has nothing before it.
    node.clock.pass(300);
    let other = Person::register(&node).await;
    other.name_email(&node, "other@example.org").await;
    awaited(&sink.mailbox(), 1, |letter| letter.header("X-Receiver") == "other@example.org").await;
    let confirmations =
        letters(&sink.mailbox()).into_iter().filter(|letter| letter.header("X-Receiver") == email);
    assert_eq!(confirmations.filter(|letter| letter.subject().contains("Confirm")).count(), 1);
}

#[tokio::test]
async fn mail_survives_a_stop_of_both_servers_embedded() {
    survives(Mode::Embedded).await;
}

#[tokio::test]
async fn mail_survives_a_stop_of_both_servers_distributed() {
    survives(Mode::Distributed).await;
}

/// Many workers, on as many nodes as there are, never have the same task at the same time; what was done is not made
/// again by the same cause.
async fn taken_once(mode: Mode) {
    let node = Node::start(mode).await;
    let (server, day) = (&node.running().server, 24 * 3600);
    // Tomorrow's tasks: the node's own worker leaves them alone.
    let due = server.clock.now().plus_seconds(day);
    let mut ids: Vec<Uuid> = (0..40).map(|_| Uuid::new_v4()).collect();
    for id in &ids {
        server.ways.put_task(*id, None, b"{}", due).await.unwrap();
    }
    let take = || server.ways.claim_tasks(due, due.plus_seconds(60), 8);
    let taken = futures_util::future::join_all((0..16).map(|_| take())).await;
    let mut taken: Vec<Uuid> = taken.into_iter().flat_map(Result::unwrap).map(|task| task.id).collect();
    ids.sort_unstable();
    taken.sort_unstable();
    assert_eq!(taken, ids);
    assert!(take().await.unwrap().is_empty());
    for id in &ids {
        server.ways.finish_task(*id, due).await.unwrap();
        server.ways.put_task(*id, None, b"{}", due).await.unwrap();
    }
    assert!(server.ways.claim_tasks(due.plus_seconds(day), due, 99).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_task_is_taken_by_one_worker_and_done_once_embedded() {
    taken_once(Mode::Embedded).await;
}

#[tokio::test]
async fn a_task_is_taken_by_one_worker_and_done_once_distributed() {
    taken_once(Mode::Distributed).await;
}
