use std::time::Duration;

use protocol::time::{Moment, UnixSeconds};
use tokio::sync::{mpsc, oneshot};

use super::*;

/// Wishes each number to be written, tells when it is, and closes at a deadline.
#[derive(Default)]
struct Diary {
    wishes: VecDeque<Wish>,
    closes: Option<Moment>,
}

enum Fact {
    Write(u8),
    Written(u8),
    Close,
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Write(u8),
    Tell(u8),
    Closed,
}

impl Machine for Diary {
    type Input = Fact;
    type Output = Wish;

    fn handle(&mut self, input: Fact, now: Moment) {
        match input {
            Fact::Write(number) => self.wishes.push_back(Wish::Write(number)),
            Fact::Written(number) => self.wishes.push_back(Wish::Tell(number)),
            Fact::Close => self.closes = Some(now + Duration::from_millis(1)),
        }
    }

    fn handle_timeout(&mut self, _now: Moment) {
        if self.closes.take().is_some() {
            self.wishes.push_back(Wish::Closed);
        }
    }

    fn poll(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        self.closes.map(|at| (at, "close"))
    }
}

struct Hands {
    inbox: mpsc::Receiver<Fact>,
    told: mpsc::Sender<Wish>,
    /// The first write waits for it.
    disk: Option<oneshot::Receiver<()>>,
}

impl Driver<Diary> for Hands {
    async fn next(&mut self) -> Option<Fact> {
        self.inbox.recv().await
    }

    fn carry(&mut self, wish: Wish, work: &mut Work<Fact>) {
        match wish {
            Wish::Write(number) => {
                let disk = self.disk.take();
                work.in_order(async move {
                    if let Some(disk) = disk {
                        disk.await.ok()?;
                    }
                    Some(Fact::Written(number))
                });
            }
            Wish::Tell(_) | Wish::Closed => {
                let _ = self.told.try_send(wish);
            }
        }
    }
}

#[tokio::test]
async fn writes_end_in_the_order_of_the_wishes_and_deadlines_do_not_wait_for_them() {
    let (facts, inbox) = mpsc::channel(4);
    let (told, mut heard) = mpsc::channel(4);
    let (disk, slow) = oneshot::channel();
    let hands = Hands {
        inbox,
        told,
        disk: Some(slow),
    };
    let clock = Clock::system();
    let floor = Floor::new("diary");
    spawn(Diary::default(), hands, clock, &floor);
    for fact in [Fact::Write(1), Fact::Write(2), Fact::Close] {
        assert!(facts.send(fact).await.is_ok());
    }
    assert_eq!(heard.recv().await, Some(Wish::Closed));
    disk.send(()).unwrap();
    assert_eq!(heard.recv().await, Some(Wish::Tell(1)));
    assert_eq!(heard.recv().await, Some(Wish::Tell(2)));
    drop(facts);
    assert_eq!(heard.recv().await, None);
}

#[tokio::test]
async fn the_stop_ends_the_shell_while_work_is_under_way() {
    let (facts, inbox) = mpsc::channel(4);
    let (told, mut heard) = mpsc::channel(4);
    let (_disk, slow) = oneshot::channel();
    let hands = Hands {
        inbox,
        told,
        disk: Some(slow),
    };
    let floor = Floor::new("diary");
    spawn(Diary::default(), hands, Clock::system(), &floor);
    assert!(facts.send(Fact::Write(1)).await.is_ok());
    floor.end().await;
    assert_eq!(heard.recv().await, None);
}

#[tokio::test]
async fn what_waits_is_heard_before_a_deadline_that_ran_out() {
    assert_eq!(heard_before_closed(3).await, 3);
}

#[tokio::test]
async fn a_flood_does_not_hold_a_deadline_off() {
    assert_eq!(
        heard_before_closed(2 * TAKEN_WHEN_DUE_MAX).await,
        TAKEN_WHEN_DUE_MAX
    );
}

/// How many of `count` waiting facts are taken before a deadline of the past.
async fn heard_before_closed(count: usize) -> usize {
    let (facts, inbox) = mpsc::channel(count);
    let (told, mut heard) = mpsc::channel(count + 1);
    for number in 0..count {
        let number = u8::try_from(number % 256).unwrap();
        assert!(facts.try_send(Fact::Write(number)).is_ok());
    }
    let hands = Hands {
        inbox,
        told,
        disk: None,
    };
    let diary = Diary {
        closes: Some(Moment::from_unix(UnixSeconds(0))),
        ..Diary::default()
    };
    let floor = Floor::new("diary");
    spawn(diary, hands, Clock::system(), &floor);
    let mut before = 0;
    while heard.recv().await.expect("the deadline comes") != Wish::Closed {
        before += 1;
    }
    before
}
