//! A person at a terminal: what is asked, and what of the answers is shown.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    device::{Device, NAME, PASSWORD},
    server::Server,
};

const PATIENCE: Duration = Duration::from_secs(90);

/// A command in a terminal of its own, which shows what is typed unless the command says otherwise.
struct Terminal {
    /// `script`, which has the terminal's other end.
    child: Child,
    shown: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
    /// So much of it was looked at.
    seen: usize,
    /// Holds the file with the terminal's name.
    folder: tempfile::TempDir,
}

impl Terminal {
    fn run(device: &Device, args: &[&str]) -> Self {
        Self::of(&device.command(args), args)
    }

    fn of(inner: &Command, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut line = format!(
            "tty > '{}'; exec '{}'",
            Self::name_file(&folder).display(),
            inner.get_program().display()
        );
        for arg in args {
            assert!(!arg.contains('\''));
            line.push_str(&format!(" '{arg}'"));
        }
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--echo", "always", "--command", &line, "/dev/null"]);
        script.env("SHELL", "/bin/sh").env("TERM", "dumb");
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, heard) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, shown, reading, seen: 0, folder }
    }

    fn name_file(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("tty")
    }

    /// Waits until it shows this, after whatever was waited for before.
    fn shows(&mut self, text: &str) {
        let at = self.until(text, |terminal| terminal.shown.lock().unwrap()[terminal.seen..].find(text));
        self.seen += at + text.len();
    }

    /// Waits until it asks this, and shows nothing of what is typed.
    fn asks_secretly(&mut self, text: &str) {
        self.shows(text);
        let name = std::fs::read_to_string(Self::name_file(&self.folder)).unwrap();
        self.until("no echo", |_| {
            let settings = Command::new("stty").args(["-a", "-F", name.trim()]).output().unwrap();
            assert!(settings.status.success(), "{settings:?}");
            String::from_utf8(settings.stdout).unwrap().contains(" -echo ").then_some(())
        });
    }

    fn until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "not \"{what}\": {}", self.shown.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn types(&mut self, line: &str) {
        let keys = self.child.stdin.as_mut().unwrap();
        keys.write_all(format!("{line}\n").as_bytes()).unwrap();
        keys.flush().unwrap();
    }

    /// Its exit code and all that was shown.
    fn ends(mut self) -> (i32, String) {
        // Its end closes the terminal; ours stays open until then, as a person's.
        let keys = self.child.stdin.take();
        let code = self.child.wait().unwrap().code().unwrap();
        drop(keys);
        self.reading.join().unwrap();
        let shown = self.shown.lock().unwrap().clone();
        (code, shown)
    }
}

/// A device without a profile, whose owner is asked for the password.
fn with_an_owner() -> Device {
    let mut device = Device::empty();
    device.forget_password();
    device
}

fn registering(device: &Device, server: &Server) -> Terminal {
    Terminal::run(device, &["register", "--server", &server.url, "--email", NAME])
}

/// As it is shown, in groups that a person compares.
fn grouped(fingerprint: &str) -> Vec<&str> {
    (0..fingerprint.len()).step_by(4).map(|at| &fingerprint[at..at + 4]).collect()
}

#[test]
fn a_person_compares_the_fingerprint_and_types_passwords_that_nobody_sees() {
    let server = Server::start();
    let device = with_an_owner();
    let mut terminal = registering(&device, &server);
    let groups = grouped(&server.fingerprint);
    terminal.shows(&groups[..8].join(" "));
    terminal.shows(&groups[8..].join(" "));
    terminal.shows("Is it the same? [y/N] ");
    terminal.types("y");
    // What is typed is shown, unless it is secret.
    terminal.shows("y");
    terminal.asks_secretly("New password: ");
    terminal.types("violet anchor mumbles sixteen");
    terminal.asks_secretly("Once more: ");
    terminal.types(PASSWORD);
    terminal.shows("the two are not the same");
    for question in ["New password: ", "Once more: "] {
        terminal.asks_secretly(question);
        terminal.types(PASSWORD);
    }
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("violet"), "{shown}");

    // Pinned: nobody is asked again.
    let mut terminal = Terminal::run(&device, &["sync"]);
    terminal.asks_secretly("Password: ");
    terminal.types(PASSWORD);
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("violet") && !shown.contains("Is it the same?"), "{shown}");
}

#[test]
fn a_certificate_that_a_person_does_not_recognise_is_not_trusted() {
    let server = Server::start();
    let device = with_an_owner();
    let mut terminal = registering(&device, &server);
    terminal.shows("Is it the same? [y/N] ");
    // Enter alone is no.
    terminal.types("");
    terminal.shows("Not pinned");
    let (code, shown) = terminal.ends();
    assert_eq!(code, 7, "{shown}");
    assert!(!shown.contains("assword"), "none is asked for in vain: {shown}");
    assert!(shown.contains("no authority that this system knows vouches"), "{shown}");
    assert!(!device.home().join("profile.json").exists());
}

#[test]
fn a_person_who_types_a_part_of_a_name_is_asked_whether_that_entry_is_meant() {
    let server = Server::start();
    let device = Device::registered(&server);
    device.ok(&["add", "bank old savings", "--set", "password=one"]);
    for (answer, ends) in [("n", 3), ("y", 0)] {
        let mut terminal = Terminal::run(&device, &["edit", "bank old", "--set", "password=two"]);
        terminal.shows("Do you mean bank old savings (");
        terminal.types(answer);
        let (code, shown) = terminal.ends();
        assert_eq!(code, ends, "{shown}");
        let now = if ends == 0 { "two\n" } else { "one\n" };
        assert_eq!(device.ok(&["get", "bank old savings", "password"]), now);
    }
    // Who says that nobody is to be asked has named no entry.
    let (code, shown) = Terminal::run(&device, &["rm", "savings", "--yes"]).ends();
    assert_eq!(code, 3, "{shown}");
    assert!(!shown.contains("Do you mean"), "{shown}");
}

