//! Other ways in, as a person types them: an address, a mailed link, an identity elsewhere.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    device::{Device, NAME, answer},
    mode::Mode,
    server::Server,
};

/// The paths of the links in all letters to an address so far.
fn links(folder: &Path, (to, subject): (&str, &str)) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
    let letters = files.filter(|path| path.extension().is_some_and(|end| end == "eml"));
    let texts = letters.map(|path| std::fs::read_to_string(path).unwrap().replace("=\r\n", ""));
    let texts = texts.filter(|text| {
        text.contains(&format!("Subject: {subject}"))
            && text.lines().any(|line| line.starts_with("To: ") && line.contains(to))
    });
    texts
        .map(|text| {
            let at = text.find("/link/").unwrap();
            text[at..].split(|c: char| c.is_whitespace() || c == '"').next().unwrap().to_owned()
        })
        .collect()
}

fn awaited(folder: &Path, (to, subject): (&str, &str)) -> String {
    let since = Instant::now();
    loop {
        if let Some(link) = links(folder, (to, subject)).pop() {
            return link;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "no letter \"{subject}\"");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Presses the button of a link, as a browser would; gives the page.
fn press(device: &Device, path: &str) -> String {
    // The client's own request, with a token that the page does not look at.
    device.ok(&["api", "POST", path])
}

#[test]
fn an_address_is_confirmed_by_a_letter_and_a_mailed_link_opens_a_new_session_on_an_enrolled_device() {
    let mut server = Server::start();
    let device = Device::registered(&server);
    press(&device, &awaited(&server.mail(), (NAME, "Confirm your address")));
    assert_eq!(device.json(&["email"])["confirmed"], NAME);

    let waiting = device.start(&["login", "--link"]);
    let link = awaited(&server.mail(), (NAME, "Your sign-in link"));
    // Whoever waits goes on waiting though the server is away for a moment: it has asked in vain here.
    server.kill();
    drop(TcpListener::bind(server.url.strip_prefix("https://").unwrap()).unwrap().accept().unwrap());
    server.start_again();
    press(&device, &link);
    let entered = answer(&waiting.wait_with_output().unwrap());
    assert_eq!(entered.code, 0, "{}", entered.err);
    assert!(entered.err.contains("these two words"), "{}", entered.err);
    device.ok(&["sync"]);

    // A device that is not enrolled gets nothing by a link.
    let stranger = Device::empty();
    let refused = stranger.run(&[&stranger.enter("login", &server, NAME)[..], &["--link"]].concat());
    assert!(refused.code != 0 && refused.err.contains("not enrolled"), "{}", refused.err);

    let another = "ada@elsewhere.example";
    assert_eq!(device.json(&["email", "set", another])["pending"], another);
    assert_eq!(device.json(&["email"])["pending"], another);
    let bad = device.run(&["email", "set", "nobody"]);
    assert!(bad.code != 0, "{}", bad.out);
}

#[test]
fn a_mailed_link_opens_a_session_where_the_server_has_another_certificate_which_is_kept() {
    let mut server = Server::start();
    let device = Device::registered(&server);
    press(&device, &awaited(&server.mail(), (NAME, "Confirm your address")));
    let before = server.fingerprint.clone();
    server.kill();
    std::fs::remove_dir_all(server.data().join("tls")).unwrap();
    server.start_again_with_another_certificate();
    assert_ne!(server.fingerprint, before);
    let other = Device::logged_in(&server);
    let waiting = device.start(&["--json", "login", "--link", "--fingerprint", &server.fingerprint]);
    press(&other, &awaited(&server.mail(), (NAME, "Your sign-in link")));
    let entered = answer(&waiting.wait_with_output().unwrap());
    assert_eq!(entered.code, 0, "{}", entered.err);
    device.ok(&["sync"]);
}

#[test]
fn an_address_that_waits_is_called_off_and_one_that_is_confirmed_becomes_the_name_of_the_profile() {
    let server = Server::start();
    let device = Device::registered(&server);
    press(&device, &awaited(&server.mail(), (NAME, "Confirm your address")));
    assert_eq!(device.run(&["email", "cancel"]).code, 3, "none waits");
    assert_eq!(device.run(&["email", "set", NAME]).code, 8, "it is the address already");
    device.ok(&["email", "set", "mistyped@elsewhere.example"]);
    assert_eq!(device.json(&["email", "cancel"])["cancelled"], "mistyped@elsewhere.example");
    assert_eq!(device.json(&["email"])["pending"], serde_json::Value::Null);

    let other = "ada@elsewhere.example";
    device.ok(&["email", "set", other]);
    press(&device, &awaited(&server.mail(), (other, "Confirm your address")));
    let ended = device.run(&["sync"]);
    assert!(ended.code == 4 && ended.err.contains("login --email"), "{}", ended.err);
    device.ok(&["login", "--email", other]);
    assert_eq!(device.json(&["status"])["name"], other);
    device.ok(&["login"]);
    let quiet = device.run(&["sync"]);
    assert!(quiet.code == 0 && !quiet.err.contains("If it was not you"), "its own doing: {}", quiet.err);
}

#[test]
fn an_address_that_another_device_named_is_told_loudly_and_the_old_one_still_logs_in() {
    let server = Server::start();
    let (device, thief) = (Device::registered(&server), Device::logged_in(&server));
    press(&device, &awaited(&server.mail(), (NAME, "Confirm your address")));
    let phone = Device::logged_in(&server);
    let by = &thief.json(&["status"])["device"].as_str().unwrap()[..8].to_owned();
    let other = "thief@elsewhere.example";
    thief.ok(&["email", "set", other]);
    // Whatever is typed next.
    let told = device.run(&["add", "github"]);
    for wanted in [&format!("device {by} named another address"), "email cancel", &format!("revoke {by}")] {
        assert!(told.err.contains(wanted), "{wanted}: {}", told.err);
    }
    press(&thief, &awaited(&server.mail(), (other, "Confirm your address")));
    for own in [&device, &phone] {
        let ended = own.run(&["sync"]);
        assert!(
            ended.code == 4 && ended.err.contains("the address of the account was changed"),
            "{}",
            ended.err
        );
        assert!(own.run(&["status"]).err.contains("lockstep help email"));
    }
    let stranger = Device::empty();
    assert_eq!(stranger.run(&stranger.enter("register", &server, NAME)).code, 8, "nobody else gets it");
    let back = phone.run(&["login"]);
    for wanted in ["the address of this account was changed", &format!("device {by}"), "lockstep passwd"] {
        assert!(back.code == 0 && back.err.contains(wanted), "{wanted}: {}", back.err);
    }
    phone.ok(&["email", "set", NAME]);
}

fn service(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(file)
}

struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let modules = std::env::var("LOCKSTEP_TEST_OIDC_MODULES");
        let modules =
            modules.unwrap_or_else(|_| panic!("LOCKSTEP_TEST_OIDC_MODULES is not set: run cargo xtask test"));
        let mut command = Command::new("node");
        command.arg(service("oidc_provider.mjs")).arg(modules).arg("https://vault.example.org/callback");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        Self { child, issuer: format!("http://127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_identity_elsewhere_is_linked_and_signs_in_through_the_browser_and_the_loopback_address() {
    let provider = Provider::start();
    let options = format!("work = {{ issuer = \"{}\", client_id = \"native\" }}", provider.issuer);
    let server = Server::start_with(&[("LOCKSTEP_OIDC", options.as_str())]);
    let device = Device::registered(&server);
    let browsing_at = |device: &Device, args: &[&str]| {
        let mut command = device.command(args);
        let output = command.env("BROWSER", service("browser.mjs")).output().unwrap();
        answer(&output)
    };
    let browsing = |args: &[&str]| browsing_at(&device, args);
    let early = browsing(&["login", "--oidc", "work"]);
    assert!(
        early.code == 4 && early.err.contains("lockstep identities link"),
        "nobody linked it: {}",
        early.err
    );
    let linked = browsing(&["--json", "identities", "link", "work"]);
    assert_eq!(linked.code, 0, "{}", linked.err);
    let identity = linked.json()["identity"].as_str().unwrap().to_owned();
    let entered = browsing(&["login", "--oidc", "work"]);
    assert_eq!(entered.code, 0, "{}", entered.err);
    device.ok(&["sync"]);
    let eve = Device::empty();
    eve.ok(&eve.enter("register", &server, "eve@example.org"));
    for (args, said) in [
        (["login", "--oidc", "work"], "belongs to another account than this profile"),
        (["identities", "link", "work"], "another account has this identity"),
    ] {
        let foreign = browsing_at(&eve, &args);
        assert!(foreign.code == 4 && foreign.err.contains(said), "{args:?}: {}", foreign.err);
        assert!(!foreign.err.contains("logout"), "nothing of hers has to go: {}", foreign.err);
    }
    let listed = device.json(&["identities"]);
    assert_eq!(
        (listed["identities"].as_array().unwrap().len(), &listed["providers"][0]),
        (1, &"work".into())
    );
    device.ok(&["identities", "unlink", &identity[..8]]);
    assert_eq!(device.json(&["identities"])["identities"], serde_json::json!([]));
    let unknown = browsing(&["login", "--oidc", "elsewhere"]);
    assert!(unknown.code != 0 && !unknown.err.is_empty());
}

/// A letter to an address, as it is read.
fn letter(folder: &Path, (to, subject): (&str, &str)) -> String {
    let since = Instant::now();
    loop {
        let files = std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
        let letters = files.filter(|path| path.extension().is_some_and(|end| end == "eml"));
        let mut texts = letters.map(|path| std::fs::read_to_string(path).unwrap().replace("=\r\n", ""));
        if let Some(text) = texts.find(|text| text.contains(to) && text.contains(subject)) {
            return text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        assert!(since.elapsed() < Duration::from_secs(60), "no letter \"{subject}\"");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn whom_an_administrator_deletes_is_sent_to_whoever_runs_the_server(mode: Mode) {
    let server = Server::start_in(mode);
    let device = Device::registered(&server);
    press(&device, &awaited(&server.mail(), (NAME, "Confirm your address")));
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    root.ok(&["admin", "user", "delete", NAME, "--reason", "ticket 12"]);
    let told = letter(&server.mail(), (NAME, "Subject: Your account will be deleted"));
    assert!(told.contains("An administrator asked for the deletion"), "{told}");
    assert!(told.contains("ask whoever runs the server") && !told.contains("account keep"), "{told}");
    let ended = device.run(&["sync"]);
    assert!(ended.code == 4 && !ended.err.contains("account keep"), "{}", ended.err);
    assert!(ended.err.contains("an administrator") && ended.err.contains("operator"), "{}", ended.err);
}

fn the_first_address_of_an_account_is_told_as_that_and_not_as_a_change(mode: Mode) {
    const HOME: &str = "home@example.org";
    let server = Server::start_in(mode);
    let device = Device::empty();
    device.ok(&device.enter("register", &server, "household"));
    let (phone, tablet) = (Device::empty(), Device::empty());
    for other in [&phone, &tablet] {
        other.ok(&other.enter("login", &server, "household"));
        other.ok(&["sync"]);
    }
    device.ok(&["email", "set", HOME]);
    let named = phone.run(&["sync"]).err;
    assert!(named.contains("named an address for this account") && !named.contains("present one"), "{named}");
    press(&device, &awaited(&server.mail(), (HOME, "Confirm your address")));
    // One that hears of both at once.
    let told = tablet.run(&["sync"]).err + &tablet.run(&["login"]).err;
    assert!(told.contains("named an address for this account at") && told.contains("confirmed"), "{told}");
    assert!(!told.contains("was changed:") && !told.contains("address before"), "{told}");
    assert!(told.contains("If it was not you"), "{told}");
}

in_both_modes! {
    whom_an_administrator_deletes_is_sent_to_whoever_runs_the_server,
    the_first_address_of_an_account_is_told_as_that_and_not_as_a_change,
}
