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
    use protocol::codec::Codec;
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
        assert_eq!((n("client_"), n("server_")), (7, 20));
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn frames_are_what_the_document_says() {
        let schemas = document()["components"]["schemas"].clone();
        let said = [
            ClientFrame::Heartbeat { heard: Some(3) },
            ClientFrame::Ack { n: 7 },
            ClientFrame::Identify { token: "a.b.c".to_owned(), resume: None },
        ];
        for frame in said {
            let json: Value = serde_json::from_slice(&Codec::Json.encode(&frame).unwrap()).unwrap();
            let name = json.as_object().unwrap().keys().next().unwrap();
            let kinds = schemas["ClientFrame"]["oneOf"].as_array().unwrap();
            let kind = kinds.iter().find(|kind| kind["required"][0] == **name).unwrap();
            let known = kind["properties"][name]["properties"].as_object().unwrap();
            for field in json[name].as_object().unwrap().keys() {
                assert!(known.contains_key(field), "{name}.{field}");
            }
        }
    }
}
