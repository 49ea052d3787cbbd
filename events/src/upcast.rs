//! Upcasters: pure steps `(kind, schema) → schema + 1` for event shapes of earlier releases.

use serde_json::Value;

type Step = fn(Value) -> Value;

/// Each step with the kind and the schema that it starts from. Empty until a released shape changes.
const STEPS: &[(&str, u16, Step)] = &[];

/// Brings a stored body from its schema to the current one; none if there is no way there.
pub(crate) fn to_current(kind: &str, schema: u16, current: u16, body: Value) -> Option<Value> {
    climb(STEPS, kind, schema, current, body)
}

fn climb(
    steps: &[(&str, u16, Step)],
    kind: &str,
    schema: u16,
    current: u16,
    mut body: Value,
) -> Option<Value> {
    if schema == 0 || schema > current {
        return None;
    }
    for from in schema..current {
        let (_, _, step) = steps.iter().find(|(k, s, _)| *k == kind && *s == from)?;
        body = step(body);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAMPLE: &[(&str, u16, Step)] = &[
        ("a", 1, |mut v| {
            v["added"] = json!(true);
            v
        }),
        ("a", 2, |mut v| {
            v["renamed"] = v["old"].take();
            v
        }),
    ];

    #[test]
    fn climbs_every_step_from_the_stored_schema_to_the_current_one() {
        let climbed = climb(SAMPLE, "a", 1, 3, json!({"old": 7})).unwrap();
        assert_eq!(climbed, json!({"old": null, "added": true, "renamed": 7}));
    }

    #[test]
    fn refuses_a_schema_from_the_future_and_a_missing_step() {
        assert_eq!(climb(SAMPLE, "a", 4, 3, json!({})), None);
        assert_eq!(climb(SAMPLE, "b", 1, 2, json!({})), None);
        assert_eq!(climb(SAMPLE, "a", 0, 3, json!({})), None);
    }
}
