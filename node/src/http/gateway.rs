//! `/ipfs/{cid}[/path]`: files and directories by CID, streamed block by block.
//!
//! A path gateway in the sense of the IPFS HTTP gateway specifications, with the
//! trustless `raw` format. Memory per request is a few blocks, whatever the
//! file's size; every block was checked against its CID when it came in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cid::Cid;
use client::link;
use protocol::entity::DigitalContent;
use protocol::hashid;
use protocol::id::EntityId;
use protocol::unixfs::{Node, NodeKind};
use serde::Deserialize;

use tokio::sync::mpsc;

use super::App;
use super::access::Caller;
use super::error::ApiError;
use super::extract::{Path, Query};

use crate::config::GatewayFetch;

mod listing;
mod media;
mod network;
mod range;
mod source;

pub use source::{Network, Unfetched};

use range::Wanted;
use source::{Pieces, ReadError, Source};

/// What a request may say besides its path.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Options {
    filename: Option<String>,
    download: Option<String>,
    format: Option<String>,
    content: Option<String>,
    link: Option<String>,
}

/// What a request is about, taken apart.
struct Asked {
    app: Arc<App>,
    root: Cid,
    path: String,
    uri: axum::http::Uri,
    method: Method,
    headers: HeaderMap,
    options: Options,
    caller: Caller,
    /// True for the token's holder, and for whom it made a link.
    is_own: bool,
}

/// `GET /ipfs/{cid}`
pub(super) async fn root(
    State(app): State<Arc<App>>,
    Path(cid): Path<String>,
    Query(options): Query<Options>,
    request: Request,
) -> Result<Response, ApiError> {
    Asked::new(app, &cid, String::new(), options, request)?
        .answer()
        .await
}

/// `GET /ipfs/{cid}/{path}`
pub(super) async fn below(
    State(app): State<Arc<App>>,
    Path((cid, path)): Path<(String, String)>,
    Query(options): Query<Options>,
    request: Request,
) -> Result<Response, ApiError> {
    Asked::new(app, &cid, path, options, request)?
        .answer()
        .await
}

enum Format {
    Bytes,
    Raw,
}

impl Asked {
    fn new(
        app: Arc<App>,
        cid: &str,
        path: String,
        options: Options,
        request: Request,
    ) -> Result<Self, ApiError> {
        let root: Cid = cid.parse().map_err(|error| {
            let shown: String = cid.chars().take(NAME_CHARS_MAX).collect();
            ApiError::bad_request("bad_cid", format!("`{shown}` is not a CID: {error}"))
        })?;
        let caller = Caller::of(request.extensions());
        let now = app.context.clock.now().unix();
        let mut links = options.link.iter();
        let is_own =
            caller.is_owner() || links.any(|link| link::is_valid(&app.token, &root, link, now));
        let (head, _) = request.into_parts();
        Ok(Self {
            app,
            root,
            path,
            uri: head.uri,
            method: head.method,
            headers: head.headers,
            options,
            caller,
            is_own,
        })
    }