#[test]
fn a_person_reads_the_whole_of_what_was_done_and_why_however_narrow_the_terminal_is() {
    let server = Server::start();
    let ada = Device::registered(&server);
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    let why = "paid by the invoice of November, as the owner asked for by telephone and by letter";
    root.ok(&["admin", "user", "set-plan", NAME, "paid", "--days", "30", &format!("--reason={why}")]);
    let (code, shown) = Terminal::run(&ada, &["activity"]).ends();
    assert_eq!(code, 0, "{shown}");
    let line = shown.lines().find(|line| line.contains("account.plan_set")).unwrap();
    assert!(line.contains("(paid, until 20") && line.trim_end().ends_with(why), "{shown}");
}

#[test]
fn what_a_person_has_to_compare_is_shown_however_quiet_the_command_is() {
    let server = Server::start();
    let stranger = with_an_owner();
    let mut terminal =
        Terminal::run(&stranger, &["--quiet", "register", "--server", &server.url, "--email", NAME]);
    terminal.shows(&grouped(&server.fingerprint)[..8].join(" "));
    terminal.shows("Is it the same? [y/N] ");
    terminal.types("n");
    assert_eq!(terminal.ends().0, 7);

    let laptop = Device::registered(&server);
    let phone = Device::empty();
    let args = [&phone.enter("login", &server, NAME)[..], &["--quiet", "--approve"]].concat();
    let mut asking = phone.start(&args);
    let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map_while(Result::ok);
    let words = lines.find(|line| line.split_whitespace().count() == 7 && line.starts_with("  ")).unwrap();
    let mut terminal = Terminal::run(&laptop, &["--quiet", "devices", "approve"]);
    terminal.shows(words.trim());
    terminal.shows("Are they the same on its screen, and is it yours? [y/N] ");
    terminal.types("y");
    let (code, shown) = terminal.ends();
    assert_eq!(code, 0, "{shown}");
    assert!(asking.wait().unwrap().success(), "{:?}", lines.collect::<Vec<_>>());

    let mut linking = laptop.start(&["--quiet", "login", "--link"]);
    let mut lines = BufReader::new(linking.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("only if the page shows these two words")));
    linking.kill().unwrap();
    linking.wait().unwrap();
}

#[test]
fn who_compares_words_while_the_other_gives_up_is_told_that_the_request_was_withdrawn() {
    let server = Server::start();
    let (laptop, phone) = (Device::registered(&server), Device::empty());
    let args = [&phone.enter("login", &server, NAME)[..], &["--approve"]].concat();
    let mut asking = phone.start(&args);
    let mut lines = BufReader::new(asking.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.split_whitespace().count() == 7 && line.starts_with("  ")));
    let mut terminal = Terminal::run(&laptop, &["devices", "approve"]);
    terminal.shows("is it yours? [y/N] ");
    let id = asking.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(asking.wait().unwrap().code(), Some(130));
    terminal.types("y");
    let (code, shown) = terminal.ends();
    assert!(code == 3 && shown.contains("the device has withdrawn its request"), "{shown}");
    assert_eq!(laptop.json(&["devices"]).as_array().unwrap().len(), 1);
}

#[test]
fn who_says_no_is_not_told_that_there_is_no_terminal() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    laptop.ok(&["add", "github", "--generate"]);
    let device = phone.json(&["status"])["device"].as_str().unwrap().to_owned();
    for (args, nothing) in [
        (&["account", "delete"][..], "nothing was erased"),
        (&["devices", "revoke", &device], "nothing was revoked"),
        (&["sessions", "revoke", "--others"], "nothing was ended"),
        (&["rm", "github"], "nothing was deleted"),
        (&["purge", "github"], "nothing was erased"),
    ] {
        let mut terminal = Terminal::run(&laptop, args);
        terminal.shows("[y/N] ");
        terminal.types("n");
        let (code, shown) = terminal.ends();
        assert_eq!(code, 1, "{args:?}: {shown}");
        assert!(shown.contains(nothing) && !shown.contains("terminal"), "{args:?}: {shown}");
    }
    phone.ok(&["sync"]);
    laptop.ok(&["get", "github", "password"]);
}

#[test]
fn who_leaves_the_editor_without_a_change_has_resolved_nothing() {
    let server = Server::start();
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "mail", "--set", "password=first"]);
    let phone = Device::logged_in(&server);
    for (device, password) in [(&laptop, "password=laptop"), (&phone, "password=phone")] {
        device.ok(&["--offline", "edit", "mail", "--set", password]);
    }
    for device in [&laptop, &phone, &laptop] {
        device.ok(&["sync"]);
    }
    for editor in ["true", "truncate --size 0"] {
        let args = ["resolve", "mail"];
        let mut command = laptop.command(&args);
        command.env("EDITOR", editor).env_remove("VISUAL");
        let mut terminal = Terminal::of(&command, &args);
        terminal.shows("Choose");
        terminal.types("e");
        let (code, shown) = terminal.ends();
        assert!(code == 0 && shown.contains("Left as it is."), "{editor}: {shown}");
        assert_eq!(laptop.json(&["conflicts"]).as_array().unwrap().len(), 1, "{editor}");
    }
}
