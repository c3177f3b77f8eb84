//! What a route is: its path, its answers and for whom it is.

use std::sync::Arc;

use axum::routing::MethodRouter;
use client::api::Data;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::App;
use super::parameters::{self as parameter, Parameter};

/// One route of the server.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Of the query, and of headers that mean something here.
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    /// What it answers with when it works, by status.
    pub(super) answers: Vec<(u16, Body)>,
    /// The statuses of errors that are not every route's.
    pub(super) errors: &'static [u16],
    pub(super) access: Access,
    /// `None` for routes that other parts of the peer bring along.
    pub(super) handler: Option<MethodRouter<Arc<App>>>,
}

/// For whom a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// For everybody, without freshness headers.
    Public,
    /// For everybody; a question to the index.
    Read,
    /// For the token's holder.
    Owner,
}

/// A body of a request or of an answer.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// JSON of one type.
    Json(Shape),
    /// JSON of one of two types.
    Either(Shape, Shape),
    /// An OpenAPI document.
    OpenApi,
    /// Text of a media type.
    Text(&'static str),
    /// Bytes whose media type depends on them.
    Bytes,
    /// Nothing; the headers say it.
    Nothing,
}

/// Makes the schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

pub(super) const fn json<T: JsonSchema>() -> Body {
    Body::Json(|generator| generator.subschema_for::<T>())
}

pub(super) const fn data<T: JsonSchema>() -> Body {
    json::<Data<T>>()
}

/// Of a listing.
pub(super) const PAGE: &[Parameter] = &[parameter::LIMIT, parameter::OFFSET];

/// A route for everybody.
pub(super) fn public(
    path: &'static str,
    summary: &'static str,
    answer: Body,
    handler: MethodRouter<Arc<App>>,
) -> Route {
    Route {
        handler: Some(handler),
        ..elsewhere("get", path, summary, answer)
    }
}

/// A public route that another part of the peer serves.
pub(super) fn elsewhere(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: Body,
) -> Route {
    Route {
        method,
        path,
        summary,
        parameters: &[],
        body: None,
        answers: vec![(200, answer)],
        errors: &[],
        access: Access::Public,
        handler: None,
    }
}

/// A question to the index.
pub(super) fn read(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answer: Body,
    handler: MethodRouter<Arc<App>>,
) -> Route {
    let errors: &[u16] = match path.contains('{') {
        true => &[400, 404],
        false => &[400],
    };
    Route {
        parameters,
        errors,
        access: Access::Read,
        ..public(path, summary, answer, handler)
    }
}

/// A route for the token's holder.
pub(super) fn owner(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: Body,
    handler: Option<MethodRouter<Arc<App>>>,
) -> Route {
    Route {
        access: Access::Owner,
        handler,
        ..elsewhere(method, path, summary, answer)
    }
}

impl Route {
    pub(super) fn parameters(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    pub(super) fn body(self, body: Body) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    /// One more status that is no error.
    pub(super) fn answers(mut self, status: u16, body: Body) -> Self {
        self.answers.push((status, body));
        self
    }

    /// Another status than 200.
    pub(super) fn instead(mut self, status: u16) -> Self {
        for answer in &mut self.answers {
            answer.0 = status;
        }
        self
    }

    pub(super) fn errors(self, errors: &'static [u16]) -> Self {
        Self { errors, ..self }
    }

    /// Every path of the route: its own, and those of the second vocabulary.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = vec![self.path.to_owned()];
        paths.extend(aliases(self.path));
        paths
    }
}

/// The path in the second vocabulary, word by word: every mix of the two.
pub(super) fn aliases(path: &str) -> Vec<String> {
    if !path.starts_with("/v1/") {
        return Vec::new();
    }
    let mut names = vec![path.to_owned()];
    for (word, alias) in [
        ("tracks", "digital_contents"),
        ("playlists", "content_lists"),
    ] {
        let renamed: Vec<String> = names
            .iter()
            .map(|name| rename(name, word, alias))
            .filter(|renamed| !names.contains(renamed))
            .collect();
        names.extend(renamed);
    }
    names.split_off(1)
}

fn rename(path: &str, word: &str, alias: &str) -> String {
    let words: Vec<&str> = path
        .split('/')
        .map(|found| if found == word { alias } else { found })
        .collect();
    words.join("/")
}
