//! `/v1/control/…`: what the peer's owner may ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use bytesize::ByteSize;
use cid::Cid;
use client::api::{
    ChainAccess, Data, HoldReason, Imported, LeaseRow, PeerRow, Publication, PublishAccepted,
    PublishBody, Root, RootRow, Stopping,
};
use futures::{StreamExt, TryStreamExt};
use protocol::author::{PublishError, PublishRoot};
use protocol::exchange::Surveyed;
use protocol::id::{Address, Hash32, Role};
use protocol::placement::{Placement, REPLICAS_TARGET};
use protocol::records::{Lease, SignedLease, told_by};
use protocol::unixfs::{Node, NodeKind};
use serde::Deserialize;
use storage::blocks::{Holding, RootInfo};
use storage::files;
use storage::tables::{LEASES, LEASES_BY_HOLDER};

use super::App;
use super::error::ApiError;
use super::extract::{Path, Query};
use super::reads::{self, Pairs};
use super::relay;
use crate::author::{AuthorHandle, ImportError, check_signer};
use crate::context::Context;
use crate::store::StoreError;
use crate::survey::ask_holders;

/// The query of `POST /v1/control/import`.
#[derive(Debug, Deserialize)]
pub(super) struct ImportQuery {
    /// How many bytes are to come, when that is known.
    size: Option<u64>,
}

/// `POST /v1/control/import`
pub(super) async fn import(
    State(app): State<Arc<App>>,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<Json<Imported>, ApiError> {
    if let Some(size) = query.size {
        require_room(&app.context, size)?;
    }
    let bytes = body.into_data_stream().map_err(io::Error::other);
    let imported = publisher(&app)?.import(bytes).await;
    imported.map(Json).map_err(import_error)
}

/// Says before a byte is read that a file does not fit.
fn require_room(context: &Context, size: u64) -> Result<(), ApiError> {
    let reserve = context.config.storage.reserve.as_u64();
    let stats = context.store.stats();
    let disk = context.store.disk_free()?.saturating_sub(reserve);
    let free = (disk + stats.dead_bytes).min(stats.store_bytes_max);
    if size <= free {
        return Ok(());
    }
    let shown = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    Err(ApiError::full(format!(
        "the file has {}, but only {} are free here",
        shown(size),
        shown(free)
    )))
}

/// `POST /v1/control/publish`
pub(super) async fn publish(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<PublishAccepted>), ApiError> {
    let body: PublishBody = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("body", format!("the publication cannot be read: {error}"))
            .with_hint("the body is `{\"action\": {…}, \"roots\": [{cid, proof_root, dag_size}]}`")
    })?;
    let domain = app.context.contracts.action_domain();
    let (action, _) = relay::verified(body.action, &domain)?;
    check_signer(&app.context, &action)?;
    let roots = body.roots.into_iter().map(|root| {
        Ok(PublishRoot {
            cid: read_cid(&root.cid)?,
            proof_root: root.proof_root,
            dag_size: root.dag_size,
        })
    });
    let roots = roots.collect::<Result<Vec<_>, ApiError>>()?;
    let id = publisher(&app)?.publish(action, roots).await;
    let id = id.map_err(publish_error)?;
    Ok((StatusCode::ACCEPTED, Json(PublishAccepted { id })))
}