    async fn answer(&self) -> Result<Response, ApiError> {
        let source = self.source();
        let result = match self.format()? {
            Format::Raw => self.raw(&source).await,
            Format::Bytes => self.file_or_directory(&source).await,
        };
        match result {
            Ok(response) => Ok(response),
            Err(error @ ReadError::Missing(_)) => self.elsewhere(error).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The wanted format; the query beats the header.
    fn format(&self) -> Result<Format, ApiError> {
        let accepted = self.header(header::ACCEPT).unwrap_or_default();
        let unsupported = |name: &str| {
            let message = format!("the gateway does not answer in the format `{name}`");
            ApiError::new(StatusCode::NOT_ACCEPTABLE, "format_unsupported", message)
                .with_hint("ask for the file itself, or for blocks with `format=raw`")
        };
        match self.options.format.as_deref() {
            Some("raw") => return Ok(Format::Raw),
            Some(name) => return Err(unsupported(name)),
            None => {}
        }
        let mut types = accepted
            .split(',')
            .filter_map(|part| part.split(';').next())
            .map(str::trim);
        match types.find(|media| media.starts_with("application/vnd.ipld.")) {
            Some(RAW) => Ok(Format::Raw),
            Some(name) => Err(unsupported(name)),
            None => Ok(Format::Bytes),
        }
    }

    fn source(&self) -> Source {
        let may_fetch = self.is_own
            && self.app.context.config.http.gateway_fetch == GatewayFetch::Own
            && !self.only_if_cached();
        Source {
            root: self.root,
            store: self.app.context.store.clone(),
            network: self.app.network.clone().filter(|_| may_fetch),
        }
    }

    fn only_if_cached(&self) -> bool {
        self.header(header::CACHE_CONTROL)
            .is_some_and(|value| value.contains("only-if-cached"))
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// One block as it is.
    async fn raw(&self, source: &Source) -> Result<Response, ReadError> {
        let cid = source.resolve(&self.path).await?;
        let tag = format!("\"{cid}.raw\"");
        if self.has_tag(&tag) {
            return Ok(self.dress(StatusCode::NOT_MODIFIED.into_response(), &tag, FOREVER));
        }
        let data = source.any_block(cid).await?;
        let mut response = self.dress(Body::from(data).into_response(), &tag, FOREVER);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(RAW));
        let name = self.options.filename.clone();
        let name = name.unwrap_or_else(|| format!("{cid}.bin"));
        headers.insert(header::CONTENT_DISPOSITION, disposition(true, &name));
        Ok(response)
    }

    async fn file_or_directory(&self, source: &Source) -> Result<Response, ReadError> {
        let cid = source.resolve(&self.path).await?;
        let tag = format!("\"{cid}\"");
        if self.has_tag(&tag) {
            return Ok(self.dress(StatusCode::NOT_MODIFIED.into_response(), &tag, FOREVER));
        }
        let data = source.any_block(cid).await?;
        let node = Node::decode(&cid, &data).map_err(|error| ReadError::Dag(error.into()))?;
        match node.kind {
            NodeKind::Directory | NodeKind::Shard => self.directory(source, cid).await,
            _ => self.file(source, cid, node.file_size, &self.path).await,
        }
    }

    /// A directory's `index.html`, or a page that lists it.
    async fn directory(&self, source: &Source, cid: Cid) -> Result<Response, ReadError> {
        if !self.uri.path().ends_with('/') {
            let query = self.uri.query().map(|query| format!("?{query}"));
            let target = format!("{}/{}", self.uri.path(), query.unwrap_or_default());
            let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
            if let Ok(target) = HeaderValue::from_str(&target) {
                response.headers_mut().insert(header::LOCATION, target);
            }
            return Ok(response);
        }
        let below = Source {
            root: cid,
            ..source.clone()
        };
        match below.resolve("index.html").await {
            Ok(index) => {
                let data = source.any_block(index).await?;
                let node =
                    Node::decode(&index, &data).map_err(|error| ReadError::Dag(error.into()))?;
                return self.file(source, index, node.file_size, "index.html").await;
            }
            Err(ReadError::Dag(protocol::unixfs::DagError::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
        let tag = format!("\"{cid}.list-1\"");
        if self.has_tag(&tag) {
            return Ok(self.dress(StatusCode::NOT_MODIFIED.into_response(), &tag, A_WEEK));
        }
        let (entries, has_more) = source.list(cid, listing::ENTRIES_MAX).await?;
        let page = listing::page(self.uri.path(), &entries, has_more);
        let mut response = self.dress(Body::from(page).into_response(), &tag, A_WEEK);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(header::CONTENT_SECURITY_POLICY, INERT);
        Ok(response)
    }

    async fn file(
        &self,
        source: &Source,
        cid: Cid,
        size: u64,
        path: &str,
    ) -> Result<Response, ReadError> {
        let tag = format!("\"{cid}\"");
        if self.has_tag(&tag) {
            return Ok(self.dress(StatusCode::NOT_MODIFIED.into_response(), &tag, FOREVER));
        }
        let wanted = self.wanted(&tag, size);
        let (status, part) = match wanted {
            Wanted::Whole => (StatusCode::OK, 0..size),
            Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Wanted::Unsatisfiable => {
                let error = ApiError::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "bad_range",
                    format!("the file has {size} bytes, none of them in the range"),
                );
                let mut response = error.into_response();
                set(
                    &mut response,
                    header::CONTENT_RANGE,
                    &format!("bytes */{size}"),
                );
                return Ok(response);
            }
        };
        // The first piece is read before the status goes out, so that a file
        // that is not here is a 404 and not a broken body.
        let mut pieces = source.read(cid, part.clone());
        let first = pieces.next().await?;
        let media = self.media(source, cid, path, &part, first.as_ref()).await?;
        let body = match (self.method == Method::HEAD, first) {
            (false, Some(first)) => stream(first, pieces),
            _ => Body::empty(),
        };
        let mut response = self.dress(body.into_response(), &tag, FOREVER);
        *response.status_mut() = status;
        set(
            &mut response,
            header::CONTENT_LENGTH,
            &(part.end - part.start).to_string(),
        );
        if status == StatusCode::PARTIAL_CONTENT {
            let shown = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            set(&mut response, header::CONTENT_RANGE, &shown);
        }
        set(&mut response, header::CONTENT_TYPE, &media);
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if !media::is_passive(&media) {
            let policy = if media::is_page(&media) { PAGE } else { INERT };
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        let download = self.options.download.as_deref() == Some("true");
        if download || self.options.filename.is_some() {
            let name = self.options.filename.clone();
            let name = name.unwrap_or_else(|| last_name(path).unwrap_or("file").to_owned());
            headers.insert(header::CONTENT_DISPOSITION, disposition(download, &name));
        }
        Ok(response)
    }

    fn wanted(&self, tag: &str, size: u64) -> Wanted {
        let is_current = self
            .header(header::IF_RANGE)
            .is_none_or(|condition| condition == tag);
        match self.header(header::RANGE) {
            Some(text) if is_current && self.method == Method::GET => range::parse(text, size),
            _ => Wanted::Whole,
        }
    }

    /// By the wanted name, the name in the path, the index, the first bytes.
    async fn media(
        &self,
        source: &Source,
        cid: Cid,
        path: &str,
        part: &std::ops::Range<u64>,
        first: Option<&Bytes>,
    ) -> Result<String, ReadError> {
        let names = [self.options.filename.as_deref(), last_name(path)];
        if let Some(media) = names.into_iter().flatten().find_map(media::by_name) {
            return Ok(media.to_owned());
        }
        if let Some(media) = self.indexed_media(cid) {
            return Ok(media);
        }
        let head = match first {
            Some(first) if part.start == 0 => Some(first.clone()),
            _ => source.read(cid, 0..HEAD_BYTES).next().await?,
        };
        Ok(media::by_bytes(&head.unwrap_or_default()).to_owned())
    }

    /// The type that the link's content says; without one, what all contents of this
    /// root say alike, so that nobody names another's file.
    fn indexed_media(&self, cid: Cid) -> Option<String> {
        let snapshot = self.app.context.index.snapshot().ok()?;
        let root = cid.to_string();
        let named = self.options.content.as_deref().and_then(hashid::parse);
        let named = named.and_then(|id| snapshot.content(EntityId(id)).ok()?);
        if let Some(named) = named.filter(|found| found.content.cid == root) {
            return media_of(named.content);
        }
        let window = storage::index::Window::first(CLAIMS_MAX);
        let found = snapshot.contents_by_root(&root, window).ok()?;
        let mut told = found.into_iter().map(|found| media_of(found.content));
        let first = told.next()?;
        told.all(|other| other == first).then_some(first)?
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.header(header::IF_NONE_MATCH).is_some_and(|value| {
            value
                .split(',')
                .map(|one| one.trim().trim_start_matches("W/"))
                .any(|one| one == "*" || one == tag)
        })
    }

    /// The headers that every answer about this path has.
    fn dress(&self, mut response: Response, tag: &str, cache: HeaderValue) -> Response {
        set(&mut response, header::ETAG, tag);
        set(&mut response, IPFS_PATH, self.uri.path());
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, cache);
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }

    /// A peer that has what is not here, or the error.
    async fn elsewhere(&self, error: ReadError) -> Result<Response, ApiError> {
        if self.only_if_cached() {
            return Err(ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                "not_cached",
                error.to_string(),
            ));
        }
        let holder = match &self.app.network {
            Some(network) if !self.is_own => {
                self.app.spend(self.caller)?;
                network.holder_url(self.root).await
            }
            _ => None,
        };
        let Some(holder) = holder else {
            return Err(error.into());
        };
        let path = self.uri.path_and_query().map_or("", |path| path.as_str());
        let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
        let target = format!("{}{path}", holder.trim_end_matches('/'));
        set(&mut response, header::LOCATION, &target);
        Ok(response)
    }
}

/// Streams pieces as the client takes them, with a few read ahead.
fn stream(first: Bytes, mut pieces: Pieces) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, ReadError>>(AHEAD_PIECES_MAX);
    tokio::spawn(async move {
        let mut next = Ok(Some(first));
        while let Some(piece) = next.transpose() {
            let is_end = piece.is_err();
            // The client has gone away when nobody receives.
            if sender.send(piece).await.is_err() || is_end {
                return;
            }
            next = pieces.next().await;
        }
    });
    Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn last_name(path: &str) -> Option<&str> {
    path.rsplit('/').find(|name| !name.is_empty())
}

/// The type that a digital content gives its file.
fn media_of(content: DigitalContent) -> Option<String> {
    let by_mime = content.mime.filter(|text| media::is_media_type(text));
    by_mime.or_else(|| media::by_name(&content.file_name?).map(str::to_owned))
}

/// `Content-Disposition` with the name in both of its forms (RFC 6266).
fn disposition(is_attachment: bool, name: &str) -> HeaderValue {
    let kind = if is_attachment {
        "attachment"
    } else {
        "inline"
    };
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            '"' | '\\' => '_',
            letter if letter.is_ascii_graphic() || letter == ' ' => letter,
            _ => '_',
        })
        .collect();
    let encoded = listing::percent_encode(&name);
    let text = format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

const RAW: &str = "application/vnd.ipld.raw";
const IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");
const A_WEEK: HeaderValue = HeaderValue::from_static("public, max-age=604800");

/// Pages from the network share an origin with the peer's own routes: the sandbox gives
/// their scripts an origin of their own.
const PAGE: HeaderValue = HeaderValue::from_static("sandbox allow-scripts allow-forms");

/// For everything else that a browser may run something of: it runs nothing.
const INERT: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'",
);

/// Pieces of at most a block that are read before the client takes them: one that is
/// sent and one that is read meanwhile.
const AHEAD_PIECES_MAX: usize = 2;

/// Contents of one root that are asked for its type. Chosen: more hardly agree.
const CLAIMS_MAX: usize = 16;

/// Bytes that tell what a file is.
const HEAD_BYTES: u64 = 512;

/// Longest file name in `Content-Disposition`, as file systems have it.
const NAME_CHARS_MAX: usize = 255;
