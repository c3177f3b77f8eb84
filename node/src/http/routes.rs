//! The one table of routes: the server and its OpenAPI document are made of it.

use axum::routing;
use client::api::{
    ActionBody, ChainAccess, Data, Health, Imported, NodeInfo, PeerRow, Publication,
    PublishAccepted, PublishBody, RelayAnswer, Relayed, Root, RootRow, SignedVaultFields, Stopping,
    VaultAccepted, VaultFields, WellKnown,
};

use super::parameters::{self as parameter, Parameter};
use super::route::{Body, Route, data, elsewhere, json, owner, public};
use super::{control, gateway, openapi, reads, status};

/// Every route but the second vocabulary's; those of questions to the index stand
/// beside their answers.
pub(super) fn table() -> Vec<Route> {
    let mut routes = peer_routes();
    routes.extend(file_routes());
    routes.extend(action_routes());
    routes.extend(reads::routes());
    routes.extend(owner_routes());
    routes
}

#[rustfmt::skip]
fn peer_routes() -> Vec<Route> {
    use routing::get;
    vec![
        public("/health", "How the peer is doing; 503 while it is not ready", json::<Health>(), get(status::health))
            .answers(503, json::<Health>()),
        public("/metrics", "Numbers for Prometheus", Body::Text(crate::metrics::CONTENT_TYPE), get(status::metrics)),
        public("/.well-known/coliving", "The signed Endpoint record", json::<WellKnown>(), get(status::well_known)),
        public("/v1/node", "Who the peer is, and what a client needs in order to sign", json::<NodeInfo>(), get(status::node)),
        public("/v1/openapi.json", "This document", Body::OpenApi, get(openapi::answer)),
    ]
}

#[rustfmt::skip]
fn file_routes() -> Vec<Route> {
    use routing::get;
    let file = |path, summary, handler| public(path, summary, Body::Bytes, handler)
        .parameters(FILE)
        .answers(206, Body::Bytes)
        .answers(301, Body::Nothing)
        .answers(304, Body::Nothing)
        .answers(307, Body::Nothing)
        .errors(&[400, 404, 406, 412, 416, 422, 504, 507]);
    vec![
        file("/ipfs/{cid}", "A file or directory", get(gateway::root)),
        file("/ipfs/{cid}/", "A directory", get(gateway::root)),
        file("/ipfs/{cid}/{*path}", "A file or directory below a root", get(gateway::below)),
    ]
}

#[rustfmt::skip]
fn action_routes() -> Vec<Route> {
    const VAULT: &[Parameter] = &[parameter::LOOKUP_KEY, parameter::ALL];
    const SIGNED: &[Parameter] = &[
        parameter::VAULT_WALLET,
        parameter::VAULT_VERSION,
        parameter::VAULT_REPLACES,
        parameter::VAULT_SIGNATURE,
    ];
    vec![
        elsewhere("post", "/relay", "Hands a signed action to the relayer", json::<RelayAnswer>())
            .body(json::<ActionBody>())
            .errors(&[400, 403, 404, 413, 422, 429, 503]),
        elsewhere("get", "/relay/{digest}", "What became of an action", json::<Relayed>())
            .errors(&[400, 404, 503]),
        elsewhere("post", "/authentication", "Keeps a vault record", json::<VaultAccepted>())
            .parameters(SIGNED)
            .body(json::<VaultFields>())
            .errors(&[400, 404, 409, 413, 429, 503]),
        elsewhere("get", "/authentication", "Reads a vault record, or every wallet's", Body::Either(
            |generator| generator.subschema_for::<VaultFields>(),
            |generator| generator.subschema_for::<Data<Vec<SignedVaultFields>>>(),
        ))
            .parameters(VAULT)
            .errors(&[400, 404, 429, 503]),
    ]
}

#[rustfmt::skip]
fn owner_routes() -> Vec<Route> {
    use routing::{get, post};
    const IMPORT: &[Parameter] = &[parameter::NAME, parameter::SIZE];
    const ROOTS: &[Parameter] = &[parameter::ROOTS_LIMIT, parameter::OFFSET];
    vec![
        owner("post", "/v1/control/import", "Stores a file as blocks", json::<Imported>(), Some(post(control::import)))
            .parameters(IMPORT)
            .body(Body::Bytes)
            .errors(&[400, 503, 507]),
        owner("post", "/v1/control/publish", "Publishes imported roots by a signed action", json::<PublishAccepted>(), Some(post(control::publish)))
            .body(json::<PublishBody>())
            .instead(202)
            .errors(&[400, 409, 413, 503]),
        owner("get", "/v1/control/publish/{digest}", "How far a publication is", json::<Publication>(), Some(get(control::publication)))
            .errors(&[400, 404, 503]),
        owner("post", "/v1/control/relay", "Sends an action to the relayers in rank order", json::<RelayAnswer>(), None)
            .body(json::<ActionBody>())
            .errors(&[400, 404, 413, 422, 429, 503]),
        owner("get", "/v1/control/relay/{digest}", "What became of an action", json::<Relayed>(), None)
            .errors(&[400, 404, 503]),
        owner("get", "/v1/control/chain", "How the chain is reached", json::<ChainAccess>(), Some(get(control::chain))),
        owner("get", "/v1/control/peers", "Connected peers", data::<Vec<PeerRow>>(), Some(get(control::peers))),
        owner("get", "/v1/control/roots", "What this peer holds, and why", data::<Vec<RootRow>>(), Some(get(control::roots)))
            .parameters(ROOTS)
            .errors(&[400]),
        owner("get", "/v1/control/root/{cid}", "Who is placed for a root and who holds a lease", data::<Root>(), Some(get(control::root)))
            .errors(&[400]),
        owner("post", "/v1/control/stop", "Stops the peer in order", json::<Stopping>(), Some(post(control::stop)))
            .instead(202),
    ]
}

const FILE: &[Parameter] = &[
    parameter::FILE_NAME,
    parameter::CONTENT,
    parameter::LINK,
    parameter::DOWNLOAD,
    parameter::FORMAT,
    parameter::RANGE,
    parameter::IF_NONE_MATCH,
];
