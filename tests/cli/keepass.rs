//! A database of KeePass with files in it, brought over by the command.

use std::{fmt::Write as _, fs, io::Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use crate::{device::Device, mode::Mode, server::Server};

in_both_modes! {
    an_import_from_keepass_brings_the_files_whole_to_another_device,
    a_database_with_a_file_that_is_not_whole_imports_nothing_unless_the_files_are_left_out,
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(41) >> 3) as u8).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

/// A database beside the profile: what its pool holds, and entries with names and what stands in them.
fn database(device: &Device, pool: &[(&[u8], &str)], entries: &[(&str, &str)]) -> String {
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<KeePassFile><Meta><Binaries>\n");
    for ((packed, marks), number) in pool.iter().zip(0..) {
        let packed = BASE64_STANDARD.encode(packed);
        writeln!(text, "<Binary ID=\"{number}\"{marks}>{packed}</Binary>").unwrap();
    }
    text.push_str("</Binaries></Meta><Root><Group><UUID>R</UUID><Name>Database</Name>\n");
    for (name, inner) in entries {
        let title = format!("<String><Key>Title</Key><Value>{name}</Value></String>");
        writeln!(text, "<Entry><UUID>{name}</UUID>{title}{inner}</Entry>").unwrap();
    }
    text.push_str("</Group></Root></KeePassFile>\n");
    let path = device.home().join("database.xml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn referring(name: &str, number: usize) -> String {
    format!("<Binary><Key>{name}</Key><Value Ref=\"{number}\" /></Binary>")
}

const COMPRESSED: &str = " Compressed=\"True\"";

#[track_caller]
fn got(device: &Device, entry: &str, name: &str) -> Vec<u8> {
    let output = device.command(&["attachment", "get", entry, name]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn names(device: &Device, entry: &str) -> Vec<String> {
    let all = device.json(&["attachment", "list", entry]);
    all.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

fn an_import_from_keepass_brings_the_files_whole_to_another_device(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let (scan, photo) = (bytes(1_500_000), bytes(40_000));
    let pool = [(&*gzip(&scan), COMPRESSED), (&*photo, ""), (b"locked", " Protected=\"True\""), (b"old", "")];
    let here = format!(
        "<Binary><Key>key</Key><Value{COMPRESSED}>{}</Value></Binary>",
        BASE64_STANDARD.encode(gzip(b"here"))
    );
    let history = format!("<History><Entry>{}</Entry></History>", referring("old.txt", 3));
    let passport = referring("../scan.pdf", 0) + &referring("photo.jpg", 1) + &history;
    let server_entry = referring("scan.pdf", 0) + &referring("secret", 2) + &here;
    let entries = [("passport", &*passport), ("server", &*server_entry), ("mail", "")];
    let file = database(&laptop, &pool, &entries);

    let dry = laptop.json(&["import", &file, "--dry-run"]);
    assert_eq!((&dry["items"], &dry["attachments"]), (&json!(3), &json!(4)), "{dry}");
    assert_eq!(laptop.json(&["list"]), json!([]));
    let imported = laptop.json(&["--offline", "import", &file]);
    assert_eq!((&imported["attachments"], &imported["sent"]), (&json!(4), &json!(false)), "{imported}");
    let notes = imported["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 2, "{imported}");
    assert!(
        notes[0].as_str().unwrap().contains("\"secret\" is left out: it is still encrypted"),
        "{imported}"
    );
    assert_eq!(notes[1], "item 1, \"passport\": the file \"old.txt\" of an earlier state is left out");
    let laptop_has =
        laptop.command(&["--offline", "attachment", "get", "server", "scan.pdf"]).output().unwrap();
    assert!(laptop_has.stdout == scan, "it is here before it was sent");

    laptop.ok(&["sync"]);
    let status = laptop.json(&["status"]);
    assert_eq!((&status["waiting"], &status["quarantined"]), (&json!(0), &json!(0)), "{status}");
    let phone = Device::logged_in(&server);
    assert_eq!(names(&phone, "passport"), ["scan.pdf", "photo.jpg"]);
    assert_eq!(names(&phone, "server"), ["scan.pdf", "key"]);
    assert_eq!(names(&phone, "mail"), Vec::<String>::new());
    let wanted: [(&str, &str, &[u8]); 4] = [
        ("passport", "scan.pdf", &scan),
        ("passport", "photo.jpg", &photo),
        ("server", "scan.pdf", &scan),
        ("server", "key", b"here"),
    ];
    for (entry, name, content) in wanted {
        assert!(got(&phone, entry, name) == content, "{entry}: {name}");
    }
    // They are files like any other: an edit keeps them.
    phone.ok(&["edit", "passport", "--set", "username=ada"]);
    laptop.ok(&["sync"]);
    assert_eq!(names(&laptop, "passport"), ["scan.pdf", "photo.jpg"]);
}

fn a_database_with_a_file_that_is_not_whole_imports_nothing_unless_the_files_are_left_out(mode: Mode) {
    let server = Server::start_in(mode);
    let laptop = Device::registered(&server);
    let (whole, cut) = (gzip(&bytes(5000)), &gzip(&bytes(5000))[..50]);
    let (first, second) = (referring("good", 0), referring("bad", 1));
    let entries = [("passport", &*first), ("mail", &*second)];
    let file = database(&laptop, &[(&whole, COMPRESSED), (cut, COMPRESSED)], &entries);
    let refused = laptop.run(&["import", &file]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
    for part in ["item 2", "not whole gzip", "--without-attachments", "Nothing was imported"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert_eq!(laptop.json(&["list"]), json!([]));
    assert_eq!(fs::read_dir(laptop.home().join("attachments")).map_or(0, Iterator::count), 0);
    let imported = laptop.json(&["import", &file, "--without-attachments"]);
    assert_eq!((&imported["items"], &imported["attachments"]), (&json!(2), &json!(0)), "{imported}");
    assert!(imported["notes"][0].as_str().unwrap().contains("2 files of entries are left out"), "{imported}");
    let phone = Device::logged_in(&server);
    assert_eq!(names(&phone, "mail"), Vec::<String>::new());
}
