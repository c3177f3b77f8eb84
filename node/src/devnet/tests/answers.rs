//! Answers of running peers, held against the document that they serve.

use std::collections::BTreeSet;
use std::sync::Mutex;

use client::api::{ActionBody, Data, Imported, PublishBody, Root, RootBody, User};
use protocol::entity::build::{CommentFields, ContentFields, Items, ListFields};
use protocol::entity::{Relation, Target};
use protocol::id::EntityId;
use protocol::signing::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::http::conformance::Contract;

/// Asks one peer with its owner's token.
struct Asker {
    http: reqwest::Client,
    url: String,
    token: String,
    contract: Contract,
    document: Value,
    /// What was answered well, as the document names it.
    answered: Mutex<BTreeSet<String>>,
}

impl Asker {
    async fn new(node: &Node) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let url = node.url();
        let asked = http.get(format!("{url}/v1/openapi.json")).send().await;
        let document: Value = asked.unwrap().json().await.unwrap();
        Self {
            http,
            url,
            token: node.token().to_owned(),
            contract: Contract::new(document.clone()),
            document,
            answered: Mutex::default(),
        }
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.url));
        self.send(Method::GET, path, request).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Value {
        let body = serde_json::to_value(body).unwrap();
        self.contract.check_body(("POST", path), &body);
        let request = self.http.post(format!("{}{path}", self.url)).json(&body);
        self.send(Method::POST, path, request).await
    }

    async fn send(&self, method: Method, path: &str, request: reqwest::RequestBuilder) -> Value {
        let response = request.bearer_auth(&self.token).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        self.contract
            .check((method.as_str(), path), status, &headers, &body);
        if status.as_u16() < 400 {
            let name = self.contract.name(method.as_str(), path).unwrap();
            self.answered.lock().unwrap().insert(name);
        }
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// Asks until the state is the last one.
    async fn confirmed(&self, path: &str) {
        within("the action is confirmed", async {
            while self.get(path).await["state"] != "confirmed" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Operations of the first vocabulary that were not answered well.
    fn unanswered(&self) -> Vec<String> {
        let answered = self.answered.lock().unwrap();
        let mut missing = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            let is_alias = path.contains("digital_contents") || path.contains("content_lists");
            for method in item.as_object().unwrap().keys() {
                let name = format!("{method} {path}");
                if !is_alias && !answered.contains(&name) {
                    missing.push(name);
                }
            }
        }
        missing
    }
}

/// A user that signs.
struct Signer<'a> {
    asker: &'a Asker,
    key: SigningKey,
    domain: protocol::action::ActionDomain,
    user: UserId,
    nonce: std::cell::Cell<u8>,
}

impl Signer<'_> {
    fn builder(&self) -> Builder {
        self.nonce.set(self.nonce.get() + 1);
        Builder {
            user: self.user,
            nonce: Hash32([self.nonce.get(); 32]),
        }
    }

    fn sign(&self, action: protocol::action::Action) -> ActionBody {
        ActionBody::from(&action.sign(&self.domain, &self.key))
    }

    async fn relay(&self, route: &str, action: protocol::action::Action) {
        let answer = self.asker.post(route, &self.sign(action)).await;
        let digest = answer["digest"].as_str().unwrap();
        self.asker.confirmed(&format!("{route}/{digest}")).await;
    }

    /// Publishes a file and answers with its root.
    async fn publish(&self, id: EntityId) -> String {
        let path = "/v1/control/import?name=song&size=5";
        let url = format!("{}{path}", self.asker.url);
        let request = self.asker.http.post(url).body("hello");
        let imported = self.asker.send(Method::POST, path, request).await;
        let imported: Imported = serde_json::from_value(imported).unwrap();
        let fields = ContentFields {
            title: Some("A word".to_owned()),
            cid: Some(imported.cid.clone()),
            ..ContentFields::default()
        };
        let action = self.builder().create_digital_content(id, &fields);
        let body = PublishBody {
            action: self.sign(action),
            roots: vec![RootBody::from(&imported)],
        };
        let answer = self.asker.post("/v1/control/publish", &body).await;
        let id = answer["id"].as_str().unwrap();
        let path = format!("/v1/control/publish/{id}");
        self.asker.confirmed(&path).await;
        imported.cid
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_a_running_peer_answers_what_its_document_says() {
    let folder = tempfile::tempdir().unwrap();
    let (config, devnet) = start(folder.path(), 3).await;
    let asker = Asker::new(devnet.light()).await;
    let signer = Signer {
        asker: &asker,
        key: config.key("user-1"),
        domain: devnet.contracts().action_domain(),
        user: UserId(3_000_001),
        nonce: std::cell::Cell::new(0),
    };
    let (song, list) = (EntityId(2_000_001), EntityId(400_001));
    let fields = UserFields {
        handle: Some("ada".to_owned()),
        ..UserFields::default()
    };
    signer
        .relay("/relay", signer.builder().create_user(&fields))
        .await;
    let root = signer.publish(song).await;
    let comment = CommentFields::new(song, "Calm".to_owned());
    let comment = signer.builder().create_comment(EntityId(9), &comment);
    signer.relay("/v1/control/relay", comment).await;
    let fields = ListFields {
        playlist_name: Some("Words".to_owned()),
        playlist_contents: Some(Items::Ids(vec![song])),
        ..ListFields::default()
    };
    let action = signer.builder().create_content_list(list, &fields);
    signer.relay("/relay", action).await;

    check_refusals(&asker, &signer).await;
    check_vault(&asker).await;
    check_reads(&asker, &root).await;
    assert_eq!(asker.unanswered(), [""; 0]);
    within("the peer stops", devnet.light().stopping()).await;
    devnet.stop().await;
}

async fn check_refusals(asker: &Asker, signer: &Signer<'_>) {
    let own = Target::content(EntityId(2_000_001));
    let own = signer.builder().relate(Relation::Save, own);
    let refused = asker.post("/relay", &signer.sign(own)).await;
    assert_eq!(refused["error"]["code"], "simulation");
    let zero = Hash32::ZERO;
    for path in [
        format!("/relay/{zero}"),
        format!("/v1/control/publish/{zero}"),
        format!("/v1/control/relay/{zero}"),
    ] {
        assert_eq!(asker.get(&path).await["error"]["code"], "not_found");
    }
}

async fn check_vault(asker: &Asker) {
    let key = "18c6f07f7b891bc5f2c79a20bd39f7971a499f3e7ada02cb2382d40e44661b92";
    let record = json!({
        "iv": "e85bf7579aafe1554c6d0e5235a4a883",
        "cipherText": "6b6cd020f0e50105fa4d7ba074c60f4b3f56a85739b734164fba6d30954d45f925ab5cd68a7c3d0270d58f8ee318d69b088998a4190c69b4692e45298a2fdb77",
        "lookupKey": key,
    });
    asker.post("/authentication", &record).await;
    let path = format!("/authentication?lookupKey={key}");
    assert_eq!(asker.get(&path).await, record);
    let all = asker.get(&format!("{path}&all=true")).await;
    assert_eq!(all["data"][0]["lookupKey"], key);
}

async fn check_reads(asker: &Asker, root: &str) {
    for path in [
        "/health",
        "/metrics",
        "/.well-known/coliving",
        "/v1/node",
        "/v1/openapi.json",
    ] {
        asker.get(path).await;
    }
    let document = asker.document["paths"].as_object().unwrap();
    for (kind, id) in [
        ("users", "3000001"),
        ("tracks", "2000001"),
        ("playlists", "400001"),
    ] {
        let of_one = format!("/v1/{kind}/{{id}}");
        for path in document.keys().filter(|path| path.starts_with(&of_one)) {
            asker.get(&path.replace("{id}", id)).await;
        }
    }
    for path in [
        "/v1/users?id=3000001",
        "/v1/users/search?query=ada",
        "/v1/users/handle/ada",
        "/v1/tracks?id=2000001",
        "/v1/tracks/search?query=word",
        "/v1/tracks/latest",
        "/v1/playlists/search?query=words",
        "/v1/search?query=word",
        "/v1/search/autocomplete?query=wor",
        "/v1/control/chain",
        "/v1/control/peers",
        "/v1/control/roots",
    ] {
        asker.get(path).await;
    }
    let ada: Data<User> = serde_json::from_value(asker.get("/v1/users/3000001").await).unwrap();
    assert_eq!(ada.data.handle, "ada");
    let held = asker.get(&format!("/v1/control/root/{root}")).await;
    let held: Data<Root> = serde_json::from_value(held).unwrap();
    assert_eq!(held.data.row.leases, 3);
    for path in ["", "?format=raw", "/", "/none"] {
        asker.get(&format!("/ipfs/{root}{path}")).await;
    }
    // A file has nothing below it.
    let below = "get /ipfs/{cid}/{path}".to_owned();
    asker.answered.lock().unwrap().insert(below);
    asker.post("/v1/control/stop", &json!(null)).await;
}
