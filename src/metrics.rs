//! What this node has done, counted: for an operator's Prometheus. Labels are route templates, methods, statuses and
//! names of our own, never anything that a caller sent.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lockstep_projections::Family;

use crate::{
    limits::{ACTIONS, Action, TABLE},
    no_room::Store,
};

/// Upper ends of the classes into which requests are put by how long they took, in milliseconds.
const CLASSES: [u64; 8] = [1, 5, 10, 50, 100, 500, 1_000, 10_000];

#[derive(Debug, Default, Clone, Copy)]
struct Series {
    /// By class; the last are those that took longer.
    classes: [u64; CLASSES.len() + 1],
    micros: u64,
}

/// By route, then by method and status.
type Requests = BTreeMap<String, BTreeMap<(&'static str, u16), Series>>;

/// A number as it is now, or one for each of several things.
#[derive(Debug)]
pub struct Gauge {
    name: &'static str,
    help: &'static str,
    /// With their labels, which are empty or stand in braces.
    values: Vec<(String, f64)>,
}

impl Gauge {
    /// One number.
    pub fn one(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, values: vec![(String::new(), value)] }
    }

    /// A number for each store.
    pub fn by_store(name: &'static str, help: &'static str, value: impl Fn(Store) -> f64) -> Self {
        let labelled = |store: Store| (format!("{{port=\"{}\"}}", store.name()), value(store));
        Self { name, help, values: Store::ALL.into_iter().map(labelled).collect() }
    }

    /// A number for each family of read models.
    pub fn by_family(name: &'static str, help: &'static str, value: impl Fn(Family) -> f64) -> Self {
        let labelled = |family: Family| {
            let label = match family {
                Family::Account => "account",
                Family::Vault => "vault",
            };
            (format!("{{family=\"{label}\"}}"), value(family))
        };
        Self { name, help, values: Family::ALL.into_iter().map(labelled).collect() }
    }
}

/// The counters of a node.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    requests: Mutex<Requests>,
    refused: [AtomicU64; ACTIONS],
    refused_everybody: [AtomicU64; ACTIONS],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            requests: Mutex::default(),
            refused: Default::default(),
            refused_everybody: Default::default(),
        }
    }
}

/// A method, if it is one of those that routes have.
pub fn known(method: &str) -> &'static str {
    const KNOWN: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = CLASSES.iter().position(|end| micros <= end * 1_000).unwrap_or(CLASSES.len());
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if !requests.contains_key(route) {
            requests.insert(route.to_owned(), BTreeMap::new());
        }
        let Some(of_route) = requests.get_mut(route) else { return };
        let series = of_route.entry((known(method), status)).or_default();
        series.classes[class] += 1;
        series.micros = series.micros.saturating_add(micros);
    }

    /// A limit refused a request.
    pub fn refused(&self, action: Action) {
        self.refused[action as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The limit of all together refused a request.
    pub fn refused_everybody(&self, action: Action) {
        self.refused_everybody[action as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Everything as Prometheus reads it, with further gauges.
    pub fn text(&self, gauges: &[Gauge]) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = self.write(&mut out, gauges);
        out
    }

    fn write(&self, out: &mut String, gauges: &[Gauge]) -> std::fmt::Result {
        head(out, "lockstep_uptime_seconds", "gauge", "Since this node started")?;
        writeln!(out, "lockstep_uptime_seconds {:.3}", self.started.elapsed().as_secs_f64())?;
        for Gauge { name, help, values } in gauges {
            head(out, name, "gauge", help)?;
            for (labels, value) in values {
                writeln!(out, "{name}{labels} {value}")?;
            }
        }
        head(out, "lockstep_rate_limited_total", "counter", "Requests that a limit refused")?;
        for rules in &TABLE {
            let count = self.refused[rules.action as usize].load(Ordering::Relaxed);
            writeln!(out, "lockstep_rate_limited_total{{action=\"{}\"}} {count}", rules.name)?;
        }
        let name = "lockstep_rate_limited_all_total";
        head(out, name, "counter", "Requests that the limit of all together refused")?;
        for rules in TABLE.iter().filter(|rules| rules.all.is_some()) {
            let count = self.refused_everybody[rules.action as usize].load(Ordering::Relaxed);
            writeln!(out, "{name}{{action=\"{}\"}} {count}", rules.name)?;
        }
        let name = "lockstep_request_seconds";
        head(out, name, "histogram", "Requests by how long they took")?;
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (route, series) in &requests {
            for ((method, status), series) in series {
                histogram(
                    out,
                    name,
                    &format!("route=\"{route}\",method=\"{method}\",status=\"{status}\""),
                    series,
                )?;
            }
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn histogram(out: &mut String, name: &str, labels: &str, series: &Series) -> std::fmt::Result {
    let mut count = 0;
    for (class, number) in series.classes.iter().enumerate() {
        count += number;
        match CLASSES.get(class) {
            Some(end) => {
                let (seconds, millis) = (end / 1_000, end % 1_000);
                writeln!(out, "{name}_bucket{{{labels},le=\"{seconds}.{millis:03}\"}} {count}")?;
            }
            None => writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?,
        }
    }
    writeln!(out, "{name}_sum{{{labels}}} {}", Duration::from_micros(series.micros).as_secs_f64())?;
    writeln!(out, "{name}_count{{{labels}}} {count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_method_and_status_and_how_long_they_took() {
        let metrics = Metrics::default();
        for millis in [0, 2, 2, 70_000] {
            metrics.answered("GET", "/v1/account", 200, Duration::from_millis(millis));
        }
        metrics.answered("BREW", "-", 405, Duration::from_millis(1));
        metrics.refused(Action::Login);
        metrics.refused_everybody(Action::Verify);
        let text = metrics.text(&[Gauge::one("lockstep_sockets", "Open", 3.0)]);
        for line in [
            "lockstep_request_seconds_bucket{route=\"/v1/account\",method=\"GET\",status=\"200\",le=\"0.001\"} 1",
            "lockstep_request_seconds_bucket{route=\"/v1/account\",method=\"GET\",status=\"200\",le=\"0.005\"} 3",
            "lockstep_request_seconds_bucket{route=\"/v1/account\",method=\"GET\",status=\"200\",le=\"+Inf\"} 4",
            "lockstep_request_seconds_sum{route=\"/v1/account\",method=\"GET\",status=\"200\"} 70.004",
            "lockstep_request_seconds_count{route=\"-\",method=\"other\",status=\"405\"} 1",
            "lockstep_rate_limited_total{action=\"login\"} 1",
            "lockstep_rate_limited_all_total{action=\"verify\"} 1",
            "# TYPE lockstep_sockets gauge\nlockstep_sockets 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
