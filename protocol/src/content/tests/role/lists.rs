//! Reading the list of a peer that lies, stalls or goes on meanwhile.

use listing::Part;
use serde_bytes::ByteBuf;

use super::*;

#[test]
fn a_list_that_brings_nothing_and_goes_on_is_an_offence() {
    check_liar(|number| part(Vec::new(), Some(number)));
}

#[test]
fn a_list_that_goes_on_where_it_began_is_an_offence() {
    check_liar(|_| part(vec![numbered(1)], Some(1)));
}

#[test]
fn a_list_of_what_is_no_root_is_an_offence() {
    check_liar(|number| {
        let mut padded = root(1).to_bytes();
        padded.resize(600, 0);
        Part {
            released: vec![ByteBuf::from(padded)],
            ..part(Vec::new(), Some(number))
        }
    });
}

#[test]
fn a_list_in_more_parts_than_leases_fill_is_an_offence() {
    check_liar(|number| part(vec![numbered(number)], Some(number)));
}

#[test]
fn a_list_that_is_not_over_after_an_epoch_is_given_up() {
    let mut peer = Peer::new(30);
    peer.lister = Some(Lister {
        answer: |number| part(vec![numbered(number)], Some(number)),
        count_max: 10,
        ..Lister::default()
    });
    peer.reread();
    peer.now = peer.now + Duration::from_secs(2 * 3600);
    let id = peer.lister.as_ref().unwrap().asked.unwrap();
    let body = listing::Response::List(Box::new(part(vec![numbered(11)], Some(11)))).to_bytes();
    peer.feed(Input::Answer {
        id,
        body: Some(body.into()),
    });
    assert_eq!(peer.offences, []);
    let asked = peer.lister.unwrap().asked;
    assert_eq!(asked, Some(id), "the next part is not asked for");
}

#[test]
fn a_page_that_is_signed_while_its_holder_is_read_is_no_offence() {
    let mut peer = Peer::new(31);
    peer.lister = Some(Lister {
        answer: |number| {
            let leases = [1, 2].map(|byte| lease_of_other(root(byte), EPOCH));
            let listed: Vec<Lease> = leases.iter().map(|lease| lease.record.clone()).collect();
            let page = page_of(other().address(), 1, EPOCH, listed.iter());
            let page = Some(Signed::new(page, &DOMAIN, &other()));
            let empty = part(Vec::new(), None);
            match number {
                1 => Part {
                    fresh: vec![leases[0].clone()],
                    next: Some(root(1).to_bytes().into()),
                    ..empty
                },
                2 => Part {
                    page,
                    listed: vec![listed[1].clone()],
                    ..empty
                },
                _ => Part {
                    page,
                    listed,
                    ..empty
                },
            }
        },
        ..Lister::default()
    });
    peer.reread();
    peer.wait(Duration::from_secs(11));
    assert_eq!(peer.offences, []);
    assert_eq!(peer.disk.claims.len(), 2, "it is read again");
}

#[test]
fn peers_that_do_not_answer_take_nobodys_turn() {
    let mut peer = Peer::new(33);
    let others: Vec<Address> = (10..30).map(|byte| Address([byte; 20])).collect();
    let holders = (1..).zip([key().address()].into_iter().chain(others.clone()));
    let holders = holders.map(|(number, wallet)| repair::tests::holder(number, wallet));
    let registry = RegistryAt::new(Arc::new(registry_of(holders)));
    peer.feed(Input::Registry(registry));
    peer.feed(Input::Connected(others.iter().copied().collect()));
    peer.wait(Duration::from_secs(60));
    assert!(others.iter().all(|other| peer.asked.contains(other)));
}

#[track_caller]
fn check_liar(answer: fn(u32) -> Part<Lease>) {
    let mut peer = Peer::new(32);
    peer.lister = Some(Lister {
        answer,
        count_max: 3_000,
        ..Lister::default()
    });
    peer.reread();
    assert_eq!(peer.offences, [other().address()]);
    assert!(peer.disk.claims.is_empty());
    assert!(peer.lister.unwrap().count < 2_500);
}

fn part(released: Vec<Cid>, next: Option<u32>) -> Part<Lease> {
    let released = released.into_iter();
    Part {
        page: None,
        listed: Vec::new(),
        fresh: Vec::new(),
        released: released.map(|root| root.to_bytes().into()).collect(),
        next: next.map(|number| numbered(number).to_bytes().into()),
    }
}

/// What the other peer says of its leases, question by question.
pub(super) struct Lister {
    answer: fn(u32) -> Part<Lease>,
    /// Questions that came.
    count: usize,
    /// Questions that are answered.
    count_max: usize,
    asked: Option<AskId>,
}

impl Default for Lister {
    fn default() -> Self {
        Self {
            answer: |_| part(Vec::new(), None),
            count: 0,
            count_max: usize::MAX,
            asked: None,
        }
    }
}

impl Lister {
    /// Nothing when the answer takes longer than the test.
    pub(super) fn answer(&mut self, id: AskId) -> Option<bytes::Bytes> {
        self.asked = Some(id);
        if self.count >= self.count_max {
            return None;
        }
        self.count += 1;
        let part = (self.answer)(u32::try_from(self.count).unwrap());
        let response = listing::Response::List(Box::new(part));
        Some(response.to_bytes().into())
    }
}

impl Peer {
    /// The other peer connects again, and its leases are read.
    fn reread(&mut self) {
        self.feed(Input::Connected(BTreeSet::new()));
        self.feed(Input::Connected(BTreeSet::from([other().address()])));
    }
}
