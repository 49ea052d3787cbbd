//! What the plan has no room for is kept, shown, and sent when there is room.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    device::{Device, NAME},
    mode::Mode,
    port::Port,
    server::Server,
};

in_both_modes! {
    what_the_plan_has_no_room_for_waits_is_shown_and_is_sent_when_there_is_room,
    a_file_that_is_longer_than_the_server_takes_is_refused_with_its_entry_and_nothing_else_is,
    an_import_that_the_plan_has_no_room_for_is_asked_for_once_and_nothing_small_waits_behind_it,
    what_goes_out_past_a_file_that_waits_is_said_to_be_sent_by_every_verb,
}

const PLANS: &str = "tiny = { entries = 3, storage_bytes = 200000 }\nroomy = { entries = 100 }";

fn names(device: &Device) -> Vec<String> {
    device.ok(&["sync"]);
    let list = device.json(&["list"]);
    let mut names: Vec<String> =
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn no_room(status: &Value) -> (&Value, &Value, &Value) {
    (&status["no_room"]["what"], &status["no_room"]["limit"], &status["waiting"])
}

fn what_the_plan_has_no_room_for_waits_is_shown_and_is_sent_when_there_is_room(mode: Mode) {
    let server = Server::start_in_with(mode, &[("LOCKSTEP_PLANS", PLANS), ("LOCKSTEP_DEFAULT_PLAN", "tiny")]);
    let laptop = Device::registered(&server);
    let phone = Device::logged_in(&server);
    for name in ["one", "two", "three", "four", "five"] {
        let added = laptop.run(&["add", name, "--set", "username=ada"]);
        assert_eq!(added.code, 0, "{}", added.err);
        let waits = ["four", "five"].contains(&name);
        assert_eq!(added.err.contains("no room for it: entries, limit 3"), waits, "{name}: {}", added.err);
    }
    let status = laptop.json(&["status"]);
    assert_eq!(no_room(&status), (&json!("entries"), &json!(3), &json!(2)), "{status}");
    assert_eq!((&status["no_room"]["used"], &status["quarantined"]), (&json!(3), &json!(0)));
    assert!(laptop.ok(&["status"]).contains("2 (over quota: entries, limit 3, used 3)"));
    let synced = laptop.run(&["sync"]);
    assert_eq!(synced.code, 0, "{}", synced.err);
    assert!(synced.err.contains("no room") && synced.err.contains("limit 3"), "{}", synced.err);
    assert_eq!(names(&laptop), ["five", "four", "one", "three", "two"], "nothing is lost here");
    assert_eq!(names(&phone), ["one", "three", "two"]);

    // What is deleted makes room, though it stands behind what waits.
    laptop.ok(&["rm", "two", "--yes"]);
    laptop.ok(&["sync"]);
    assert_eq!(no_room(&laptop.json(&["status"])), (&json!("entries"), &json!(3), &json!(1)));
    let there = names(&phone);
    // Which of the two that waited got the room is nobody's promise.
    assert!(there.len() == 3 && (there[0] == "five" || there[0] == "four"), "{there:?}");

    // A file that is too large waits, and does not stand in the way of an edit.
    let file = laptop.home().join("scan.pdf");
    std::fs::write(&file, vec![7; 250_000]).unwrap();
    let added = laptop.json(&["attachment", "add", "one", file.to_str().unwrap()]);
    assert_eq!(added["sent"], false);
    let edited = laptop.json(&["edit", "three", "--set", "username=grace"]);
    assert_eq!(edited["sent"], true, "others wait, this one does not");
    let status = laptop.json(&["status"]);
    assert_eq!((&status["waiting"], &status["quarantined"]), (&json!(2), &json!(0)), "{status}");
    phone.ok(&["sync"]);
    assert_eq!(phone.ok(&["get", "three", "username"]).trim(), "grace");

    // Another plan: whoever is running sends what waits, without being told.
    let root = Device::empty();
    root.ok(&root.enter("register", &server, "root@example.org"));
    root.ok(&["admin", "bootstrap", server.bootstrap_token().trim()]);
    let mut watch = laptop.start(&["--json", "watch", "--seconds", "400"]);
    root.ok(&["admin", "user", "set-plan", NAME, "roomy", "--reason", "paid by invoice"]);
    let since = Instant::now();
    while laptop.json(&["status"])["waiting"] != 0 {
        assert!(since.elapsed() < Duration::from_secs(300), "{}", laptop.json(&["status"]));
        std::thread::sleep(Duration::from_millis(200));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    laptop.ok(&["sync"]);
    assert_eq!(laptop.json(&["status"])["no_room"], Value::Null);
    assert_eq!(names(&phone), ["five", "four", "one", "three"]);
    assert_eq!(phone.json(&["attachment", "list", "one"])[0]["size"], json!(250_000));
}

fn a_file_that_is_longer_than_the_server_takes_is_refused_with_its_entry_and_nothing_else_is(mode: Mode) {
    let server = Server::start_in_with(mode, &[("LOCKSTEP_MAX_ATTACHMENT_BYTES", "100000")]);
    let laptop = Device::registered(&server);
    laptop.ok(&["add", "passport", "--set", "username=ada"]);
    let file = |name: &str, length: usize| {
        let path = laptop.home().join(name);
        std::fs::write(&path, vec![7; length]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (long, short) = (file("long.pdf", 200_000), file("short.pdf", 50_000));
    let added = laptop.run(&["--json", "attachment", "add", "passport", &long]);
    assert_eq!((added.code, &added.json()["sent"]), (0, &json!(false)), "{}", added.err);
    assert!(added.err.contains("refused a change for good"), "{}", added.err);
    let status = laptop.json(&["status"]);
    assert_eq!((&status["waiting"], &status["quarantined"]), (&json!(0), &json!(1)), "{status}");
    let reason = status["quarantine_list"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("longer than the 100000 bytes"), "{reason}");

    // Everything else goes on, and so does the rest of an import.
    laptop.ok(&["add", "mail", "--set", "username=ada"]);
    let entry = |name: &str, number: usize| {
        format!(
            "<Entry><UUID>{name}</UUID><String><Key>Title</Key><Value>{name}</Value></String>\
             <Binary><Key>file</Key><Value Ref=\"{number}\"/></Binary></Entry>"
        )
    };
    let (large, small) = (BASE64_STANDARD.encode(vec![7; 200_000]), BASE64_STANDARD.encode("small"));
    let database = laptop.home().join("database.xml");
    let text = format!(
        "<KeePassFile><Meta><Binaries><Binary ID=\"0\">{small}</Binary><Binary ID=\"1\">{large}</Binary>\
         </Binaries></Meta><Root><Group>{}{}{}</Group></Root></KeePassFile>",
        entry("first", 0),
        entry("second", 1),
        entry("third", 0)
    );
    std::fs::write(&database, text).unwrap();
    laptop.ok(&["import", database.to_str().unwrap()]);
    assert_eq!(laptop.json(&["status"])["quarantined"], json!(2));
    let phone = Device::logged_in(&server);
    assert_eq!(names(&phone), ["first", "mail", "passport", "third"]);
    assert_eq!(phone.json(&["attachment", "list", "third"])[0]["size"], json!(5));

    // What cannot be sent is given up, or a change without it is made.
    assert_eq!(laptop.run(&["sync", "--discard", "mail"]).code, 3);
    laptop.ok(&["sync", "--discard", "passport"]);
    assert_eq!(laptop.json(&["attachment", "list", "passport"]), json!([]));
    laptop.ok(&["attachment", "add", "passport", &short]);
    phone.ok(&["sync"]);
    assert_eq!(phone.json(&["attachment", "list", "passport"])[0]["name"], json!("short.pdf"));
    // Offered again it is refused again, while the limit is what it is.
    laptop.ok(&["sync", "--retry"]);
    let status = laptop.json(&["status"]);
    assert_eq!((&status["waiting"], &status["quarantined"]), (&json!(0), &json!(1)), "{status}");
    let kept = laptop.run(&["logout"]);
    assert!(kept.code == 8 && kept.err.contains("on this device alone"), "{}", kept.err);
    laptop.ok(&["sync", "--discard", status["quarantine_list"][0]["entry"].as_str().unwrap()]);
    assert_eq!(laptop.json(&["status"])["quarantined"], json!(0));
    assert_eq!(names(&laptop), ["first", "mail", "passport", "third"]);
}

/// How often versions were sent to the server, as it tells its operator.
fn pushes(metrics: std::net::SocketAddr) -> u64 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(metrics).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let is_push = |line: &&str| {
        line.starts_with("lockstep_request_seconds_count{")
            && line.contains("/versions\"")
            && line.contains("POST")
    };
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    text.lines().filter(is_push).map(count).sum()
}

fn an_import_that_the_plan_has_no_room_for_is_asked_for_once_and_nothing_small_waits_behind_it(mode: Mode) {
    let operators = Port::reserve();
    let listen = operators.addr().to_string();
    let plans = "tiny = { entries = 260 }";
    let options =
        [("LOCKSTEP_PLANS", plans), ("LOCKSTEP_DEFAULT_PLAN", "tiny"), ("LOCKSTEP_ADMIN_LISTEN", &listen)];
    let server = Server::start_in_with(mode, &options);
    let laptop = Device::registered(&server);
    let lines = (0..2000).map(|n| format!("name{n},https://x{n}.example,user{n},password{n}\n"));
    let file = laptop.home().join("logins.csv");
    std::fs::write(&file, format!("name,url,username,password\n{}", lines.collect::<String>())).unwrap();

    // Eight groups: the first has room, the second has none, and the others are not even asked for. As something went
    // out, one is tried once more.
    let before = pushes(operators.addr());
    let imported = laptop.run(&["import", file.to_str().unwrap()]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let said = "no room for all of it: entries, limit 260, used 250; 1750 changes wait on this device";
    assert!(imported.err.contains(said), "{}", imported.err);
    assert_eq!(pushes(operators.addr()) - before, 3);
    assert_eq!(no_room(&laptop.json(&["status"])), (&json!("entries"), &json!(260), &json!(1750)));
    let phone = Device::logged_in(&server);
    assert_eq!(names(&phone).len(), 250);

    // What is small goes out past all of it.
    assert_eq!(laptop.json(&["add", "one", "--set", "username=ada"])["sent"], true);
    assert_eq!(names(&phone).len(), 251);
}

fn what_goes_out_past_a_file_that_waits_is_said_to_be_sent_by_every_verb(mode: Mode) {
    let plans = "small = { storage_bytes = 200000 }";
    let server =
        Server::start_in_with(mode, &[("LOCKSTEP_PLANS", plans), ("LOCKSTEP_DEFAULT_PLAN", "small")]);
    let laptop = Device::registered(&server);
    let file = |name: &str, length: usize| {
        let path = laptop.home().join(name);
        std::fs::write(&path, vec![7; length]).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for name in ["large", "frozen", "cnt"] {
        laptop.ok(&["add", name, "--set", "username=ada"]);
    }
    laptop.ok(&["vault", "create", "Kids"]);
    laptop.ok(&["--vault", "Kids", "add", "toy"]);
    // The file is put apart.
    let phone = Device::logged_in(&server);
    let put = |device: &Device, way: &[&str], text: &[u8]| {
        let put = device.run_with(&[way, &["--json", "file", "put", "-"]].concat(), text);
        assert_eq!(put.code, 0, "{}", put.err);
        put.json()
    };
    put(&phone, &["--offline"], b"phone");
    put(&laptop, &[], b"laptop");
    phone.ok(&["sync"]);
    let scan = file("scan.pdf", 250_000);
    let large = laptop.run(&["--json", "attachment", "add", "large", &scan]);
    assert_eq!((large.code, &large.json()["sent"]), (0, &json!(false)), "{}", large.err);
    assert!(large.err.contains("no room for it: storage_bytes, limit 200000"), "{}", large.err);

    let small = file("small.txt", 1000);
    assert_eq!(laptop.json(&["attachment", "add", "frozen", &small])["sent"], true);
    assert_eq!(laptop.json(&["file", "resolve", "--keep", "1"])["sent"], true);
    assert_eq!(put(&laptop, &[], b"after")["sent"], true);
    assert_eq!(laptop.json(&["vault", "delete", "Kids", "--yes"])["sent"], true);
    let purged = laptop.run(&["purge", "cnt", "--yes"]);
    assert!(purged.code == 0 && !purged.err.contains("next sync"), "{}", purged.err);
    assert_eq!(laptop.run(&["purge", "cnt", "--yes"]).code, 3);
    assert_eq!(laptop.json(&["status"])["waiting"], 1, "the large file waited all the time");

    phone.ok(&["sync"]);
    assert_eq!(names(&phone), ["frozen", "large"]);
    assert_eq!(phone.json(&["attachment", "list", "frozen"])[0]["size"], json!(1000));
    assert_eq!(phone.ok(&["file", "get"]), "after");
    let vaults = phone.json(&["vault", "list"]);
    let kids = vaults.as_array().unwrap().iter().find(|vault| vault["was"] == "Kids").unwrap();
    assert_eq!(kids["deleted"], true, "{vaults}");
}
