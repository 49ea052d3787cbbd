//! An import of 3,000 items by the client library, from the parsed export to the last acknowledgement: sealing,
//! signing, the local database, pushes. And what of it is the server's.

use std::time::Instant;

use lockstep_client::{
    Client,
    crypto::{password::Password, wipe::Plaintext},
    porting::fixtures,
    server::{Server, Trust, certificate_fingerprint},
};

use crate::{
    report::{Options, Report, Target, median},
    support::child::Lockstepd,
};

const ITEMS: usize = 3000;

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, variables, _) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let (mut walls, mut cpus) = (Vec::new(), Vec::new());
        for round in 0..options.rounds.min(3) {
            let (wall, cpu) = import(&server, round).await;
            walls.push(wall);
            cpus.push(cpu);
        }
        let name = |what: &str| format!("import of {ITEMS} items by the client library, {what}, {mode}");
        report.row(&name("end to end"), "ms", median(walls), Target::None);
        report.row(&name("server CPU"), "ms", median(cpus), Target::AtMost(500.0));
    }
}

/// Milliseconds from the items to the last acknowledgement, and those of the server's processor.
async fn import(server: &Lockstepd, round: usize) -> (f64, f64) {
    let home = tempfile::tempdir().unwrap();
    let url = format!("https://127.0.0.1:{}", server.addr.port());
    let trust = Trust::Pinned(certificate_fingerprint(&url).await.unwrap());
    let at = Server::new(&url, trust).unwrap();
    let password = Password::new("violet anchor mumbles seventeen".to_owned());
    let client =
        Client::register(home.path(), &at, &format!("import-{round}@example.org"), &password).await.unwrap();
    let items = fixtures::items(ITEMS, round as u64);
    let contents: Vec<_> =
        items.iter().map(|item| Plaintext::new(serde_json::to_vec(item).unwrap())).collect();
    let (cpu, started) = (server.cpu(), Instant::now());
    client.add_many(&contents, &mut |_| ()).await.unwrap();
    client.sync().await.unwrap();
    let took = (started.elapsed().as_secs_f64() * 1000.0, (server.cpu() - cpu) * 1000.0);
    let status = client.status().await.unwrap();
    assert_eq!(status.waiting, 0, "everything was acknowledged");
    client.close().await;
    took
}
