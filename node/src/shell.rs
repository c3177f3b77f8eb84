//! One task around one role machine: gives it facts, carries out its wishes.
//!
//! A role writes a [`Driver`]: where facts come from ([`Driver::next`]: an inbox,
//! the swarm's questions, watched values, in the order of its own `select!`) and
//! what a wish means here ([`Driver::carry`]). [`spawn`] does the rest: after one
//! fact it drains the machine, sleeps until the machine's deadline, ends with its
//! floor. It decides nothing and waits for nothing but the next fact: what
//! takes time is handed to [`Work`], and its end comes back as a fact.
//!
//! - [`Work::in_order`]: one after the other in the order of the wishes. Writes
//!   belong here, so that what is on disk is always what the machine had at some
//!   moment.
//! - [`Work::beside`]: all at the same time. Questions to others, proofs of work,
//!   reads.
//! - [`Work::fact`]: something that is known at once.
//!
//! While too much work is under way no fact from outside is taken. At the stop,
//! work under way is dropped, as a crash would do: a machine tells nobody of
//! something before it heard that it is stored.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, pending};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocol::machine::Machine;
use rpc::Clock;
use tokio::task::{AbortHandle, JoinSet};

use crate::tasks::Floor;

/// The hands of one role: what its machine's facts and wishes are in this process.
pub trait Driver<M: Machine>: Send + 'static {
    /// The next fact from outside; `None` ends the shell.
    ///
    /// # Cancel safety
    ///
    /// It is dropped whenever something else happens first: it must lose nothing
    /// then, as `recv` of a channel does not.
    fn next(&mut self) -> impl Future<Output = Option<M::Input>> + Send;

    /// Carries out a wish. It must not block: what takes time goes into `work`.
    fn carry(&mut self, wish: M::Output, work: &mut Work<M::Input>);

    /// Looks at the machine after it has taken a fact and its wishes were carried
    /// out, for whoever wants to know how it is.
    fn observe(&mut self, _machine: &M) {}
}

/// What is under way for a machine; each end may be a fact.
pub struct Work<I> {
    facts: VecDeque<I>,
    ordered: VecDeque<BoxFuture<'static, Option<I>>>,
    beside: JoinSet<Option<I>>,
}

impl<I: Send + 'static> Work<I> {
    pub(crate) fn new() -> Self {
        Self {
            facts: VecDeque::new(),
            ordered: VecDeque::new(),
            beside: JoinSet::new(),
        }
    }

    /// Gives the machine a fact once its present wishes are carried out.
    pub fn fact(&mut self, fact: I) {
        self.facts.push_back(fact);
    }

    /// Begins when all that was given here before has ended.
    pub fn in_order(&mut self, work: impl Future<Output = Option<I>> + Send + 'static) {
        self.ordered.push_back(work.boxed());
    }

    /// Begins at once, whatever else is under way.
    ///
    /// The handle breaks it off; then it gives no fact.
    pub fn beside(
        &mut self,
        work: impl Future<Output = Option<I>> + Send + 'static,
    ) -> AbortHandle {
        self.beside.spawn(work)
    }

    fn has_room(&self) -> bool {
        self.ordered.len() < ORDERED_MAX && self.beside.len() < BESIDE_MAX
    }

    /// The end of something that is under way; dropping this future loses nothing.
    pub(crate) async fn next_ended(&mut self) -> Option<I> {
        let Self {
            ordered, beside, ..
        } = self;
        let first = async {
            match ordered.front_mut() {
                Some(work) => work.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            fact = first => {
                self.ordered.pop_front();
                fact
            }
            Some(ended) = beside.join_next() => ended.unwrap_or_else(|error| {
                if !error.is_cancelled() {
                    tracing::error!(%error, "the work of a role broke off");
                }
                None
            }),
        }
    }
}

impl<I> fmt::Debug for Work<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("facts", &self.facts.len())
            .field("ordered", &self.ordered.len())
            .field("beside", &self.beside.len())
            .finish()
    }
}

/// Runs a machine until its floor is to end or its driver has no more facts.
pub fn spawn<M, D>(machine: M, driver: D, clock: Clock, floor: &Floor)
where
    M: Machine<Input: Send + 'static> + Send + 'static,
    D: Driver<M>,
{
    let shell = Shell {
        machine,
        driver,
        clock,
    };
    let stop = floor.stop().clone();
    floor.spawn(async move {
        let mut work = Work::new();
        stop.run_until_cancelled(shell.run(&mut work)).await;
        // None of it outlives the shell.
        work.beside.shutdown().await;
    });
}

struct Shell<M, D> {
    machine: M,
    driver: D,
    clock: Clock,
}

impl<M, D> Shell<M, D>
where
    M: Machine<Input: Send + 'static>,
    D: Driver<M>,
{
    async fn run(mut self, work: &mut Work<M::Input>) {
        // A machine that goes on with what was stored has wishes from the start.
        self.drain(work);
        let mut taken_when_due = 0;
        loop {
            let deadline = self.machine.deadline();
            let is_due = deadline.is_some_and(|(at, _)| at <= self.clock.now());
            if !is_due {
                taken_when_due = 0;
            }
            let takes = work.has_room() && taken_when_due < TAKEN_WHEN_DUE_MAX;
            // Ends before beginnings: what is under way makes room for what is new.
            // What waits outside came before the deadline is noticed, so it is heard
            // first: a peer whose sign of life lies unread is not lost.
            tokio::select! {
                biased;
                fact = work.next_ended() => {
                    if let Some(fact) = fact {
                        self.handle(fact, work);
                    }
                }
                fact = self.driver.next(), if takes => match fact {
                    Some(fact) => {
                        taken_when_due += 1;
                        self.handle(fact, work);
                    }
                    None => return,
                },
                () = self.clock.sleep_until(deadline) => {
                    taken_when_due = 0;
                    self.machine.handle_timeout(self.clock.now());
                    self.drain(work);
                }
            }
        }
    }

    fn handle(&mut self, fact: M::Input, work: &mut Work<M::Input>) {
        self.machine.handle(fact, self.clock.now());
        self.drain(work);
    }

    fn drain(&mut self, work: &mut Work<M::Input>) {
        loop {
            while let Some(wish) = self.machine.poll() {
                self.driver.carry(wish, work);
            }
            let Some(fact) = work.facts.pop_front() else {
                self.driver.observe(&self.machine);
                return;
            };
            self.machine.handle(fact, self.clock.now());
        }
    }
}

/// Writes that wait for the disk before nothing more is taken from outside: some
/// seconds of a slow disk.
const ORDERED_MAX: usize = 64;

/// So many facts from outside are taken before a deadline that has run out, so
/// that a flood cannot hold it off for ever.
const TAKEN_WHEN_DUE_MAX: usize = 256;

/// Questions, reads and the like that are under way before nothing more is taken
/// from outside; larger than what any machine has under way by its own bounds.
const BESIDE_MAX: usize = 1024;

#[cfg(test)]
mod tests;
