//! `outrider asyncapi`: the session protocol as an AsyncAPI 3 document.
//!
//! It is made of the types that are spoken, so it says what they say; which frames there are and what is in
//! them is never written down a second time. `PROTOCOL.md` says what they mean.

use protocol::{
    Refused,
    frame::{ClientFrame, FRAME_BYTES_MAX, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, ServerFrame},
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

/// Everything a frame is made of.
#[derive(Debug, OpenApi)]
#[openapi(components(schemas(ClientFrame, ServerFrame, Refused)))]
struct Frames;

/// The document.
pub(crate) fn document() -> Value {
    let schemas = json!(Frames::openapi().components.unwrap_or_default().schemas);
    let said = messages("client", &schemas["ClientFrame"]);
    let told = messages("server", &schemas["ServerFrame"]);
    let named = |messages: &Map<String, Value>, within: &str| {
        let refer = |name: &String| json!({ "$ref": format!("#/{within}/messages/{name}") });
        messages.keys().map(|name| (name.clone(), refer(name))).collect::<Map<_, _>>()
    };
    let listed = |messages: &Map<String, Value>| {
        let all = named(messages, "channels/session");
        all.into_iter().map(|(_, reference)| reference).collect::<Vec<_>>()
    };
    let (says, tells) = (listed(&said), listed(&told));
    let mut messages = said;
    messages.extend(told);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Outrider sessions",
            "version": "1.0.0",
            "description": format!(
                "One WebSocket for a whole shift. Subprotocols: `{SUBPROTOCOL_JSON}` (text, as described here) and \
                 `{SUBPROTOCOL_MSGPACK}` (binary, the same maps; ids are 16 bytes). A frame has at most \
                 {FRAME_BYTES_MAX} bytes. What frames mean, and in which order they come, is said in PROTOCOL.md."
            ),
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "session": {
                "address": "/v1/ws",
                "description": "One client's connection. A token goes in the header Authorization, in the first frame, \
                                or in the query.",
                "messages": named(&messages, "components"),
                "bindings": { "ws": {
                    "method": "GET",
                    "query": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": {
                            "token": { "type": "string", "description": "A bearer token." },
                            "session": { "type": "string", "description": "The session to go on with." },
                            "heard": {
                                "type": "integer",
                                "minimum": 0,
                                "description": "How many of its frames arrived.",
                            },
                        },
                    },
                } },
            },
        },
        "operations": {
            "hear": {
                "action": "receive",
                "summary": "What a client says.",
                "channel": { "$ref": "#/channels/session" },
                "messages": says,
            },
            "tell": {
                "action": "send",
                "summary": "What the server says.",
                "channel": { "$ref": "#/channels/session" },
                "messages": tells,
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// One message for each kind of frame: a map with one key, which is its name.
fn messages(by: &str, frame: &Value) -> Map<String, Value> {
    let kinds = frame["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = kinds.iter().filter_map(|kind| {
        let name = kind["required"][0].as_str()?;
        let message = json!({
            "name": name,
            "summary": kind["description"],
            "payload": kind,
        });
        Some((format!("{by}_{name}"), message))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The document beside `PROTOCOL.md`.
    const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/asyncapi.json");

    #[test]
    fn the_document_beside_the_protocol_is_this_one() {
        let written: Value = serde_json::from_str(&fs::read_to_string(WRITTEN).unwrap()).unwrap();
        assert!(
            written == document(),
            "`outrider asyncapi > protocol/asyncapi.json` brings it up to date"
        );
    }

    #[test]
    fn every_frame_is_a_message_and_nothing_it_refers_to_is_missing() {
        let document = document();
        let messages = document["components"]["messages"].as_object().unwrap();
        let n = |by: &str| messages.keys().filter(|name| name.starts_with(by)).count();
        assert_eq!((n("client_"), n("server_")), (7, 21));
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    /// Every kind of frame, as the tests of the protocol write it down.
    const SAMPLES: [(&str, &str); 2] = [
        ("ClientFrame", include_str!("../protocol/tests/snapshots/wire__what_clients_say.snap")),
        (
            "ServerFrame",
            include_str!("../protocol/tests/snapshots/wire__what_the_server_says.snap"),
        ),
    ];

    /// The frames in it; in its other lines they are in hexadecimal.
    fn frames(samples: &str) -> Vec<Value> {
        let lines = samples.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What speaks against a value being what one of the schemas says; nothing, if it is. Fields that are not mentioned where fields
    /// are speak against it: a document that leaves one out is not of these frames.
    fn misfit(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
        const KNOWN: [&str; 14] = [
            "description",
            "format",
            "examples",
            "default",
            "propertyNames",
            "minimum",
            "type",
            "enum",
            "pattern",
            "oneOf",
            "required",
            "properties",
            "additionalProperties",
            "items",
        ];
        if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
            return misfit(schemas, &schemas[name], value, at);
        }
        for keyword in schema.as_object().unwrap().keys() {
            assert!(KNOWN.contains(&keyword.as_str()), "{at}: {keyword} is not looked at here");
        }
        let why = |why: String| Some(format!("{at}: {why}"));
        if let Some(kinds) = schema["oneOf"].as_array() {
            let misfits: Vec<_> =
                kinds.iter().map(|kind| misfit(schemas, kind, value, at)).collect();
            let n_fit = misfits.iter().filter(|it| it.is_none()).count();
            if n_fit != 1 {
                return why(format!("{n_fit} of its kinds: {misfits:?}"));
            }
        }
        let is = |name: &str| match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "null" => value.is_null(),
            other => panic!("{at}: what is {other}?"),
        };
        let wanted = &schema["type"];
        let is_one = wanted.as_str().is_some_and(is);
        let is_any = || wanted.as_array().into_iter().flatten().filter_map(Value::as_str).any(is);
        if !wanted.is_null() && !is_one && !is_any() {
            return why(format!("{value} is not {wanted}"));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return why(format!("{value} is none of {words:?}"));
        }
        if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str()) {
            let id = pattern.strip_prefix('^').and_then(|it| it.strip_suffix("[0-9a-f]{32}$"));
            let id = id.unwrap_or_else(|| panic!("{at}: {pattern} is not looked at here"));
            let is_hex = |it: &str| it.len() == 32 && it.chars().all(|it| it.is_ascii_hexdigit());
            if !text.strip_prefix(id).is_some_and(is_hex) {
                return why(format!("{text} is not {pattern}"));
            }
        }
        let fields = value.as_object().into_iter().flatten();
        for name in schema["required"].as_array().into_iter().flatten() {
            let is_there = value.get(name.as_str().unwrap()).is_some();
            if value.is_object() && !is_there {
                return why(format!("{name} is not there"));
            }
        }
        for (name, field) in fields {
            let at = format!("{at}.{name}");
            let of = schema["properties"].get(name);
            let more = Some(&schema["additionalProperties"]).filter(|it| it.is_object());
            let problem = match of.or(more) {
                Some(of) => misfit(schemas, of, field, &at),
                None if schema["properties"].is_object() && schema["oneOf"].is_null() => {
                    Some(format!("{at} is not mentioned"))
                }
                None => None,
            };
            if problem.is_some() {
                return problem;
            }
        }
        let items = value.as_array().filter(|_| schema["items"].is_object());
        items.into_iter().flatten().find_map(|item| misfit(schemas, &schema["items"], item, at))
    }

    #[test]
    fn frames_of_every_kind_are_what_the_document_says() {
        let schemas = document()["components"]["schemas"].clone();
        for (schema, samples) in SAMPLES {
            let frames = frames(samples);
            for frame in &frames {
                assert_eq!(misfit(&schemas, &schemas[schema], frame, schema), None, "{frame}");
            }
            for kind in schemas[schema]["oneOf"].as_array().unwrap() {
                let name = kind["required"][0].as_str().unwrap();
                let is_one = |frame: &Value| frame.get(name).is_some();
                assert!(frames.iter().any(is_one), "there is no sample of {name}");
            }
        }
    }

    #[test]
    fn what_no_frame_is_is_not_what_the_document_says() {
        let schemas = document()["components"]["schemas"].clone();
        let order = "order-000000000001784f87e4cbac39dff7f5";
        for (schema, frame) in [
            ("ClientFrame", json!({ "ack": {} })),
            ("ClientFrame", json!({ "ack": { "n": "7" } })),
            ("ClientFrame", json!({ "ack": { "n": 7, "colour": "red" } })),
            ("ClientFrame", json!({ "nod": { "n": 7 } })),
            ("ClientFrame", json!({ "subscribe": { "order": "order-1" } })),
            ("ServerFrame", json!({ "rider": { "id": order, "version": 1, "jobs": [] } })),
            ("ServerFrame", json!({ "heartbeat": { "server_time": 1, "colour": "red" } })),
            ("ServerFrame", json!({ "refused": { "code": "tired", "message": "" } })),
        ] {
            let problem = misfit(&schemas, &schemas[schema], &frame, schema);
            assert!(problem.is_some(), "{frame}");
        }
    }
}
