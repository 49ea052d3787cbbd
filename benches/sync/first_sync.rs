//! The first sync of a vault, the delta after one change, and the server's share of an import of 3,000 items.

use std::time::Instant;

use lockstep_api::sync::{Changes, PushItem, Snapshot};

use crate::{
    report::{Options, Report, Target, median},
    support::{
        child::Lockstepd,
        device::{Device, entry, id},
        wire::{Wire, request},
    },
};

const MB: f64 = 1024.0 * 1024.0;

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, variables, _) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        report.row(
            // The target is for a server without the adapters of distributed mode: `cargo xtask bench build` reads it.
            &format!("server memory, idle, with all adapters, {mode}"),
            "MB",
            server.memory().0 as f64 / MB,
            Target::None,
        );
        import(&server, mode, report).await;
        let sizes: &[(usize, f64)] =
            if options.quick { &[(1000, 25.0)] } else { &[(1000, 25.0), (10_000, 250.0)] };
        for (entries, most) in sizes {
            vault(&server, mode, *entries, *most, options.rounds, report).await;
        }
    }
}

/// 3,000 items of about 700 bytes in pushes of 250, one after the other, as an import sends them.
async fn import(server: &Lockstepd, mode: &str, report: &mut Report) {
    let device = Device::register(server.addr).await;
    let (cpu, wall) = fill(server, &device, 3000).await;
    report.row(&format!("import of 3,000 items, server CPU, {mode}"), "ms", cpu, Target::AtMost(500.0));
    report.row(&format!("import of 3,000 items, pushes end to end, {mode}"), "ms", wall, Target::None);
}

/// Fills a vault; server CPU and time, in milliseconds. The bodies are made beforehand.
async fn fill(server: &Lockstepd, device: &Device, entries: usize) -> (f64, f64) {
    let bearer = format!("Bearer {}", device.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let items: Vec<PushItem> = (0..entries)
        .map(|n| {
            let mut content = vec![0x5a; 700];
            content[..8].copy_from_slice(&(n as u64).to_be_bytes());
            device.edit(entry(), &[], &content)
        })
        .collect();
    let bodies: Vec<Vec<u8>> = items
        .chunks(250)
        .map(|chunk| {
            let body = serde_json::to_vec(&device.batch(chunk.to_vec())).unwrap();
            request("POST", &device.push_path(), &headers, &body)
        })
        .collect();
    let mut wire = Wire::connect(server.addr).await.unwrap();
    let (cpu, started) = (server.cpu(), Instant::now());
    for body in &bodies {
        assert_eq!(wire.exchange(body).await.unwrap().status, 200);
    }
    ((server.cpu() - cpu) * 1000.0, started.elapsed().as_secs_f64() * 1000.0)
}

async fn vault(
    server: &Lockstepd,
    mode: &str,
    entries: usize,
    most: f64,
    rounds: usize,
    report: &mut Report,
) {
    let device = Device::register(server.addr).await;
    fill(server, &device, entries).await;
    let bearer = format!("Bearer {}", device.token);
    let headers = [("authorization", bearer.as_str())];
    let mut wire = Wire::connect(server.addr).await.unwrap();
    let (mut cpus, mut walls, mut bytes) = (Vec::new(), Vec::new(), 0);
    // Processor time is counted in steps of 10 ms: a small vault is read several times.
    let times = (10_000 / entries).max(1);
    for _ in 0..rounds.max(3) {
        let (cpu, mut waited) = (server.cpu(), 0.0);
        for _ in 0..times {
            let took;
            (took, bytes) = read(&mut wire, &device, &headers, entries).await;
            waited += took;
        }
        cpus.push((server.cpu() - cpu) * 1000.0 / times as f64);
        walls.push(waited / times as f64);
    }
    let name = |what: &str| format!("{what}, {entries} entries, {mode}");
    report.row(&name("first sync, server CPU"), "ms", median(cpus), Target::AtMost(most));
    report.row(&name("first sync, waited"), "ms", median(walls), Target::None);
    report.row(&name("first sync, size"), "MB", bytes as f64 / MB, Target::None);
    report.row(&name("server memory at most"), "MB", server.memory().1 as f64 / MB, Target::AtMost(100.0));
    delta(&device, &mut wire, &name, rounds, report).await;
}

/// Reads a vault whole; the milliseconds that were waited, and how many bytes it was.
async fn read(wire: &mut Wire, device: &Device, headers: &[(&str, &str)], entries: usize) -> (f64, usize) {
    let (mut waited, mut bytes, mut seen) = (0.0, 0, 0);
    let mut next = Some(String::new());
    while let Some(page) = next {
        let path = format!("/v1/vaults/{}/snapshot{page}", device.vault);
        let sent = Instant::now();
        let reply = wire.exchange(&request("GET", &path, headers, b"")).await.unwrap();
        waited += sent.elapsed().as_secs_f64() * 1000.0;
        bytes += reply.body.len();
        let page: Snapshot = reply.json();
        seen += page.entries.len();
        next = page.next.map(|next| format!("?page={next}"));
    }
    assert_eq!(seen, entries);
    (waited, bytes)
}

async fn delta(
    device: &Device,
    wire: &mut Wire,
    name: &impl Fn(&str) -> String,
    rounds: usize,
    report: &mut Report,
) {
    let bearer = format!("Bearer {}", device.token);
    let headers = [("authorization", bearer.as_str())];
    let (of, mut parents) = (entry(), Vec::new());
    let (mut waits, mut bytes) = (Vec::new(), 0);
    for n in 0..rounds.max(20) {
        let before = device.seq().await;
        let item = device.edit(of, &parents, format!("{n}").as_bytes());
        parents = vec![id(&item)];
        device.push(vec![item]).await;
        let path = format!("/v1/streams/{}/changes?after={}.{before}&inline=1", device.vault, device.epoch);
        let sent = Instant::now();
        let reply = wire.exchange(&request("GET", &path, &headers, b"")).await.unwrap();
        waits.push(sent.elapsed().as_secs_f64() * 1000.0);
        bytes = reply.body.len();
        assert_eq!(reply.json::<Changes>().events.len(), 1);
    }
    report.row(&name("delta after one change"), "ms", median(waits), Target::None);
    report.row(&name("delta after one change, size"), "bytes", bytes as f64, Target::None);
}
