//! Holds answers against the OpenAPI document.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// An OpenAPI document that answers are held against.
#[derive(Debug, Clone)]
pub(crate) struct Contract {
    document: Value,
}

impl Contract {
    /// Takes a document whose schemas are schemas.
    pub(crate) fn new(document: Value) -> Self {
        let contract = Self { document };
        let schemas = contract.document["components"]["schemas"].as_object();
        for name in schemas.unwrap().keys() {
            let target = format!("#/components/schemas/{name}");
            contract.validator(&json!({ "$ref": target }));
        }
        contract
    }

    /// Fails when an answer is not what the document says of its route.
    ///
    /// What no route answers is not in the document.
    #[track_caller]
    pub(crate) fn check(
        &self,
        (method, path): (&str, &str),
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) {
        let Some((_, operation)) = self.operation(method, path) else {
            return;
        };
        let responses = &operation["responses"];
        let response = &responses[status.as_str()];
        let told = String::from_utf8_lossy(&body[..body.len().min(1000)]);
        assert!(response.is_object(), "{method} {path}: {status} {told}");
        let Some(content) = response["content"].as_object() else {
            assert!(body.is_empty(), "{method} {path}: {status} {told}");
            return;
        };
        let (media, wanted) = content.iter().next().unwrap();
        if media != "application/json" || method == "HEAD" {
            return;
        }
        let given = headers.get(CONTENT_TYPE).unwrap().to_str().unwrap();
        assert_eq!(given, media, "{method} {path}: {status}");
        let answer: Value = serde_json::from_slice(body).unwrap();
        if let Err(error) = self.validator(&wanted["schema"]).validate(&answer) {
            let place = error.instance_path();
            panic!("{method} {path}: {status}: {error} at {place}: {told}");
        }
    }

    /// Fails when a body that a route took is not what the document asks for.
    #[track_caller]
    pub(crate) fn check_body(&self, (method, path): (&str, &str), body: &Value) {
        let (_, operation) = self.operation(method, path).unwrap();
        if operation["requestBody"].is_null() {
            return;
        }
        let wanted = &operation["requestBody"]["content"]["application/json"]["schema"];
        if let Err(error) = self.validator(wanted).validate(body) {
            panic!("{method} {path}: {error}: {body}");
        }
    }

    /// The operation of a request, such as `get /v1/users/{id}`.
    pub(crate) fn name(&self, method: &str, path: &str) -> Option<String> {
        let (template, _) = self.operation(method, path)?;
        Some(format!("{} {template}", method.to_lowercase()))
    }

    fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let method = match method {
            "HEAD" => "get".to_owned(),
            method => method.to_lowercase(),
        };
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object().unwrap();
        let found = paths.iter().filter(|(template, _)| fits(template, path));
        // A name beats a parameter.
        let found = found.min_by_key(|(template, _)| template.matches('{').count());
        found.and_then(|(template, item)| Some((template.as_str(), item.get(&method)?)))
    }

    #[track_caller]
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": self.document["components"],
            "allOf": [schema],
        });
        jsonschema::validator_for(&schema).unwrap()
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut words, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (words.next(), given.next()) {
            (None, None) => return true,
            (Some("{path}"), Some(_)) => return true,
            (Some(word), Some(found)) if word == found => {}
            (Some(word), Some(found)) if word.starts_with('{') && !found.is_empty() => {}
            _ => return false,
        }
    }
}
