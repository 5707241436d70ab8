//! Events.

use dhow_api::{ApiVersion, EventActor, EventMessage};
use dhow_engine::Event;

/// An event for a client of that version.
pub(crate) fn message(event: &Event, version: ApiVersion) -> EventMessage {
    let mut message = EventMessage {
        kind: event.kind.clone(),
        action: event.action.clone(),
        actor: EventActor { id: event.id.clone(), attributes: event.attributes.clone() },
        scope: "local".into(),
        time: event.time.div_euclid(1_000_000_000),
        time_nano: event.time,
        ..EventMessage::default()
    };
    if version < ApiVersion::new(1, 52) && matches!(event.kind.as_str(), "container" | "image") {
        message.status = Some(event.action.clone());
        message.id = Some(event.id.clone());
        message.from = event.attributes.get("image").filter(|_| event.kind == "container").cloned();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn old_clients_find_the_old_fields() {
        let event = Event {
            kind: "container".into(),
            action: "die".into(),
            id: "c1".into(),
            attributes: [("image".to_owned(), "busybox".to_owned())].into(),
            time: 1_700_000_000_000_000_007,
            number: 3,
        };
        let to = |event: &Event, minor| serde_json::to_value(message(event, ApiVersion::new(1, minor))).unwrap();
        let new = json!({
            "Type": "container", "Action": "die", "Actor": {"ID": "c1", "Attributes": {"image": "busybox"}},
            "scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_000_000_007_i64,
        });
        assert_eq!(to(&event, 52), new);
        let old = to(&event, 51);
        assert_eq!((&old["status"], &old["id"], &old["from"]), (&json!("die"), &json!("c1"), &json!("busybox")));
        let volume = Event { kind: "volume".into(), ..event };
        assert_eq!(to(&volume, 51)["status"], Value::Null);
    }
}