/// `GET /v1/control/publish/{id}`
pub(super) async fn publication(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Publication>, ApiError> {
    let id: Hash32 = id
        .parse()
        .map_err(|error| ApiError::bad_request("bad_id", format!("{error}")))?;
    let status = publisher(&app)?.published(id).await;
    let unknown = || ApiError::not_found(format!("no publication {id} was started here"));
    Ok(Json(status.ok_or_else(unknown)?.into()))
}

/// `GET /v1/control/chain`
pub(super) async fn chain(State(app): State<Arc<App>>) -> Json<ChainAccess> {
    let context = &app.context;
    Json(ChainAccess {
        chain_id: context.contracts.chain_id,
        rpc: context.config.chain.rpc.clone(),
        confirmations: context.config.chain.confirmations,
        contracts: context.contracts,
    })
}

/// `GET /v1/control/peers`
pub(super) async fn peers(State(app): State<Arc<App>>) -> Json<Data<Vec<PeerRow>>> {
    let registry = app.context.chain.registry().borrow().clone();
    let infos = app.context.net.peers_info().await;
    let content = app.content.as_ref();
    let heard = content.map(|content| content.status().borrow().heard.clone());
    let heard = heard.unwrap_or_default();
    let rows = infos.into_iter().map(|info| {
        let staked = registry.peer(&info.address);
        let roles = staked.iter().flat_map(|peer| peer.roles.keys().copied());
        PeerRow {
            peer: info.address,
            peer_id: info.peer_id.to_string(),
            roles: roles.collect(),
            operator: staked.as_ref().map(|peer| peer.operator),
            agent: info.agent,
            address: info.endpoint.to_string(),
            transport: info.transport.to_owned(),
            rtt_ms: info.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            connected: info.connections > 0,
            received_bytes: info.received_bytes,
            sent_bytes: info.sent_bytes,
            heard: told_by(&heard, info.address).cloned().collect(),
        }
    });
    let data = rows.collect();
    Json(Data { data })
}

/// `GET /v1/control/roots`
pub(super) async fn roots(
    State(app): State<Arc<App>>,
    Query(pairs): Pairs,
) -> Result<Json<Data<Vec<RootRow>>>, ApiError> {
    let wanted = reads::window_of(&pairs, ROOTS_MAX, ROOTS_MAX)?;
    let infos = app.context.store.roots(None).await?;
    let infos: Vec<RootInfo> = infos
        .into_iter()
        .skip(wanted.offset)
        .take(wanted.limit)
        .collect();
    let surveys = survey_roots(&app.context, &infos).await;
    let rows = on_a_thread(move || {
        let view = Replicas::new(&app);
        let rows = infos.iter().map(|info| {
            let (row, _) = view.row(info)?;
            let survey = surveys.get(&info.root);
            Ok(match survey {
                Some(survey) => with_leases(row, &survey.leases),
                None => row,
            })
        });
        rows.collect::<Result<Vec<RootRow>, ApiError>>()
    });
    Ok(Json(Data { data: rows.await? }))
}

/// `GET /v1/control/root/{cid}`
pub(super) async fn root(
    State(app): State<Arc<App>>,
    Path(cid): Path<String>,
) -> Result<Json<Data<Root>>, ApiError> {
    let cid = read_cid(&cid)?;
    let info = app.context.store.root(cid).await?;
    // Placement and leases of what is not held here are known all the same.
    let info = info.unwrap_or(RootInfo {
        root: cid,
        holdings: Default::default(),
        blocks: 0,
        used: Default::default(),
    });
    let context = app.context.clone();
    let Surveyed { mut leases, silent } = ask_holders(&context, cid).await;
    let own: Result<Option<SignedLease>, StoreError> =
        context.store.read(|tables| Ok(tables.get(LEASES, &cid)?));
    leases.extend(own?);
    let root = on_a_thread(move || {
        let view = Replicas::new(&app);
        let (row, _) = view.row(&info)?;
        // Operators without a live peer cannot hold anything; who did not answer is
        // named, because what it holds is not known.
        let target = view.placement.effective_target(REPLICAS_TARGET, &silent);
        let row = RootRow {
            target,
            ..with_leases(row, &leases)
        };
        Ok(Root {
            missing: target.saturating_sub(leases.len()),
            row,
            lease_list: leases.iter().map(lease_row).collect(),
            silent: silent.into_iter().collect(),
            blocks: info.blocks,
        })
    });
    Ok(Json(Data { data: root.await? }))
}

/// `POST /v1/control/stop`
pub(super) async fn stop(State(app): State<Arc<App>>) -> (StatusCode, Json<Stopping>) {
    tracing::info!("the owner stops the peer");
    app.context.stop.cancel();
    (StatusCode::ACCEPTED, Json(Stopping { stopping: true }))
}

/// Who should hold roots and who does, as of one moment.
struct Replicas<'a> {
    app: &'a App,
    placement: Placement,
    staked: Vec<Address>,
}

impl<'a> Replicas<'a> {
    fn new(app: &'a App) -> Self {
        let registry = app.context.chain.snapshot().borrow().clone();
        let placement = Placement::new(&registry);
        Self {
            app,
            staked: placement.peers(Role::Content).collect(),
            placement,
        }
    }

    fn target(&self) -> usize {
        self.placement
            .effective_target(REPLICAS_TARGET, &BTreeSet::new())
    }

    /// A root as a row, and its leases.
    fn row(&self, info: &RootInfo) -> Result<(RootRow, Vec<Lease>), ApiError> {
        let leases = self.leases(&info.root)?;
        let placed = self
            .placement
            .place(&info.root, REPLICAS_TARGET, &BTreeSet::new());
        let row = RootRow {
            cid: info.root.to_string(),
            size: self.size(&info.root)?,
            reasons: info.holdings.keys().copied().map(reason).collect(),
            leases: leases.len(),
            placed,
            holders: leases.iter().map(|lease| lease.holder).collect(),
            target: self.target(),
        };
        Ok((row, leases))
    }

    /// Leases that bind in this epoch, the own one first.
    fn leases(&self, root: &Cid) -> Result<Vec<Lease>, ApiError> {
        let context = &self.app.context;
        let epoch = context.clock.now().epoch();
        let found: Result<Vec<Lease>, StoreError> = context.store.read(|tables| {
            let mut found: Vec<Lease> = tables
                .get(LEASES, root)?
                .map(|lease| lease.record)
                .into_iter()
                .collect();
            for peer in self.staked.iter().filter(|peer| **peer != context.peer) {
                found.extend(tables.get(LEASES_BY_HOLDER, &(*peer, *root))?);
            }
            Ok(found)
        });
        let mut found = found?;
        found.retain(|lease| lease.to_epoch >= epoch);
        Ok(found)
    }

