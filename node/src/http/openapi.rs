//! The OpenAPI document, made of the table of routes and of the types that they
//! carry.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use client::api::ErrorBody;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::parameters::{self, Parameter};
use super::route::{Access, Body, Route};
use super::{App, routes, status};

/// `GET /v1/openapi.json`
pub(super) async fn answer(State(app): State<Arc<App>>) -> Json<Value> {
    Json(document(&app.url))
}

/// The document of a peer that is reached at `url`.
pub(super) fn document(url: &str) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::table() {
        for path in route.paths() {
            let path = path.replace("{*", "{");
            let operation = operation(&route, &path, &mut schemas);
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[route.method] = operation;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Coliving",
            "version": status::VERSION,
            "summary": "What a peer of the Coliving network answers over HTTP",
        },
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas.definitions(),
            "headers": freshness(),
        },
    })
}

/// Schemas of what is read and of what is written: in the first, fields with a
/// default may be absent.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
            .with_transform(SizedNumbers);
        Self {
            read: settings.clone().for_deserialize().into_generator(),
            written: settings.for_serialize().into_generator(),
        }
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut found = self.written.take_definitions(true);
        for (name, schema) in self.read.take_definitions(true) {
            let known = found.entry(name).or_insert_with(|| schema.clone());
            debug_assert_eq!(*known, schema, "a type is written as it is read");
        }
        found
    }
}

/// Names the formats of numbers as other tools know them.
#[derive(Debug, Clone)]
struct SizedNumbers;

impl Transform for SizedNumbers {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("format").is_some_and(|format| format == "uint") {
            schema.insert("format".to_owned(), "uint64".into());
        }
        transform_subschemas(self, schema);
    }
}

fn operation(route: &Route, path: &str, schemas: &mut Schemas) -> Value {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path = names.map(parameters::of_path);
    let all = of_path.chain(route.parameters.iter().copied());
    let mut operation = json!({
        "operationId": operation_id(route.method, path),
        "summary": route.summary,
        "tags": [tag(path)],
        "parameters": all.map(|one| parameter(&one)).collect::<Vec<_>>(),
        "responses": responses(route, schemas),
    });
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": content(body, &mut schemas.read),
        });
    }
    if route.access == Access::Owner {
        operation["security"] = json!([{"token": []}]);
    }
    operation
}

fn responses(route: &Route, schemas: &mut Schemas) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    for (status, body) in &route.answers {
        let mut response = json!({"description": meaning(*status)});
        let content = content(*body, &mut schemas.written);
        if !content.is_empty() {
            response["content"] = content.into();
        }
        if route.access == Access::Read {
            let names = freshness();
            let headers = names.keys().map(|name| {
                let target = format!("#/components/headers/{name}");
                (name.clone(), json!({"$ref": target}))
            });
            response["headers"] = Value::Object(headers.collect());
        }
        responses.insert(status.to_string(), response);
    }
    let error = schemas.written.subschema_for::<ErrorBody>();
    for status in errors(route) {
        let mut response = json!({
            "description": meaning(status),
            "content": {"application/json": {"schema": error}},
        });
        if matches!(status, 429 | 503) {
            response["headers"] = json!({"Retry-After": {
                "description": "Seconds after which asking again makes sense",
                "schema": {"type": "integer", "minimum": 0},
            }});
        }
        responses.entry(status.to_string()).or_insert(response);
    }
    Value::Object(responses)
}

/// Every status of an error that a route answers with.
pub(super) fn errors(route: &Route) -> BTreeSet<u16> {
    let mut errors: BTreeSet<u16> = route.errors.iter().copied().collect();
    // A name that is not this peer's, too many at a time, a failure.
    errors.extend([403, 429, 500]);
    if route.access == Access::Owner {
        errors.insert(401);
    }
    match route.body {
        Some(Body::Json(_)) => errors.extend([408, 415]),
        Some(_) => errors.extend([408]),
        None => {}
    }
    errors
}

fn content(body: Body, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let (media, schema) = match body {
        Body::Json(shape) => ("application/json", shape(generator).to_value()),
        Body::Either(one, other) => {
            let either = [one(generator), other(generator)];
            ("application/json", json!({"anyOf": either}))
        }
        Body::OpenApi => ("application/json", json!({"type": "object"})),
        Body::Text(media) => (media, json!({"type": "string"})),
        Body::Bytes => ("*/*", json!({})),
        Body::Nothing => return Map::new(),
    };
    let content = json!({"schema": schema});
    [(media.to_owned(), content)].into_iter().collect()
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place.name(),
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": (parameter.schema)(),
    })
}

/// The headers that say how fresh an answer of the index is.
fn freshness() -> Map<String, Value> {
    let header = |name: &str, description: &str| {
        let value = json!({
            "description": description,
            "schema": {"type": "integer", "format": "uint64", "minimum": 0},
        });
        (name.to_owned(), value)
    };
    [
        header(
            "X-Coliving-Indexed-Block",
            "The newest block that the index has applied",
        ),
        header(
            "X-Coliving-Chain-Block",
            "The chain's newest block, when it is known",
        ),
    ]
    .into_iter()
    .collect()
}

/// `get /v1/users/{id}` as `getV1UsersId`.
fn operation_id(method: &str, path: &str) -> String {
    let mut name = method.to_owned();
    for word in path.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let (first, rest) = word.split_at(word.len().min(1));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    if path.ends_with('/') {
        name.push_str("Directory");
    }
    name
}

fn tag(path: &str) -> &'static str {
    let mut words = path.split('/').skip(1);
    match (words.next(), words.next()) {
        (Some("ipfs"), _) => "files",
        (Some("relay"), _) => "actions",
        (Some("authentication"), _) => "vault",
        (Some("v1"), Some("control")) => "owner",
        (Some("v1"), Some("users")) => "users",
        (Some("v1"), Some("tracks" | "digital_contents")) => "digital contents",
        (Some("v1"), Some("playlists" | "content_lists")) => "content lists",
        (Some("v1"), Some("search")) => "search",
        _ => "peer",
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        200 => "The answer",
        202 => "It was accepted and goes on",
        206 => "The wanted part",
        301 => "It is a directory: its path ends in `/`",
        302 => "Where the file is",
        304 => "What the client has is the same",
        307 => "A peer that has it",
        400 => "The request cannot be understood, or a signature does not fit",
        401 => "The owner's token is missing or wrong",
        403 => "It is not for this client",
        404 => "There is no such thing, or the peer lacks the role that serves it",
        406 => "Not in this format",
        408 => "The body did not come in time",
        409 => "It contradicts what is there",
        412 => "It is not here, and the client wants nothing else",
        413 => "The body is longer than this route takes",
        415 => "The body is of another media type than this route takes",
        416 => "The file has no such part",
        422 => "It can be read but not carried out",
        429 => "Too often",
        503 => "Not at the moment",
        504 => "Nobody who answers has it",
        507 => "There is no room",
        _ => "The peer failed; its log says why",
    }
}
