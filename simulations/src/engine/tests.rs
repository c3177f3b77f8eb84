use std::time::Duration;

use protocol::time::Moment;

use super::*;

#[test]
fn events_come_by_time_and_then_in_order_of_arrival() {
    let mut queue = Queue::new();
    let mut rng = Rng::stream(1, "queue");
    let mut expected = Vec::new();
    for number in 0..20_000_u64 {
        // From nanoseconds to hours, so that all three places are used.
        let bits = 10 + 4 * rng.below(9);
        // Many of them at the same moment.
        let at = rng.below(1 << 7) << (bits - 7);
        queue.push(Moment::from_nanos(at), number);
        expected.push((at, number));
    }
    expected.sort_unstable();
    for (at, number) in expected {
        assert_eq!(queue.pop(), Some((Moment::from_nanos(at), number)));
    }
    assert_eq!(queue.pop(), None);
}

#[test]
fn an_event_put_in_while_others_are_taken_finds_its_place() {
    let mut queue = Queue::new();
    let mut rng = Rng::stream(2, "hold");
    // Within seven times the four seconds of buckets, and often at one moment.
    let mut pause = || Duration::from_secs(rng.below(1 << 5));
    let mut number = 0;
    let mut push = |queue: &mut Queue<u64>, at| {
        number += 1;
        queue.push(at, number);
    };
    for _ in 0..100 {
        push(&mut queue, Moment::ZERO + pause());
    }
    let mut last = (Moment::ZERO, 0);
    for _ in 0..100_000 {
        let next = queue.pop().unwrap();
        assert!(last < next);
        last = next;
        push(&mut queue, next.0 + pause());
    }
    assert_eq!(queue.len(), 100);
}

#[test]
fn streams_of_one_seed_are_independent_and_repeat() {
    let draw = |seed, purpose| Rng::stream(seed, purpose).array();
    assert_eq!(draw(7, "faults"), draw(7, "faults"));
    assert_ne!(draw(7, "faults"), draw(7, "latency"));
    assert_ne!(draw(7, "faults"), draw(8, "faults"));
}

#[test]
fn the_weibull_sampler_has_the_published_means() {
    // Shape 0.59 and scale 41.9 minutes: mean 64.5, median 22.5 minutes.
    let mut rng = Rng::stream(3, "weibull");
    let scale = Duration::from_secs_f64(41.9 * 60.0);
    let mut draws: Vec<f64> = (0..100_000)
        .map(|_| rng.weibull(0.59, scale).as_secs_f64() / 60.0)
        .collect();
    draws.sort_by(f64::total_cmp);
    let mean = draws.iter().sum::<f64>() / 100_000.0;
    assert!((mean - 64.5).abs() < 2.0, "mean {mean}");
    assert!(
        (draws[50_000] - 22.5).abs() < 1.0,
        "median {}",
        draws[50_000]
    );
}

#[test]
fn the_trace_hash_sees_every_field() {
    let record = TraceRecord {
        at: Moment::from_nanos(1),
        from: 2,
        to: 3,
        kind: 4,
        payload: 5,
    };
    let hash = |record| {
        let mut trace = TraceHash::default();
        trace.record(record);
        trace.finish()
    };
    let others = [
        TraceRecord { from: 9, ..record },
        TraceRecord { to: 9, ..record },
        TraceRecord { kind: 9, ..record },
        TraceRecord {
            payload: 9,
            ..record
        },
        TraceRecord {
            at: Moment::ZERO,
            ..record
        },
    ];
    for other in others {
        assert_ne!(hash(record), hash(other));
    }
}

#[test]
fn the_trace_hash_is_that_of_all_records_in_a_row() {
    let mut trace = TraceHash::default();
    let mut all = Vec::new();
    // Several times what is hashed at a time, and something over.
    for number in 0..10_000 {
        trace.record(TraceRecord {
            at: Moment::from_nanos(number),
            from: 1,
            to: 2,
            kind: 3,
            payload: number ^ 4,
        });
        all.extend(number.to_le_bytes());
        all.extend(1u32.to_le_bytes());
        all.extend(2u32.to_le_bytes());
        all.push(3);
        all.extend((number ^ 4).to_le_bytes());
    }
    assert_eq!(trace.finish(), blake3::hash(&all).to_hex().to_string());
    assert_eq!(trace.events(), 10_000);
}

#[test]
fn a_message_is_known_for_five_minutes_to_who_saw_it() {
    let minute = |number: u64| Moment::from_nanos(number * 60_000_000_000);
    let mut seen = Seen::new(5);
    seen.note(3, 77, minute(10));
    let known = |seen: &Seen, now| [2, 3, 4].map(|peer| seen.has(peer, 77, minute(now)));
    assert_eq!(known(&seen, 10), [false, true, false]);
    assert_eq!(known(&seen, 14), [false, true, false]);
    assert_eq!(known(&seen, 15), [false; 3]);
    // What others saw later is not swept away with it.
    seen.note(4, 77, minute(13));
    seen.note(1, 78, minute(16));
    assert_eq!(known(&seen, 16), [false, false, true]);
    seen.forget(4);
    assert_eq!(known(&seen, 16), [false; 3]);
}
