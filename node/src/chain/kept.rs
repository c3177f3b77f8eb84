//! The last known registry in a file, so that a peer that starts while the chain
//! is away knows whom to connect to and whose signatures count.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::chain::Contracts;
use protocol::codec;
use protocol::entry::sha256;
use protocol::registry::{REGISTRY_BYTES_MAX, Registry};
use serde::{Deserialize, Serialize};

/// Keeps the registry; without a path it forgets.
#[derive(Debug)]
pub(super) struct RegistryFile {
    path: Option<PathBuf>,
    /// Tells deployments apart.
    deployment: Vec<u8>,
    pub(super) registry: Arc<Registry>,
    pub(super) snapshot: Arc<Registry>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(with = "serde_bytes")]
    deployment: Vec<u8>,
    #[serde(with = "serde_bytes")]
    registry: Vec<u8>,
    #[serde(with = "serde_bytes")]
    snapshot: Vec<u8>,
}

impl RegistryFile {
    /// Reads what was kept for these contracts.
    pub(super) fn open(path: Option<PathBuf>, contracts: &Contracts) -> Self {
        let deployment = sha256(format!("{contracts:?}").as_bytes()).0.to_vec();
        let read = path.as_deref().and_then(|path| read(path, &deployment));
        let (registry, snapshot) = read.unwrap_or_default();
        Self {
            path,
            deployment,
            registry: Arc::new(registry),
            snapshot: Arc::new(snapshot),
        }
    }

    /// Writes both registries, when one changed other than in its block.
    pub(super) async fn keep(&mut self, registry: &Arc<Registry>, snapshot: &Arc<Registry>) {
        let Some(path) = &self.path else {
            return;
        };
        if is_same(&self.registry, registry) && is_same(&self.snapshot, snapshot) {
            return;
        }
        self.registry = Arc::clone(registry);
        self.snapshot = Arc::clone(snapshot);
        let kept = Kept {
            deployment: self.deployment.clone(),
            registry: registry.to_bytes(),
            snapshot: snapshot.to_bytes(),
        };
        let path = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &codec::to_bytes(&kept)));
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "the registry was not kept; a restart without the chain would not know it");
        }
    }
}

fn is_same(a: &Registry, b: &Registry) -> bool {
    let mut a = a.clone();
    a.set_block(b.block());
    a == *b
}

fn read(path: &Path, deployment: &[u8]) -> Option<(Registry, Registry)> {
    let bytes = fs::read(path).ok()?;
    let kept: Kept = codec::from_bytes("kept registry", &bytes, 2 * REGISTRY_BYTES_MAX).ok()?;
    if kept.deployment != deployment {
        return None;
    }
    let registry = Registry::from_bytes(&kept.registry).ok()?;
    Some((registry, Registry::from_bytes(&kept.snapshot).ok()?))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, bytes)?;
    fs::File::open(&next)?.sync_all()?;
    fs::rename(&next, path)
}

/// Name of the file in the data folder.
pub(super) const FILE_NAME: &str = "registry.cbor";

#[cfg(test)]
mod tests;
