//! Logins by password on an enrolled device: both messages over one connection, a new session at the end. What is
//! measured is the server; the client does not stretch its password here.

use std::time::Instant;

use ed25519_dalek::Signer;
use lockstep_api::{
    account::{DeviceProof, LoggedIn, LoginFinish, LoginStart, LoginStarted, proof_message},
    opaque::{CONTEXT, ServerSuite},
};
use lockstep_client::crypto::os_random;
use lockstep_events::ids::Signature;
use opaque_ke::{ClientLogin, ClientLoginFinishParameters, CredentialResponse, Identifiers};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    report::{Options, Report, Target, median, percentile},
    support::{
        child::Lockstepd,
        device::Device,
        wire::{Wire, request},
    },
};

const PASSWORD: &[u8] = b"violet anchor mumbles seventeen";
/// Each logs in so often: a person does it now and then, so many people are measured.
const EACH: usize = 5;

pub async fn measure(options: &Options, report: &mut Report) {
    for (mode, variables, _) in crate::modes().await {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Lockstepd::start(env!("CARGO_BIN_EXE_lockstepd"), folder.path(), "127.0.0.1:0", &variables);
        let (mut cpus, mut walls) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let (cpu, took) = round(&server, if options.quick { 20 } else { 100 }).await;
            cpus.push(cpu);
            walls.push(took);
        }
        let name = |what: &str| format!("login by password, {what}, {mode}");
        report.row(&name("server CPU"), "ms", median(cpus), Target::AtMost(1.0));
        report.row(&name("p50"), "ms", median(walls), Target::None);
    }
}

/// Milliseconds of the server's processor for a login, and from the first message to the last answer.
async fn round(server: &Lockstepd, people: usize) -> (f64, f64) {
    let mut devices = Vec::new();
    for _ in 0..people {
        devices.push(Device::register_unstretched(server.addr, PASSWORD).await);
    }
    let mut wire = Wire::connect(server.addr).await.unwrap();
    log_in(&mut wire, &devices[0]).await;
    let (cpu, mut took) = (server.cpu(), Vec::new());
    for _ in 0..EACH {
        for device in &devices {
            let began = Instant::now();
            log_in(&mut wire, device).await;
            took.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    ((server.cpu() - cpu) * 1000.0 / took.len() as f64, percentile(&mut took, 0.5))
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
