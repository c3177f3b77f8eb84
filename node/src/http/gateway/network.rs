//! The gateway's way to other peers: the exchange of blocks.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use protocol::id::Role;
use protocol::placement::Placement;
use storage::blocks::{Holding, Owner};

use super::{Network, Unfetched};
use crate::exchange::{ExchangeHandle, FetchError, FetchOptions, ReadError, around};

impl Network for ExchangeHandle {
    fn fetch(&self, root: Cid, cid: Cid) -> BoxFuture<'_, Result<Bytes, Unfetched>> {
        Box::pin(async move {
            let options = FetchOptions {
                owner: Some(Owner {
                    root,
                    holding: Holding::Cache,
                    expiry: None,
                }),
                ..FetchOptions::default()
            };
            let fetched = async {
                let mut fetching = self.fetch_blocks(root, vec![cid], options).await?;
                fetching.done().await
            };
            let fetched = tokio::time::timeout(PATIENCE, fetched).await;
            fetched.map_err(|_| too_slow())??;
            let found = self.context().store.get_block(cid).await;
            found
                .map_err(|error| Unfetched::Away(error.to_string()))?
                .ok_or_else(|| Unfetched::Away(format!("block {cid} came and went")))
        })
    }

    fn read(&self, file: Cid, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Unfetched>> {
        let reader = self.open(file, range, true);
        let pieces = stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match tokio::time::timeout(PATIENCE, reader.next()).await {
                Ok(Ok(Some(piece))) => Some((Ok(piece), Some(reader))),
                Ok(Ok(None)) => None,
                Ok(Err(ReadError::Fetch(error))) => Some((Err(error.into()), None)),
                Ok(Err(error)) => Some((Err(Unfetched::Away(error.to_string())), None)),
                Err(_) => Some((Err(too_slow()), None)),
            }
        });
        pieces.boxed()
    }

    fn holder_url(&self, root: Cid) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            let context = self.context();
            let registry = context.chain.registry().borrow().clone();
            let placement = Placement::new(&registry);
            let staked = placement.peers(Role::Content);
            around::holding_by_lease(context, &root, staked)
                .into_iter()
                .filter(|peer| *peer != context.peer)
                .find_map(|peer| Some(registry.peer(&peer)?.endpoint))
        })
    }
}

impl From<FetchError> for Unfetched {
    fn from(error: FetchError) -> Self {
        let text = error.to_string();
        match error {
            FetchError::Store(error) if error.is_full() => Self::Full(text),
            FetchError::Store(_)
            | FetchError::Failed(_)
            | FetchError::Busy { .. }
            | FetchError::Stopped => Self::Away(text),
        }
    }
}

fn too_slow() -> Unfetched {
    Unfetched::Away(format!("nobody sent it within {} s", PATIENCE.as_secs()))
}

/// How long one piece is waited for; shorter than a connection may stall.
const PATIENCE: Duration = Duration::from_secs(60);
