//! docker-compose.yml against the part of the compose specification that it uses: an unknown or misspelt key does not
//! parse, every reference leads somewhere, and the nodes' variables are options that the server accepts.

use super::text;
use crate::sources::root;
use lockstepd::config::{Config, Layer};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    name: String,
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<Empty>>,
    /// The part that both nodes share; Docker ignores keys that begin with `x-`.
    #[serde(rename = "x-node")]
    _node: serde_json::Value,
    /// The part that all services share.
    #[serde(rename = "x-logging")]
    _logging: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    build: Option<String>,
    command: Option<Vec<String>>,
    restart: String,
    stop_grace_period: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Needs>,
    healthcheck: Option<Health>,
    logging: Logging,
}

/// Docker's own default keeps everything for ever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {
    driver: String,
    options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Needs {
    condition: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
    start_period: Option<String>,
}

fn compose() -> Compose {
    serde_saphyr::from_str(&text("docker-compose.yml"))
        .unwrap_or_else(|error| panic!("docker-compose.yml: {error}"))
}

/// The services that run our own image.
fn nodes(compose: &Compose) -> Vec<&Service> {
    compose.services.values().filter(|service| service.build.is_some()).collect()
}

/// The variables of deploy/env.example, with a value for each that a person has to fill in.
fn filled_in() -> BTreeMap<String, String> {
    let file = text("deploy/env.example");
    let lines = file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let value = |text: &str| if text.is_empty() { "0123456789abcdef".to_owned() } else { text.to_owned() };
    lines.map(|(name, text)| (name.to_owned(), value(text))).collect()
}

/// Puts values in the place of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; a name that env.example does not
/// have and that has no default is an error, as it is for Docker.
fn interpolated(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        done.push_str(&rest[..at]);
        let end = rest[at..].find('}').ok_or_else(|| format!("no end of a variable in {text}"))? + at;
        let inside = &rest[at + 2..end];
        let name = inside.split(':').next().unwrap_or_default();
        let default = inside.split_once(":-").map(|(_, default)| default.to_owned());
        done.push_str(
            &variables
                .get(name)
                .cloned()
                .or(default)
                .ok_or_else(|| format!("{name} is not in env.example"))?,
        );
        rest = &rest[end + 1..];
    }
    Ok(done + rest)
}

fn is_duration(text: &str) -> bool {
    text.strip_suffix('s').is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0))
}

#[test]
fn every_service_has_a_pinned_image_a_restart_policy_and_a_health_check() {
    let compose = compose();
    assert_eq!(compose.name, "lockstep");
    for (name, service) in &compose.services {
        let (_, tag) =
            service.image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {} has no tag", service.image));
        let is_pinned =
            tag != "latest" && tag.contains('.') && tag.chars().any(|letter| letter.is_ascii_digit());
        assert!(is_pinned || service.build.is_some(), "{name}: {} is not pinned", service.image);
        assert_eq!(service.restart, "unless-stopped", "{name}");
        let health = service.healthcheck.as_ref().unwrap_or_else(|| panic!("{name} has no health check"));
        assert!(health.test.len() > 1 && health.test[0] == "CMD", "{name}: a shell is not everywhere");
        assert!(
            health.retries > 0 && is_duration(&health.interval) && is_duration(&health.timeout),
            "{name}"
        );
        assert!(health.start_period.as_deref().is_none_or(is_duration), "{name}");
        assert!(service.stop_grace_period.as_deref().is_none_or(is_duration), "{name}");
        assert!(service.command.as_ref().is_none_or(|words| !words.is_empty()), "{name}");
    }
}

#[test]
fn the_distributed_mode_is_complete_two_nodes_and_what_they_need() {
    let compose = compose();
    let versions: Vec<_> = compose.services.values().map(|service| service.image.as_str()).collect();
    for wanted in ["postgres:17", "nats:2", "dxflrs/garage:v2", "caddy:2"] {
        assert!(versions.iter().any(|image| image.starts_with(wanted)), "no {wanted} in {versions:?}");
    }
    assert_eq!(nodes(&compose).len(), 2);
    for node in nodes(&compose) {
        for needed in ["postgres", "nats", "garage"] {
            assert!(node.depends_on.contains_key(needed), "a node does not wait for {needed}");
        }
    }
}

#[test]
fn a_service_waits_only_for_the_health_of_others_that_exist() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (needed, needs) in &service.depends_on {
            assert!(compose.services.contains_key(needed), "{name} waits for {needed}, which does not exist");
            assert_eq!(needs.condition, "service_healthy", "{name} waits for {needed}");
            assert_ne!(name, needed);
        }
    }
}

