//! What a peer tells about itself at `/.well-known/coliving`, signed.

use protocol::id::Address;
use protocol::records::Endpoint;
use protocol::signing::{Domain, Signed};

use crate::api::WellKnown;

/// Why a `/.well-known/coliving` was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WellKnownError {
    /// Nobody answers, or not with JSON.
    #[error("`{url}` does not answer: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// Somebody else answers there.
    #[error("`{url}` is not signed by {peer}")]
    Signature {
        /// What was asked.
        url: String,
        /// Who registered it.
        peer: Address,
    },
}

/// Asks an endpoint who it is and checks the signature.
///
/// # Errors
///
/// [`WellKnownError`] names the URL and what is wrong.
pub async fn fetch(
    client: &reqwest::Client,
    url: &str,
    peer: Address,
    domain: &Domain,
) -> Result<Endpoint, WellKnownError> {
    let target = format!("{}/.well-known/coliving", url.trim_end_matches('/'));
    let unreachable = |reason: String| WellKnownError::Unreachable {
        url: target.clone(),
        reason,
    };
    let response = client
        .get(&target)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| unreachable(error.to_string()))?;
    let body = read_limited(response).await.map_err(unreachable)?;
    let found: WellKnown =
        serde_json::from_slice(&body).map_err(|error| unreachable(error.to_string()))?;
    let signed = Signed::<Endpoint>::from(found);
    if signed.verify(domain, peer).is_err() || signed.record.peer != peer {
        return Err(WellKnownError::Signature { url: target, peer });
    }
    Ok(signed.record)
}

/// Reads a body of at most [`BODY_BYTES_MAX`].
pub(crate) async fn read_limited(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend(chunk),
            Ok(Some(_)) => return Err(format!("the answer is over {BODY_BYTES_MAX} bytes")),
            Ok(None) => return Ok(body),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Longest answer in bytes. Chosen: many times sixteen addresses and a signature.
const BODY_BYTES_MAX: usize = 64 * 1024;
