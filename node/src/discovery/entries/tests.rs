use super::*;

#[test]
fn a_peer_that_asks_too_often_is_refused_until_the_window_is_over() {
    let mut rates = Rates::default();
    let now = Moment::from_unix(protocol::time::UnixSeconds(1_700_000_000));
    let (eager, other) = (Address([1; 20]), Address([2; 20]));
    let admitted = (0..100).filter(|_| rates.admit(eager, now)).count();
    assert_eq!(admitted, RATE_REQUESTS_MAX as usize);
    assert!(rates.admit(other, now));
    assert!(rates.admit(eager, now + RATE_WINDOW));
}