#[test]
fn every_volume_is_declared_and_used_and_every_mounted_file_exists() {
    let compose = compose();
    let mut used = Vec::new();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let source = volume.split(':').next().unwrap_or_default();
            if source.starts_with("./") {
                assert!(root().join(source).is_file(), "{name} mounts {source}, which does not exist");
                assert!(volume.ends_with(":ro"), "{name} can write {source}");
            } else {
                assert!(compose.volumes.contains_key(source), "{name}: the volume {source} is not declared");
                used.push(source.to_owned());
            }
        }
    }
    for declared in compose.volumes.keys() {
        assert!(used.contains(declared), "nobody uses the volume {declared}");
    }
}

#[test]
fn only_the_proxy_is_reachable_and_only_from_this_machine() {
    for (name, service) in &compose().services {
        assert!(service.ports.is_empty() || name == "proxy", "{name} publishes {:?}", service.ports);
        for port in &service.ports {
            let parts: Vec<_> = port.split(':').collect();
            assert!(parts.len() == 3 && parts[0] == "127.0.0.1", "{name} publishes {port}");
            assert!(parts[1..].iter().all(|number| number.parse::<u16>().is_ok()), "{name} publishes {port}");
        }
    }
}

#[test]
fn the_nodes_variables_are_options_that_the_server_accepts() {
    let compose = compose();
    let defaults: toml::Table = text("src/config.default.toml").parse().unwrap();
    for node in nodes(&compose) {
        let variables = filled_in();
        let mut environment = BTreeMap::new();
        for (variable, value) in &node.environment {
            let option =
                variable.strip_prefix("LOCKSTEP_").unwrap_or_else(|| panic!("{variable} is not ours"));
            assert!(defaults.contains_key(&option.to_lowercase()), "{variable} is no option of the server");
            environment.insert(variable.clone(), interpolated(value, &variables).unwrap());
        }
        let layer = Layer::from_environment(|name| environment.get(name).cloned()).unwrap();
        let config = Config::with(layer).unwrap();
        assert!(config.plain_http && config.log.expose().starts_with("postgres://"));
        assert!(config.bus.expose().starts_with("nats://") && config.blobs.expose().starts_with("s3://"));
        let grace: u64 = node.stop_grace_period.as_deref().unwrap().trim_end_matches('s').parse().unwrap();
        assert!(grace > config.drain_s, "Docker kills a node before it has drained");
        let port = format!(":{}", config.listen.port());
        let health = node.healthcheck.as_ref().unwrap();
        assert!(health.test.iter().any(|word| word.ends_with(&port)), "the health check asks another port");
        assert!(text("deploy/Caddyfile").contains(&port), "the proxy asks another port");
    }
}

#[test]
fn every_variable_is_in_the_example_and_no_secret_is_in_a_file() {
    let variables = filled_in();
    let lines = text("docker-compose.yml");
    for line in lines.lines().filter(|line| !line.trim_start().starts_with('#')) {
        interpolated(line, &variables).unwrap();
        let is_secret =
            ["PASSWORD:", "SECRET:", "SECRET_KEY:", "ACCESS_KEY:"].iter().any(|name| line.contains(name));
        assert!(!is_secret || line.contains("${"), "a secret is written out: {line}");
    }
    for line in text("deploy/env.example").lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        assert!(value.is_empty() || name == "LOCKSTEP_HOST", "{name} has a value in the example");
        assert!(name.is_empty() || lines.contains(&format!("${{{name}")), "nobody uses {name}");
    }
}

#[test]
fn no_log_of_a_container_grows_for_ever() {
    for (name, service) in compose().services {
        let bounded =
            ["max-size", "max-file"].iter().all(|bound| service.logging.options.contains_key(*bound));
        assert!(service.logging.driver == "local" && bounded, "{name}");
    }
}

#[test]
fn what_the_image_is_to_read_belongs_to_the_user_that_the_page_names() {
    assert!(text("Dockerfile").contains("USER nonroot"));
    assert!(text("docs/operating.md").contains("user 65532"));
}

#[test]
fn the_proxy_knows_every_node() {
    let compose = compose();
    let caddyfile = text("deploy/Caddyfile");
    for (name, service) in &compose.services {
        if service.build.is_some() {
            assert!(caddyfile.contains(&format!("{name}:")), "the proxy does not know {name}");
        }
    }
}

#[test]
fn a_misspelt_key_does_not_pass() {
    let good = text("docker-compose.yml");
    for (right, wrong) in
        [("healthcheck:", "helthcheck:"), ("condition:", "conditions:"), ("restart:", "restarts:")]
    {
        let misspelt = good.replace(right, wrong);
        assert!(serde_saphyr::from_str::<Compose>(&misspelt).is_err(), "{wrong} passed");
    }
    assert!(interpolated("${NOBODY_KNOWS}", &filled_in()).is_err());
}
