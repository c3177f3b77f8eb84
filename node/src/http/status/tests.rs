use cid::Cid;
use cid::multihash::Multihash;
use protocol::content::repair::Progress;
use protocol::time::Epoch;

use super::*;

/// The epoch of the return is the eleventh; the next begins eleven hours after 1970 did.
const SILENT: Epoch = Epoch(10);

fn restored(missing: u8, is_inspecting: bool) -> Status {
    let root = |byte| Cid::new_v1(0x55, Multihash::wrap(0x12, &[byte; 32]).unwrap());
    Status {
        promised: 2,
        returning: Some(Returning {
            silent: SILENT,
            promised: 5,
            missing: (0..missing).map(root).collect(),
            is_inspecting,
        }),
        ..Status::default()
    }
}

#[track_caller]
fn check_text(status: &Status, epoch: Epoch, text: &str) {
    let json = content_json(status, Moment::from_unix(epoch.start()));
    assert_eq!(json["returning"]["text"], text);
}

#[test]
fn the_return_from_a_backup_is_told_for_people() {
    check_text(
        &restored(0, true),
        SILENT,
        "restored from a backup: it looks up which of 5 promised roots are whole; \
         no lease and no page is signed before 1970-01-01T11:00:00Z",
    );
    check_text(
        &restored(3, false),
        SILENT,
        "restored from a backup: 3 of 5 promised roots are to be fetched and promised anew; \
         no lease and no page is signed before 1970-01-01T11:00:00Z",
    );
    check_text(
        &restored(3, false),
        SILENT.plus(1),
        "restored from a backup: 3 of 5 promised roots are to be fetched and promised anew",
    );
}

#[test]
fn the_content_role_is_told_in_numbers() {
    let status = Status {
        uploads: 1,
        ended: 3,
        repair: Progress {
            roots: 9,
            queued: 4,
            fetching: 1,
            starved: 2,
            lost: 1,
            is_scanning: true,
        },
        ..restored(3, false)
    };
    let json = content_json(&status, Moment::ZERO);
    let returning = &json["returning"];
    assert_eq!(
        (&json["promised"], &json["uploads"], &json["ended"]),
        (&json!(2), &json!(1), &json!(3))
    );
    assert_eq!(
        json["repair"],
        json!({ "roots": 9, "queued": 4, "fetching": 1, "starved": 2, "lost": 1 })
    );
    assert_eq!(
        (
            &returning["promised"],
            &returning["missing"],
            &returning["signs_from"]
        ),
        (&json!(5), &json!(3), &json!(39_600))
    );
    let usual = Status::default();
    assert_eq!(content_json(&usual, Moment::ZERO)["returning"], Value::Null);
}
