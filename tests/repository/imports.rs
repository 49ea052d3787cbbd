//! Who may import whom, inside each crate.

use crate::paths::named_in;
use crate::sources::{Source, expect_none, lines_where, rust};

const ADAPTERS: [&str; 8] =
    ["sqlite", "postgres", "filesystem", "s3", "in_process", "nats", "smtp", "mail_folder"];

/// Files of the server that name a room they must not.
fn naming(is_bound: impl Fn(&Source) -> bool, is_wrong: impl Fn(&Source, &[String]) -> bool) -> Vec<String> {
    let server = rust().into_iter().filter(|source| source.path.starts_with("src/") && is_bound(source));
    let mut found = Vec::new();
    for source in server {
        for path in named_in(&source.path, &source.shipped()) {
            if is_wrong(&source, &path) {
                found.push(format!("{} names {}", source.path, path.join("::")));
            }
        }
    }
    found
}

fn begins(path: &[String], room: &str) -> bool {
    path.first().is_some_and(|first| first == room)
}

#[test]
fn commands_know_neither_http_nor_adapters_nor_the_wire() {
    let mut found = naming(
        |source| source.is_in("src/commands"),
        |_, path| begins(path, "http") || begins(path, "adapters"),
    );
    for source in rust().iter().filter(|source| source.is_in("src/commands")) {
        found.extend(lines_where(&source.path, &source.shipped(), |line| line.contains("lockstep_api")));
    }
    expect_none("commands never import http, adapters or api", &found);
}

#[test]
fn http_does_not_know_the_adapters() {
    let found = naming(|source| source.is_in("src/http"), |_, path| begins(path, "adapters"));
    expect_none("http never imports adapters", &found);
}

#[test]
fn adapters_do_not_know_each_other() {
    let home =
        |source: &Source| ADAPTERS.into_iter().find(|name| source.is_in(&format!("src/adapters/{name}")));
    let found = naming(
        |source| home(source).is_some(),
        |source, path| {
            let other = path.get(1).filter(|_| begins(path, "adapters"));
            other.is_some_and(|other| {
                Some(other.as_str()) != home(source) && ADAPTERS.contains(&other.as_str())
            })
        },
    );
    expect_none("an adapter never imports another", &found);
}

#[test]
fn only_app_names_an_adapter() {
    let found = naming(
        |source| !source.is_in("src/adapters") && !source.is_in("src/app"),
        |source, path| begins(path, "adapters") && !source.is_test(),
    );
    expect_none("only app.rs names an adapter", &found);
}

#[test]
fn only_config_reads_the_environment() {
    let reads = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os(", "env!(\"LOCKSTEP"];
    let mut found = Vec::new();
    for source in rust() {
        let is_bound = ["src/", "events/src/", "projections/src/", "api/src/"];
        if source.is_test()
            || source.is_in("src/config")
            || !is_bound.iter().any(|room| source.path.starts_with(room))
        {
            continue;
        }
        found.extend(lines_where(&source.path, &source.shipped(), |line| {
            reads.iter().any(|read| line.contains(read)) && !line.contains("LOCKSTEP_TEST_")
        }));
    }
    expect_none("only config.rs reads the environment", &found);
}

#[test]
fn sql_stands_in_the_adapters_and_the_clients_store_only() {
    let begins_a_statement = |line: &str| {
        let line = line.to_lowercase();
        let words =
            ["select ", "insert into ", "delete from ", "create table ", "drop table ", "alter table "];
        words.iter().any(|words| line.contains(&format!("\"{words}")) || line.trim_start().starts_with(words))
    };
    let mut found = Vec::new();
    for source in rust() {
        let has_sql = source.is_in("src/adapters")
            || source.is_in("client/src/store")
            || source.path.starts_with("xtask/");
        if !has_sql && !source.is_test() && source.path != "build.rs" {
            found.extend(lines_where(&source.path, &source.shipped(), begins_a_statement));
        }
    }
    expect_none("SQL lives in src/adapters, the client's store and migrations/", &found);
}

#[test]
fn one_room_of_the_client_and_one_file_of_the_server_name_a_cipher() {
    let rooms = ["client/src/crypto", "src/subjects/cipher", "tests/repository"];
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| !rooms.iter().any(|room| source.is_in(room))) {
        let ciphers = ["aes_gcm", "chacha20poly1305", "crypto_secretbox", "ring::aead"];
        found.extend(lines_where(&source.path, &source.shipped(), |line| {
            ciphers.iter().any(|cipher| line.contains(cipher))
        }));
    }
    expect_none("a cipher crate is named in client/src/crypto and src/subjects/cipher.rs only", &found);
}

#[test]
fn projecting_knows_no_clock_and_no_chance() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| source.is_in("projections/src/project")) {
        let impure =
            ["SystemTime", "Instant", "now()", "rand::", "std::fs", "std::net", ".await", "async fn"];
        found.extend(lines_where(&source.path, &source.shipped(), |line| {
            impure.iter().any(|word| line.contains(word))
        }));
    }
    expect_none("project() is pure", &found);
}

#[test]
fn the_client_library_returns_and_never_prints() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|source| source.path.starts_with("client/src/") && !source.is_test()) {
        if source.is_in("client/src/bin") || source.is_in("client/src/cli") {
            continue;
        }
        let prints = ["println!(", "eprintln!(", "print!(", "eprint!("];
        found.extend(lines_where(&source.path, &source.shipped(), |line| {
            prints.iter().any(|word| line.contains(word))
        }));
    }
    expect_none("the client's library never prints", &found);
}
