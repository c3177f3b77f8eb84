use super::*;
use crate::amount::Dgc;
use crate::id::{Hash32, Role};
use crate::records::Lease;
use crate::registry::testing::{Enrolment, registry_of};
use crate::signing::{Signed, SigningKey};
use crate::time::Epoch;
use crate::unixfs::raw_cid;

const NOW: Moment = Moment::ZERO;

fn root() -> Cid {
    raw_cid(b"a root")
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn peer(number: u8) -> Address {
    key(number).address()
}

fn domain() -> Domain {
    Domain {
        chain_id: 1337,
        verifying_contract: Address([9; 20]),
    }
}

fn placement(peers: u8) -> Placement {
    let registry = registry_of((1..=peers).map(|number| Enrolment {
        number,
        roles: &[Role::Content],
        wallet: peer(number),
        public_key: key(number).public_key().to_vec(),
        stake: Dgc::whole(200_000),
    }));
    Placement::new(&registry)
}

fn lease(number: u8, root: Cid, signer: u8) -> Response {
    let record = Lease {
        root,
        proof_root: Hash32::ZERO,
        size: 1,
        holder: peer(number),
        serial: 1,
        from_epoch: Epoch(1),
        to_epoch: Epoch(2),
    };
    Response::Lease(Box::new(Signed::new(record, &domain(), &key(signer))))
}

fn answer(survey: &mut Survey, number: u8, response: Option<&Response>) {
    let answer = response.map(|response| Bytes::from(response.to_bytes()));
    let peer = peer(number);
    survey.handle(Surveying { peer, answer }, NOW);
}

fn asked(survey: &mut Survey) -> BTreeSet<Address> {
    let mut asked = BTreeSet::new();
    while let Some(SurveyOutput::Ask { peer, .. }) = survey.poll() {
        asked.insert(peer);
    }
    asked
}

#[test]
fn leases_count_when_their_peer_signed_them_for_the_root() {
    let mut survey = Survey::new(root(), domain(), &placement(5), peer(5), NOW);
    assert_eq!(asked(&mut survey), (1..=4).map(peer).collect());
    let (good, forged) = (lease(1, root(), 1), lease(2, root(), 1));
    answer(&mut survey, 1, Some(&good));
    answer(&mut survey, 2, Some(&forged));
    answer(&mut survey, 3, Some(&lease(3, raw_cid(b"another"), 3)));
    answer(&mut survey, 4, None);
    let Some(SurveyOutput::Ended(found)) = survey.poll() else {
        panic!("everybody has answered");
    };
    assert_eq!(found.leases.len(), 1);
    assert_eq!(found.leases[0].record.holder, peer(1));
    assert_eq!(found.silent, BTreeSet::from([peer(4)]));
}

#[test]
fn who_does_not_answer_in_time_is_silent() {
    let mut survey = Survey::new(root(), domain(), &placement(3), peer(9), NOW);
    let all = asked(&mut survey);
    let (at, _) = survey.deadline().expect("it waits for answers");
    survey.handle_timeout(at);
    let Some(SurveyOutput::Ended(found)) = survey.poll() else {
        panic!("the time is over");
    };
    assert_eq!(found.silent, all);
    assert_eq!(survey.deadline(), None);
    answer(&mut survey, 1, Some(&lease(1, root(), 1)));
    assert_eq!(survey.poll(), None, "it ends once");
}

#[test]
fn nobody_to_ask_ends_a_survey_at_once() {
    let mut survey = Survey::new(root(), domain(), &placement(1), peer(1), NOW);
    assert_eq!(
        survey.poll(),
        Some(SurveyOutput::Ended(Surveyed::default()))
    );
}
