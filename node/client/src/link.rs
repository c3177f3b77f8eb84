//! Links for programs that can send no token: players, above all.
//!
//! ```text
//! /ipfs/{root}?link={end}.{mac}
//! mac = HMAC-SHA256(token, "coliving link\n" ‖ root ‖ "\n" ‖ end), hexadecimal digits
//! ```
//!
//! A link gives what the token's holder gets for one root, until `end` (seconds since
//! 1970). Whoever has the token makes them; the peer keeps none.

use cid::Cid;
use protocol::time::UnixSeconds;
use ring::hmac;

/// The value of `link` for a root.
#[must_use]
pub fn sign(token: &str, root: &Cid, end: UnixSeconds) -> String {
    let tag = hmac::sign(&key(token), text(root, end).as_bytes());
    format!("{}.{}", end.0, hex::encode(tag))
}

/// True when the token's holder made the link for this root and its time is not over.
#[must_use]
pub fn is_valid(token: &str, root: &Cid, link: &str, now: UnixSeconds) -> bool {
    let Some((end, mac)) = link.split_once('.') else {
        return false;
    };
    let (Ok(end), Ok(mac)) = (end.parse(), hex::decode(mac)) else {
        return false;
    };
    let end = UnixSeconds(end);
    let is_over = end <= now || end.0 - now.0 > LINK_SECONDS_MAX;
    !is_over && hmac::verify(&key(token), text(root, end).as_bytes(), &mac).is_ok()
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

fn text(root: &Cid, end: UnixSeconds) -> String {
    format!("coliving link\n{root}\n{}", end.0)
}

/// How long a link is good for at most. Chosen: longer than anybody listens in one go.
pub const LINK_SECONDS_MAX: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use protocol::unixfs::raw_cid;

    use super::*;

    #[test]
    fn a_link_is_for_one_root_of_one_peer_and_a_while() {
        let [root, other] = [&b"one"[..], b"other"].map(raw_cid);
        let now = UnixSeconds(1_700_000_000);
        let end = UnixSeconds(now.0 + 60);
        let link = sign("token", &root, end);
        assert!(is_valid("token", &root, &link, now));
        assert!(!is_valid("token", &other, &link, now));
        assert!(!is_valid("nekot", &root, &link, now));
        assert!(!is_valid("token", &root, &link, end));
        let later = link.replacen("1700000060", "1700000061", 1);
        assert!(!is_valid("token", &root, &later, now));
        let far = UnixSeconds(now.0 + LINK_SECONDS_MAX + 1);
        assert!(!is_valid("token", &root, &sign("token", &root, far), now));
        for broken in ["", ".", "1700000060.", "1700000060.00", "x.00", &link[..20]] {
            assert!(!is_valid("token", &root, broken, now), "{broken}");
        }
    }
}
