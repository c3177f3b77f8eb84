//! The one thread that changes the store.

use std::thread;

use storage::blocks::{Batch, BlockStore, BlockStoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Something to do on the writer thread.
pub(super) type Task = Box<dyn FnOnce(&mut BlockStore) + Send>;

/// What the writer thread is asked.
pub(super) enum Command {
    Put(Put),
    Run(Task),
    Stop(oneshot::Sender<()>),
}

/// Blocks that wait for a group commit.
pub(super) struct Put {
    pub(super) batch: Batch,
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<(), BlockStoreError>>,
    pub(super) _permit: OwnedSemaphorePermit,
}

struct Writer {
    blocks: BlockStore,
    inbox: mpsc::Receiver<Command>,
}

/// Starts the thread; it ends after [`Command::Stop`], or when the last
/// handle is gone and all that was queued is done.
pub(super) fn spawn(blocks: BlockStore, inbox: mpsc::Receiver<Command>) -> std::io::Result<()> {
    let mut writer = Writer { blocks, inbox };
    let thread = thread::Builder::new().name("store-writer".to_owned());
    thread.spawn(move || writer.run()).map(drop)
}

impl Writer {
    fn run(&mut self) {
        let mut next = self.inbox.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Put(put) => {
                    let (puts, following) = self.group(put);
                    self.commit(puts);
                    if following.is_some() {
                        next = following;
                        continue;
                    }
                }
                Command::Run(task) => task(&mut self.blocks),
                Command::Stop(answer) => {
                    self.drain();
                    let _ = answer.send(());
                    return;
                }
            }
            next = self.inbox.blocking_recv();
        }
    }

    /// The puts that wait right behind `first`, and the command after them.
    fn group(&mut self, first: Put) -> (Vec<Put>, Option<Command>) {
        let mut bytes = first.bytes;
        let mut puts = vec![first];
        while bytes < GROUP_BYTES {
            match self.inbox.try_recv() {
                Ok(Command::Put(put)) => {
                    bytes += put.bytes;
                    puts.push(put);
                }
                Ok(other) => return (puts, Some(other)),
                Err(_) => break,
            }
        }
        (puts, None)
    }

    fn commit(&mut self, puts: Vec<Put>) {
        let now = super::now();
        let is_single = puts.len() == 1;
        let (batches, waiting): (Vec<_>, Vec<_>) = puts
            .into_iter()
            .map(|put| (put.batch, (put.answer, put._permit)))
            .unzip();
        let outcome = self.blocks.put(&batches, now);
        if is_single || outcome.is_ok() {
            let mut outcome = Some(outcome);
            for (answer, _permit) in waiting {
                let _ = answer.send(outcome.take().unwrap_or(Ok(())));
            }
            return;
        }
        // One of them did not fit: each gets an answer of its own.
        for (batch, (answer, _permit)) in batches.iter().zip(waiting) {
            let outcome = self.blocks.put(std::slice::from_ref(batch), now);
            let _ = answer.send(outcome);
        }
    }

    /// Does what was queued before the stop.
    fn drain(&mut self) {
        self.inbox.close();
        while let Some(command) = self.inbox.blocking_recv() {
            match command {
                Command::Put(put) => self.commit(vec![put]),
                Command::Run(task) => task(&mut self.blocks),
                Command::Stop(answer) => drop(answer.send(())),
            }
        }
    }
}

/// Bytes of one group commit. Chosen: a flush costs little beside writing them.
const GROUP_BYTES: usize = 16 << 20;
