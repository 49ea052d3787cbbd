//! Logins by password on an enrolled device: both messages over one connection, a new session at the end. What is
//! measured is the server; the client does not stretch its password here.

use std::time::Instant;

use ed25519_dalek::Signer;
use lockstep_api::{
    account::{DeviceProof, LoggedIn, LoginFinish, LoginStart, LoginStarted, proof_message},
    opaque::{CONTEXT, ServerSuite},
};
use lockstep_client::crypto::os_random;
use lockstep_events::{AccountId, ids::Signature};
use lockstepd::auth::opaque;
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse, ServerSetup,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    raw,
    report::{Options, Report, Target, median, percentile},
    support::{
        child::{Lockstepd, cpu},
        device::Device,
        wire::{Wire, request},
    },
};

const PASSWORD: &[u8] = b"violet anchor mumbles seventeen";
/// Each logs in so often: a person does it now and then, so many people are measured.
const EACH: usize = 5;

pub async fn measure(options: &Options, report: &mut Report) {
    report.row("login by password, OPAQUE's part of the server CPU", "ms", opaque_alone(), Target::None);
    for (mode, variables, _) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let (mut cpus, mut walls, mut together) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let devices = registered(&server, if options.quick { 24 } else { 96 }).await;
            let (cpu, took) = alone(&server, &devices).await;
            cpus.push(cpu);
            walls.push(took);
            together.push(at_once(&server, devices).await);
        }
        let name = |what: &str| format!("login by password, {what}, {mode}");
        report.row(&name("server CPU"), "ms", median(cpus), Target::AtMost(1.0));
        report.row(&name("p50"), "ms", median(walls), Target::None);
        report.row(&name("server CPU, 8 at a time"), "ms", median(together), Target::AtMost(1.0));
        let alone = statements_alone(mode).await;
        let what = format!("CPU of {STATEMENTS} statements that do nothing, by the same driver");
        report.row(&name(&what), "ms", alone, Target::None);
    }
}

/// So many statements a login is to Postgres, beside what the read models and the log's batch take.
const STATEMENTS: u32 = 16;

/// Milliseconds of this process for as many statements as a login has, each of which only answers: what is left of a login
/// where its database, OPAQUE and HTTP cost nothing.
async fn statements_alone(mode: &str) -> f64 {
    const TIMES: u32 = 200;
    let all = TIMES * STATEMENTS;
    let used = |before: f64| (cpu(std::process::id()) - before) * 1000.0 / f64::from(TIMES);
    if mode == "embedded" {
        let folder = tempfile::tempdir().unwrap();
        let mut file = raw::open_sqlite(&folder.path().join("statements.db")).await;
        let before = cpu(std::process::id());
        for _ in 0..all {
            sqlx::query("SELECT 1").execute(&mut file).await.unwrap();
        }
        return used(before);
    }
    let url = raw::database(&std::env::var("LOCKSTEP_TEST_POSTGRES").unwrap()).await;
    let mut connection = raw::connect(&url, 1).await.remove(0);
    let before = cpu(std::process::id());
    for _ in 0..all {
        sqlx::query("SELECT 1").execute(&mut connection).await.unwrap();
    }
    used(before)
}

/// Milliseconds of what the server computes for OPAQUE in a login: what no store and no connection can save.
fn opaque_alone() -> f64 {
    let (setup, account) = (ServerSetup::<ServerSuite>::new(&mut os_random()), AccountId(Uuid::new_v4()));
    let begun = ClientRegistration::<ServerSuite>::start(&mut os_random(), PASSWORD).unwrap();
    let answer = opaque::registration_response(&setup, account, &begun.message.serialize()).unwrap();
    let answer = RegistrationResponse::deserialize(&answer).unwrap();
    let parameters = ClientRegistrationFinishParameters::default();
    let ended = begun.state.finish(&mut os_random(), PASSWORD, answer, parameters).unwrap();
    let record = opaque::record(&ended.message.serialize()).unwrap();
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = ClientLogin::<ServerSuite>::start(&mut os_random(), PASSWORD).unwrap();
        let (ke1, began) = (begun.message.serialize(), Instant::now());
        let (ke2, state) = opaque::login_response(&setup, account, &record, &ke1, &mut os_random()).unwrap();
        let first = began.elapsed();
        let response = CredentialResponse::deserialize(&ke2).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
        let ended = begun.state.finish(&mut os_random(), PASSWORD, response, parameters).unwrap();
        let (ke3, began) = (ended.message.serialize(), Instant::now());
        opaque::login_finish(&state, &ke3).unwrap();
        took.push((first + began.elapsed()).as_secs_f64() * 1000.0);
    }
    median(took)
}

async fn registered(server: &Lockstepd, people: usize) -> Vec<Device> {
    let mut devices = Vec::new();
    for _ in 0..people {
        devices.push(Device::register_unstretched(server.addr, PASSWORD).await);
    }
    devices
}

/// Milliseconds of the server's processor for a login, and from the first message to the last answer.
async fn alone(server: &Lockstepd, devices: &[Device]) -> (f64, f64) {
    let mut wire = Wire::connect(server.addr).await.unwrap();
    log_in(&mut wire, &devices[0]).await;
    let (cpu, mut took) = (server.cpu(), Vec::new());
    for _ in 0..EACH {
        for device in devices {
            let began = Instant::now();
            log_in(&mut wire, device).await;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    ((server.cpu() - cpu) * 1000.0 / took.len() as f64, percentile(&mut took, 0.5))
}

/// Milliseconds of the server's processor for a login where eight go on at the same time: a server with nothing else to
/// do wakes its threads for each message anew, a busy one does not.
async fn at_once(server: &Lockstepd, devices: Vec<Device>) -> f64 {
    let (cpu, people) = (server.cpu(), devices.len());
    let mut devices = devices.into_iter();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let some: Vec<Device> = devices.by_ref().take(people / 8).collect();
        let mut wire = Wire::connect(server.addr).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for device in some.iter().cycle().take(some.len() * EACH) {
                log_in(&mut wire, device).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    (server.cpu() - cpu) * 1000.0 / (people * EACH) as f64
}

async fn log_in(wire: &mut Wire, device: &Device) {
    let begun = ClientLogin::<ServerSuite>::start(&mut os_random(), PASSWORD).unwrap();
    let proof = |about: &[u8]| {
        let signature = Signature(device.key.sign(&proof_message(about)).to_bytes());
        Some(DeviceProof { device: device.device, signature })
    };
    let message = begun.message.serialize().to_vec();
    let proven = proof(&message);
    let start = LoginStart { name: device.name.clone(), request: message.into(), device: proven };
    let started: LoginStarted = post(wire, "/v1/sessions/start", &start).await;
    let response = CredentialResponse::deserialize(&started.response.0).unwrap();
    let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
    let ended = begun.state.finish(&mut os_random(), PASSWORD, response, parameters).unwrap();
    let finish = LoginFinish {
        attempt: started.attempt,
        finalization: ended.message.serialize().to_vec().into(),
        device: proof(started.attempt.as_bytes()),
    };
    let entered: LoggedIn = post(wire, "/v1/sessions/finish", &finish).await;
    assert!(entered.tokens.is_some());
}

async fn post<T: DeserializeOwned>(wire: &mut Wire, path: &str, body: &impl Serialize) -> T {
    let body = serde_json::to_vec(body).unwrap();
    let reply = wire.exchange(&request("POST", path, &[("content-type", "application/json")], &body)).await;
    let reply = reply.unwrap();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    reply.json()
}
