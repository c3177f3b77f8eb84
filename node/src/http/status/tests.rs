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
            waiting: usize::from(missing > 2),
            is_inspecting,
        }),
        ..Status::default()
    }
}

#[track_caller]
fn check_text(status: &Status, epoch: Epoch, text: &str) {
    let health = content_health(status, Moment::from_unix(epoch.start()));
    assert_eq!(health.returning.unwrap().text, text);
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
        "restored from a backup: 2 of 5 promised roots are to be fetched, 1 are here and wait to be promised anew; \
         no lease and no page is signed before 1970-01-01T11:00:00Z",
    );
    check_text(
        &restored(3, false),
        SILENT.plus(1),
        "restored from a backup: 2 of 5 promised roots are to be fetched, 1 are here and wait to be promised anew",
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
    let health = content_health(&status, Moment::ZERO);
    assert_eq!((health.promised, health.uploads, health.ended), (2, 1, 3));
    let repair = RepairHealth {
        roots: 9,
        queued: 4,
        fetching: 1,
        starved: 2,
        lost: 1,
    };
    assert_eq!(health.repair, repair);
    let returning = health.returning.unwrap();
    assert_eq!(
        (returning.promised, returning.missing, returning.waiting),
        (5, 2, 1)
    );
    assert_eq!(returning.signs_from.0, 39_600);
    let usual = content_health(&Status::default(), Moment::ZERO);
    assert_eq!(usual.returning, None);
}
