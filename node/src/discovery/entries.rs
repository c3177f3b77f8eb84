//! The server's side of `/coliving/entries/1`.

use gossip::heads::CountedHead;
use gossip::message::{
    ENTRIES_ANSWER_BYTES_MAX, ENTRIES_REQUEST_BYTES_MAX, EntriesAnswer, EntriesRequest,
};
use protocol::codec;
use protocol::entry::Entry;

use crate::index::{IndexHandle, IndexTaskError};
use crate::net::Inbound;

/// Answers one request; without a counted head there is nothing to say, and the
/// request is refused by dropping it.
pub(super) fn answer(index: &IndexHandle, counted: Option<CountedHead>, request: Inbound) {
    let asked =
        codec::from_bytes::<EntriesRequest>("request", &request.body, ENTRIES_REQUEST_BYTES_MAX);
    let (Ok(asked), Some(counted)) = (asked, counted) else {
        return;
    };
    match read(index, &counted, asked) {
        Ok(entries) => {
            let answer = EntriesAnswer {
                entries,
                head: counted.head,
                signatures: counted.signatures,
            };
            request.respond.send(codec::to_bytes(&answer));
        }
        Err(error) => tracing::warn!(%error, "entries could not be read"),
    }
}

fn read(
    index: &IndexHandle,
    counted: &CountedHead,
    asked: EntriesRequest,
) -> Result<Vec<Entry>, IndexTaskError> {
    let first = asked.after.map_or(0, |after| after.saturating_add(1));
    let last = (counted.head.block_number + 1) << 20;
    if asked.from_count >= counted.head.entry_count || first >= last {
        return Ok(Vec::new());
    }
    let missing = counted.head.entry_count - asked.from_count;
    let limit = usize::try_from(missing).map_or(ENTRIES_MAX, |missing| missing.min(ENTRIES_MAX));
    let entries = index.snapshot()?.entries(first..=last - 1, limit)?;
    let mut size = 0;
    Ok(entries
        .into_iter()
        .take_while(|entry| {
            size += codec::to_bytes(entry).len();
            size <= ENTRIES_ANSWER_BYTES_MAX - HEAD_BYTES_MAX
        })
        .collect())
}

/// Most entries in one answer; at about 500 bytes each they fill a quarter of it.
const ENTRIES_MAX: usize = 2048;

/// Room for the head and its signatures.
const HEAD_BYTES_MAX: usize = 128 * 1024;
