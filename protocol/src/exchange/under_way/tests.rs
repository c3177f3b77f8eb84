use super::*;
use crate::unixfs::raw_cid;

const NOW: Moment = Moment::ZERO;

/// An exchange with the names of the fetches that were started and stopped.
struct Shell {
    exchange: Exchange<&'static str>,
    started: Vec<(FetchId, Option<FetchId>)>,
    stopped: Vec<FetchId>,
    joined: BTreeMap<Ticket, FetchId>,
    hints: Vec<(FetchId, Vec<Address>)>,
    over: Vec<Ticket>,
    refused: Vec<Ticket>,
}

impl Shell {
    fn new() -> Self {
        Self {
            exchange: Exchange::new(Address([9; 20]), true),
            started: Vec::new(),
            stopped: Vec::new(),
            joined: BTreeMap::new(),
            hints: Vec::new(),
            over: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn fetch(&mut self, ticket: u64, root: Cid, options: FetchOptions<&'static str>) {
        self.handle(ExchangeInput::Fetch(Box::new(Order {
            ticket: Ticket(ticket),
            root,
            target: Target::Dag(root),
            options,
        })));
    }

    fn leave(&mut self, ticket: u64) {
        let ticket = Ticket(ticket);
        self.handle(ExchangeInput::Gone { ticket });
    }

    fn handle(&mut self, input: ExchangeInput<&'static str>) {
        self.exchange.handle(input, NOW);
        while let Some(output) = self.exchange.poll() {
            match output {
                ExchangeOutput::Start { id, behind, .. } => self.started.push((id, behind)),
                ExchangeOutput::Joined { ticket, id } => {
                    self.joined.insert(ticket, id);
                }
                ExchangeOutput::Hint { id, holders } => self.hints.push((id, holders)),
                ExchangeOutput::Stop { id } => self.stopped.push(id),
                ExchangeOutput::Over { ticket, .. } => self.over.push(ticket),
                ExchangeOutput::Refused { ticket, .. } => self.refused.push(ticket),
            }
        }
    }
}

fn root() -> Cid {
    raw_cid(b"a root")
}

fn loose() -> FetchOptions<&'static str> {
    FetchOptions::default()
}

fn kept(owner: &'static str) -> FetchOptions<&'static str> {
    FetchOptions {
        owner: Some(owner),
        with_proof: true,
        ..loose()
    }
}

#[test]
fn who_wants_no_more_than_a_running_fetch_brings_joins_it_with_its_hints() {
    let mut shell = Shell::new();
    shell.fetch(1, root(), kept("pin"));
    let holders = vec![Address([1; 20])];
    let hinting = FetchOptions {
        holders: holders.clone(),
        ..loose()
    };
    shell.fetch(2, root(), hinting);
    shell.fetch(3, root(), kept("pin"));
    let [(id, None)] = shell.started[..] else {
        panic!("{:?}", shell.started);
    };
    assert!(shell.joined.values().all(|joined| *joined == id));
    assert_eq!(shell.hints, [(id, holders)]);
    shell.handle(ExchangeInput::Ended { id });
    assert_eq!(shell.over, [Ticket(1), Ticket(2), Ticket(3)]);
    assert!(shell.exchange.is_empty());
}

#[test]
fn the_last_resort_of_who_joins_is_asked_too() {
    let mut shell = Shell::new();
    let root = raw_cid(b"song");
    shell.fetch(1, root, FetchOptions::default());
    let author = Address([3; 20]);
    let upload = FetchOptions {
        last_resort: vec![author],
        ..FetchOptions::default()
    };
    shell.fetch(2, root, upload.clone());
    let kept = FetchOptions {
        owner: Some("upload"),
        ..upload
    };
    shell.fetch(3, root, kept);
    let first = shell.started[0].0;
    assert_eq!(shell.hints, [(first, vec![author]), (first, vec![author])]);
}

#[test]
fn who_wants_more_goes_behind_the_running_fetch() {
    let mut shell = Shell::new();
    shell.fetch(1, root(), loose());
    shell.fetch(2, root(), kept("pin"));
    shell.fetch(3, root(), kept("cache"));
    shell.fetch(4, root(), loose());
    let [(first, None), (second, Some(before)), (_, Some(last))] = shell.started[..] else {
        panic!("{:?}", shell.started);
    };
    assert_eq!([before, last], [first, second]);
    assert_eq!(shell.joined[&Ticket(4)], first);
}

#[test]
fn other_blocks_of_a_root_are_another_fetch() {
    let mut shell = Shell::new();
    shell.fetch(1, root(), loose());
    shell.handle(ExchangeInput::Fetch(Box::new(Order {
        ticket: Ticket(2),
        root: root(),
        target: Target::Blocks(vec![root()]),
        options: loose(),
    })));
    assert!(shell.started.iter().all(|(_, behind)| behind.is_none()));
    assert_eq!(shell.started.len(), 2);
}

#[test]
fn a_fetch_stops_with_the_last_who_waits_for_it_or_behind_it() {
    let mut shell = Shell::new();
    shell.fetch(1, root(), loose());
    shell.fetch(2, root(), loose());
    shell.fetch(3, root(), kept("pin"));
    let ids: Vec<FetchId> = shell.started.iter().map(|(id, _)| *id).collect();
    shell.leave(1);
    shell.leave(2);
    assert!(shell.stopped.is_empty(), "one behind waits for it");
    shell.leave(3);
    assert_eq!(shell.stopped, [ids[1], ids[0]]);
    shell.handle(ExchangeInput::Ended { id: ids[0] });
    assert!(shell.over.is_empty());
}

#[test]
fn the_number_of_fetches_is_bounded() {
    let mut shell = Shell::new();
    for number in 0..=FETCHES_MAX as u64 {
        shell.fetch(number, raw_cid(&number.to_le_bytes()), loose());
    }
    assert_eq!(shell.refused, [Ticket(FETCHES_MAX as u64)]);
    assert_eq!(shell.exchange.len(), FETCHES_MAX);
}

#[test]
fn who_reads_waits_less_long_for_a_holder() {
    let blocks = config(true, &Target::Blocks(vec![root()]));
    let dag = config(true, &Target::Dag(root()));
    assert!(blocks.starve_timeout < dag.starve_timeout);
    assert!(dag.in_flight_bytes_max <= FETCH_BYTES_MAX);
}
