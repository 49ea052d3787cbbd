//! Passkeys for a program in a terminal: made and shown in a real browser, on the server's own page.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    browser::Browser,
    device::{Answer, Device, NAME, answer},
    mode::Mode,
    server::Server,
};

in_both_modes! {
    a_passkey_made_in_a_browser_is_asked_for_at_every_login_and_every_proof,
    the_page_asks_for_nothing_when_no_program_asked,
    a_page_of_another_origin_gets_no_passkey_or_one_that_the_server_refuses,
}

const ORIGIN: &str = "https://vault.example.org";

/// What `lockstep` takes for the browser of a person: it only notes which address it is told to open.
struct Notepad {
    folder: tempfile::TempDir,
}

impl Notepad {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (program, note) = (folder.path().join("browser"), folder.path().join("url"));
        let script =
            format!("#!/bin/sh\nprintf %s \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n", note.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("browser")
    }

    /// The address, once it was noted.
    fn taken(&self) -> String {
        let (note, since) = (self.folder.path().join("url"), Instant::now());
        loop {
            if let Ok(url) = std::fs::read_to_string(&note) {
                std::fs::remove_file(&note).unwrap();
                return url;
            }
            assert!(since.elapsed() < Duration::from_secs(90), "no browser was opened");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A server whose passkeys are for a domain, a browser that finds it there, and a notepad.
struct Ground {
    server: Server,
    browser: Browser,
    notepad: Notepad,
}

impl Ground {
    fn new(mode: Mode) -> Self {
        let options =
            [("LOCKSTEP_PASSKEY_DOMAIN", "vault.example.org"), ("LOCKSTEP_PASSKEY_ORIGINS", ORIGIN)];
        let server = Server::start_in_with(mode, &options);
        let browser = Browser::start(server.url.strip_prefix("https://").unwrap());
        Self { server, browser, notepad: Notepad::new() }
    }

    /// Starts a command that will open a browser; the address that it opens.
    fn begin(&self, device: &Device, args: &[&str]) -> (Child, String) {
        let mut command = device.command(args);
        command.env("BROWSER", self.notepad.program()).env("LOCKSTEP_CODE", "passkey");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        (child, self.notepad.taken())
    }

    /// Runs a command to its end; the button of the page that it opens is pressed.
    fn run(&mut self, device: &Device, args: &[&str]) -> Answer {
        let (child, url) = self.begin(device, args);
        assert!(url.starts_with(&format!("{ORIGIN}/passkey#")), "{url}");
        self.browser.press(&url);
        let done = answer(&child.wait_with_output().unwrap());
        self.browser.until("document.body.innerText.includes('You can close this page')");
        done
    }

    #[track_caller]
    fn ok(&mut self, device: &Device, args: &[&str]) -> Answer {
        let done = self.run(device, args);
        assert_eq!(done.code, 0, "{args:?}: {}", done.err);
        done
    }
}

fn a_passkey_made_in_a_browser_is_asked_for_at_every_login_and_every_proof(mode: Mode) {
    let mut ground = Ground::new(mode);
    let laptop = Device::registered(&ground.server);
    laptop.ok(&["add", "github", "--set", "username=ada"]);
    laptop.ok(&["sync"]);
    let made = ground.ok(&laptop, &["--json", "factors", "passkey"]).json();
    assert_eq!(made["codes"].as_array().unwrap().len(), 10, "{made}");
    let listed = laptop.json(&["factors"]);
    let passkey = listed.as_array().unwrap().iter().find(|factor| factor["kind"] == "passkey").unwrap();
    let passkey = passkey["factor"].as_str().unwrap().to_owned();

    // The same authenticator has one already, and says so: first it has to show that one.
    let (child, url) = ground.begin(&laptop, &["factors", "passkey"]);
    ground.browser.press(&url);
    let url = ground.notepad.taken();
    ground.browser.press(&url);
    let again = answer(&child.wait_with_output().unwrap());
    ground.browser.until("document.body.innerText.includes('You can close this page')");
    assert!(again.code != 0 && again.err.contains("has a passkey of the account already"), "{again:?}");

    let phone = Device::empty();
    let enter: Vec<String> =
        phone.enter("login", &ground.server, NAME).iter().map(|word| (*word).to_owned()).collect();
    let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
    let without = phone.run(&enter);
    assert_eq!(without.code, 4, "nobody can be asked: {}", without.err);
    ground.ok(&phone, &enter);
    assert!(phone.ok(&["list"]).contains("github"));
    // A new session of a device that is enrolled, and a fresh proof of the password.
    ground.ok(&laptop, &["login"]);
    let code = ground.ok(&laptop, &["recovery", "new"]).out;
    assert_eq!(code.trim().len(), 39, "{code}");

    // Somebody else's program gets nothing by the answer to this one, and this one waits on.
    let (child, url) = ground.begin(&laptop, &["login"]);
    let (other, others) = ground.begin(&phone, &["login"]);
    ground.browser.press(&swapped(&url, &others));
    ground.browser.until("document.body.innerText.includes('There is nothing here')");
    ground.browser.press(&url);
    assert_eq!(answer(&child.wait_with_output().unwrap()).code, 0);
    ground.browser.press(&others);
    assert_eq!(answer(&other.wait_with_output().unwrap()).code, 0);

    // Without the passkey nothing goes; with it, it is removed, and asked for no more.
    laptop.ok(&["sync"]);
    let removed = laptop.run(&["factors", "remove", &passkey[..8]]);
    assert_eq!(removed.code, 0, "the login was a fresh proof: {}", removed.err);
    assert_eq!(laptop.json(&["factors"]), serde_json::json!([]));
    phone.ok(&["login"]);
}

/// The address of one page, with the place where another one's program listens.
fn swapped(url: &str, other: &str) -> String {
    let port = |url: &str| {
        let at = url.find("%22port%22%3A").unwrap() + "%22port%22%3A".len();
        url[at..].chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    url.replace(&format!("%22port%22%3A{}", port(url)), &format!("%22port%22%3A{}", port(other)))
}

fn a_page_of_another_origin_gets_no_passkey_or_one_that_the_server_refuses(mode: Mode) {
    let mut ground = Ground::new(mode);
    let laptop = Device::registered(&ground.server);
    ground.ok(&laptop, &["factors", "passkey"]);
    // Another domain: the browser does not ask the authenticator at all.
    let (child, url) = ground.begin(&laptop, &["login"]);
    ground.browser.press(&url.replace(ORIGIN, "https://evil.example.org"));
    let refused = answer(&child.wait_with_output().unwrap());
    assert!(refused.code != 0 && refused.err.contains("passkey_origins"), "{refused:?}");
    // An origin below the domain: the browser asks, and the server knows that it was not its page.
    let (child, url) = ground.begin(&laptop, &["login"]);
    ground.browser.press(&url.replace(ORIGIN, "https://blog.vault.example.org"));
    let refused = answer(&child.wait_with_output().unwrap());
    assert!(refused.code != 0 && refused.err.contains("factor"), "{refused:?}");
    laptop.ok(&["sync"]);
}

fn the_page_asks_for_nothing_when_no_program_asked(mode: Mode) {
    let mut ground = Ground::new(mode);
    let page = |text: &str| format!("{ORIGIN}/passkey{text}");
    for fragment in
        ["", "#", "#%7B%22port%22%3A80%7D", "#%7B%22port%22%3A%22evil.example%2F%22%7D", "#<script>"]
    {
        ground.browser.open(&page(fragment));
        ground.browser.until("document.body?.innerText.includes('No program asks')");
        assert_eq!(ground.browser.evaluate("document.getElementById('go').hidden"), true, "{fragment}");
    }
}