    /// Bytes of the file, or of what a directory says is below it.
    fn size(&self, root: &Cid) -> Result<Option<u64>, ApiError> {
        let data = self.app.context.store.read_block(root);
        let data = data.map_err(|error| ApiError::internal(&error))?;
        let node = data.and_then(|data| Node::decode(root, &data).ok());
        Ok(node.map(|node| match node.kind {
            NodeKind::Directory | NodeKind::Shard => node
                .links
                .iter()
                .fold(0, |sum: u64, link| sum.saturating_add(link.dag_bytes)),
            _ => node.file_size,
        }))
    }
}

/// A row with the leases that the holders named themselves.
fn with_leases(row: RootRow, leases: &[SignedLease]) -> RootRow {
    RootRow {
        leases: leases.len(),
        holders: leases.iter().map(|lease| lease.record.holder).collect(),
        ..row
    }
}

fn lease_row(lease: &SignedLease) -> LeaseRow {
    let lease = &lease.record;
    LeaseRow {
        holder: lease.holder,
        serial: lease.serial,
        from_epoch: lease.from_epoch.0,
        to_epoch: lease.to_epoch.0,
    }
}

const fn reason(holding: Holding) -> HoldReason {
    match holding {
        Holding::Lease => HoldReason::Lease,
        Holding::Pin => HoldReason::Pin,
        Holding::Upload => HoldReason::Upload,
        Holding::Cache => HoldReason::Cache,
        Holding::Derived => HoldReason::Derived,
    }
}

/// A peer without the content role keeps nobody's leases: it asks for those of
/// the first [`SURVEYED_MAX`] roots.
async fn survey_roots(context: &Context, infos: &[RootInfo]) -> BTreeMap<Cid, Surveyed> {
    if context.config.roles.contains(&Role::Content) {
        return BTreeMap::new();
    }
    let roots: Vec<Cid> = infos.iter().map(|info| info.root).collect();
    futures::stream::iter(roots.into_iter().take(SURVEYED_MAX))
        .map(|root| async move { (root, ask_holders(context, root).await) })
        .buffer_unordered(SURVEYS_MAX)
        .collect()
        .await
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let task = tokio::task::spawn_blocking(work);
    task.await.map_err(|error| ApiError::internal(&error))?
}

fn publisher(app: &App) -> Result<&AuthorHandle, ApiError> {
    let absent = || ApiError::unavailable("starting", "this peer does not publish");
    app.author.as_ref().ok_or_else(absent)
}

fn read_cid(text: &str) -> Result<Cid, ApiError> {
    text.parse().map_err(|error| {
        let shown: String = text.chars().take(CID_CHARS_MAX).collect();
        ApiError::bad_request("bad_cid", format!("`{shown}` is not a CID: {error}"))
    })
}

fn import_error(error: ImportError) -> ApiError {
    match error {
        ImportError::File(files::ImportError::Store(error)) => error.into(),
        ImportError::File(error) => ApiError::bad_request("import", error.to_string()),
        ImportError::Empty => ApiError::bad_request("empty", error.to_string()),
        ImportError::Proof(error) => ApiError::internal(&error),
        ImportError::Store(error) => error.into(),
        ImportError::Stopped => ApiError::unavailable("stopping", error.to_string()),
    }
}

fn publish_error(error: PublishError) -> ApiError {
    let message = error.to_string();
    match error {
        PublishError::Action(_) => ApiError::bad_request("action", message),
        PublishError::Roots { .. } => ApiError::bad_request("roots", message),
        PublishError::Empty { .. } => ApiError::bad_request("empty", message),
        PublishError::Busy { .. } => ApiError::unavailable("busy", message).with_retry_after(60),
        PublishError::NotHere { .. } => ApiError::new(StatusCode::CONFLICT, "not_here", message),
        PublishError::NoPeers => ApiError::unavailable("no_peers", message),
        PublishError::Store(error) => ApiError::internal(&error),
        PublishError::Stopped => ApiError::unavailable("stopping", message),
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::full(error.to_string());
        }
        Self::internal(&error)
    }
}

/// Roots of one answer. Chosen: some 300 KB.
const ROOTS_MAX: usize = 1000;

/// Roots whose holders are asked for in one answer. Derived: eight at a time, 3 s each:
/// 24 s, which fits the patience of clients.
const SURVEYED_MAX: usize = 64;

/// Roots whose holders are asked for at a time. Chosen: up to fifteen requests each.
const SURVEYS_MAX: usize = 8;

/// Characters of a bad CID that an error repeats: a good one fits.
const CID_CHARS_MAX: usize = 100;
