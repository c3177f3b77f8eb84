//! What endpoints' refusals mean.

use crate::relayer::SendFailure;

/// What a refused transaction leads to.
pub(super) fn judge(message: String) -> SendFailure {
    if message.to_lowercase().contains("nonce too low") {
        SendFailure::NonceUsed
    } else if is_passing(&message) {
        SendFailure::Retry
    } else {
        SendFailure::Refused { reason: message }
    }
}

/// True for a trouble that passes: the words are about the endpoint, the wallet or
/// the fee, and not about the action.
pub(super) fn is_passing(message: &str) -> bool {
    let message = message.to_lowercase();
    PASSING.iter().any(|passing| message.contains(passing))
}

/// What endpoints say of troubles that pass. Whoever is not among them fails an
/// action for good, so that the list errs on the side of trying again.
const PASSING: [&str; 13] = [
    "insufficient funds",
    "underpriced",
    "txpool",
    "limit",
    "fee cap",
    "max fee",
    // What comes before it is on its way.
    "nonce too high",
    "timed out",
    "timeout",
    "too many",
    "busy",
    "try again",
    "unavailable",
];
