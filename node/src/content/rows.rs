//! What the role keeps, as rows of the store.

use std::ops::Bound;

use protocol::content::{Input, PersistId, Row, Stored};
use storage::tables::{
    ENDED, LEASE_COUNTERS, LEASES, LEASES_BY_HOLDER, OWN_PAGE, RESTORED, TablesWrite, UPLOADS,
    newest,
};

use crate::context::Context;
use crate::store::{StoreError, StoreHandle};

/// Reads what an earlier run kept.
pub(super) fn read(context: &Context) -> Result<Stored, StoreError> {
    context.store.read(|tables| {
        let uploads = tables.range(UPLOADS, Bound::Unbounded, ROWS_MAX)?;
        let leases = tables.range(LEASES, Bound::Unbounded, ROWS_MAX)?;
        let claims = tables.range(LEASES_BY_HOLDER, Bound::Unbounded, ROWS_MAX)?;
        Ok(Stored {
            uploads: uploads.into_iter().map(|(_, upload)| upload).collect(),
            leases: leases.into_iter().map(|(_, lease)| lease).collect(),
            claims: claims.into_iter().map(|(_, lease)| lease).collect(),
            counters: tables.get(LEASE_COUNTERS, &newest())?.unwrap_or_default(),
            page: tables.get(OWN_PAGE, &newest())?,
            ended: tables.range(ENDED, Bound::Unbounded, ROWS_MAX)?,
            is_restored: tables.get(RESTORED, &newest())?.is_some(),
        })
    })
}

/// Writes rows in one transaction.
pub(super) async fn write(store: StoreHandle, id: PersistId, rows: Vec<Row>) -> Input {
    let written: Result<(), StoreError> = store
        .write(move |tables| {
            for row in &rows {
                put(tables, row)?;
            }
            Ok(())
        })
        .await;
    if let Err(error) = &written {
        tracing::error!(%error, "the content role cannot write what it has to keep");
    }
    Input::Persisted {
        id,
        is_done: written.is_ok(),
    }
}

fn put(tables: &TablesWrite<'_>, row: &Row) -> Result<(), StoreError> {
    match row {
        Row::Upload(root, Some(upload)) => tables.put(UPLOADS, root, upload)?,
        Row::Upload(root, None) => {
            tables.remove(UPLOADS, root)?;
        }
        Row::Counters(counters) => tables.put(LEASE_COUNTERS, &newest(), counters)?,
        Row::Lease(root, Some(lease)) => tables.put(LEASES, root, lease)?,
        Row::Lease(root, None) => {
            tables.remove(LEASES, root)?;
        }
        Row::Page(page) => tables.put(OWN_PAGE, &newest(), page)?,
        Row::Claim(holder, root, Some(lease)) => {
            tables.put(LEASES_BY_HOLDER, &(*holder, *root), lease)?;
        }
        Row::Claim(holder, root, None) => {
            tables.remove(LEASES_BY_HOLDER, &(*holder, *root))?;
        }
        Row::Ended(root, Some(since)) => tables.put(ENDED, root, since)?,
        Row::Ended(root, None) => {
            tables.remove(ENDED, root)?;
        }
        Row::Returned => {
            tables.remove(RESTORED, &newest())?;
        }
    }
    Ok(())
}

/// Rows of one table that are read at the start. Derived: as many as repair tracks.
const ROWS_MAX: usize = 4_000_000;
