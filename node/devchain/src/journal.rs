//! What a chain writes down: one checksummed record per command, replayed on start.
//!
//! ```text
//! file   = "CLVCHN02" record*
//! record = length u32 LE ‖ crc32c u32 LE ‖ payload of that length
//! payload = RLP list of operations
//! ```
//!
//! A record is written with one write and synchronised before its command is
//! answered. A record that a crash cut off at the end is removed on start: its
//! command was never answered.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ethers_core::utils::rlp::{DecoderError, Rlp, RlpStream};
use revm::primitives::{Address, B256, Bytes, U256};

use super::transaction::{append_number, read_address, read_number};

/// A step in the life of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The first block.
    Genesis {
        /// Id of the chain.
        chain_id: u64,
        /// In Unix seconds.
        timestamp: u64,
        /// First balances in wei.
        funded: Vec<(Address, U256)>,
    },
    /// A block was mined.
    Block {
        /// In Unix seconds.
        timestamp: u64,
        /// What a replay must give.
        hash: B256,
        /// Raw transactions in their order.
        transactions: Vec<Bytes>,
    },
    /// Blocks without transactions were mined.
    Run {
        /// How many blocks.
        count: u64,
        /// Timestamp of the first, in Unix seconds.
        first: u64,
        /// Seconds from each to the next.
        interval: u64,
        /// What a replay must give for the last.
        hash: B256,
    },
    /// The newest blocks fell out.
    Truncate {
        /// The height that is left.
        height: u64,
    },
    /// A balance was set.
    SetBalance {
        /// The account's address.
        address: Address,
        /// The balance in wei.
        balance: U256,
    },
    /// A nonce was set.
    SetNonce {
        /// The account's address.
        address: Address,
        /// The next one.
        nonce: u64,
    },
    /// The code of a contract was set.
    SetCode {
        /// Address of the contract.
        address: Address,
        /// Its bytecode at run time.
        code: Bytes,
    },
    /// A storage word was set.
    SetWord {
        /// Of which contract.
        address: Address,
        /// Key of the word.
        key: U256,
        /// What the word became.
        word: U256,
    },
    /// The chain's clock was set.
    TimeOffset {
        /// By how much it runs ahead.
        seconds: i64,
    },
    /// A snapshot was taken; they are numbered from 1.
    Snapshot,
    /// A snapshot was returned to.
    Revert {
        /// Number of the snapshot.
        id: u64,
    },
    /// A transaction was taken and waits.
    Queue {
        /// As it was sent.
        raw: Bytes,
    },
}

/// An open journal; holds the folder's lock.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pub(super) file: File,
    end: u64,
    _lock: File,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "the chain data in {folder} is in use by another process; stop that process or choose another folder"
    )]
    Locked {
        /// The folder of the chain.
        folder: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What was to be read or written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another kind of file, or of another version.
    #[error("{path} is not a chain journal of format 02; move it away to start a new chain")]
    Format {
        /// The file of another format.
        path: PathBuf,
    },
    /// Bytes changed on disk.
    #[error(
        "{path} is damaged at byte {offset} ({reason}); restore it from a backup or move it away to start a new chain"
    )]
    Damaged {
        /// The file that is damaged.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl Journal {
    /// Locks a folder and opens its journal.
    ///
    /// Gives the operations in order, none when the journal is new, and the
    /// number of bytes that a crash left half-written and that were removed.
    ///
    /// # Errors
    ///
    /// [`JournalError`] with the folder or file and the remedy.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Op>, u64), JournalError> {
        std::fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let lock = lock(folder)?;
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let size = file.metadata().map_err(io_error("open", &path))?.len();
        let (ops, end) = if size < MAGIC_BYTES {
            // New, or cut off before the first record: nothing was ever answered.
            (Vec::new(), 0)
        } else {
            read_all(&mut file, &path, size)?
        };
        let torn_bytes = size - end;
        let mut journal = Self {
            path,
            file,
            end,
            _lock: lock,
        };
        journal.prepare(folder)?;
        Ok((journal, ops, torn_bytes))
    }

    /// Appends the operations of one command and waits until they are safe.
    ///
    /// # Errors
    ///
    /// What the system says; the journal then ends where it did before.
    pub fn append(&mut self, ops: &[Op]) -> io::Result<()> {
        let payload = encode(ops);
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|length| *length <= RECORD_BYTES_MAX)
            .ok_or_else(|| io::Error::other("a record exceeds its limit of 1 GiB"))?;
        let mut record = Vec::with_capacity(payload.len() + 8);
        record.extend(length.to_le_bytes());
        record.extend(crc32c::crc32c(&payload).to_le_bytes());
        record.extend(payload);
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&record))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.end += u64::try_from(record.len()).unwrap_or(u64::MAX);
                Ok(())
            }
            Err(error) => {
                // The next append overwrites what this one left, and a start
                // before that removes it: a failure here loses nothing.
                let _ = self.file.set_len(self.end);
                Err(error)
            }
        }
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts off what a crash left and writes the first bytes of a new journal.
    fn prepare(&mut self, folder: &Path) -> Result<(), JournalError> {
        let path = self.path.clone();
        let failed = io_error("write", &path);
        self.file.set_len(self.end).map_err(&failed)?;
        if self.end == 0 {
            self.file.seek(SeekFrom::Start(0)).map_err(&failed)?;
            self.file.write_all(MAGIC).map_err(&failed)?;
            self.end = MAGIC_BYTES;
        }
        self.file.sync_all().map_err(&failed)?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("synchronise", folder))
    }
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK_NAME);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Reads every whole record and gives where they end.
fn read_all(file: &mut File, path: &Path, size: u64) -> Result<(Vec<Op>, u64), JournalError> {
    let failed = io_error("read", path);
    let mut reader = BufReader::new(file);
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(&failed)?;
    if magic != *MAGIC {
        return Err(JournalError::Format {
            path: path.to_owned(),
        });
    }
    let mut ops = Vec::new();
    let mut offset = MAGIC_BYTES;
    while size - offset >= RECORD_HEAD_BYTES {
        let mut head = [[0; 4]; 2];
        reader.read_exact(&mut head[0]).map_err(&failed)?;
        reader.read_exact(&mut head[1]).map_err(&failed)?;
        let length = u64::from(u32::from_le_bytes(head[0]));
        let end = offset + RECORD_HEAD_BYTES + length;
        // An empty payload is never written, but zeros are what some file
        // systems leave where a crash came before the data.
        if length == 0 || end > size {
            break;
        }
        let length = usize::try_from(length).expect("a u32 fits into usize");
        let mut payload = vec![0; length];
        reader.read_exact(&mut payload).map_err(&failed)?;
        let damaged = |reason: String| JournalError::Damaged {
            path: path.to_owned(),
            offset,
            reason,
        };
        if crc32c::crc32c(&payload) != u32::from_le_bytes(head[1]) {
            if end == size {
                break;
            }
            return Err(damaged(
                "its checksum does not match and records follow".to_owned(),
            ));
        }
        decode(&payload, &mut ops).map_err(|error| damaged(error.to_string()))?;
        offset = end;
    }
    Ok((ops, offset))
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::Io {
        action,
        path: path.clone(),
        error,
    }
}

fn encode(ops: &[Op]) -> Vec<u8> {
    let mut rlp = RlpStream::new_list(ops.len());
    for op in ops {
        match op {
            Op::Genesis {
                chain_id,
                timestamp,
                funded,
            } => {
                rlp.begin_list(4).append(&0u8).append(chain_id);
                rlp.append(timestamp).begin_list(funded.len());
                for (address, balance) in funded {
                    rlp.begin_list(2).append(&address.as_slice());
                    append_number(&mut rlp, *balance);
                }
            }
            Op::Block {
                timestamp,
                hash,
                transactions,
            } => {
                rlp.begin_list(4).append(&1u8).append(timestamp);
                rlp.append(&hash.as_slice()).begin_list(transactions.len());
                for raw in transactions {
                    rlp.append(&raw.as_ref());
                }
            }
            Op::Truncate { height } => {
                rlp.begin_list(2).append(&2u8).append(height);
            }
            Op::SetBalance { address, balance } => {
                rlp.begin_list(3).append(&3u8).append(&address.as_slice());
                append_number(&mut rlp, *balance);
            }
            Op::TimeOffset { seconds } => {
                rlp.begin_list(2)
                    .append(&4u8)
                    .append(&seconds.cast_unsigned());
            }
            Op::Snapshot => {
                rlp.begin_list(1).append(&5u8);
            }
            Op::Revert { id } => {
                rlp.begin_list(2).append(&6u8).append(id);
            }
            Op::Queue { raw } => {
                rlp.begin_list(2).append(&7u8).append(&raw.as_ref());
            }
            Op::Run {
                count,
                first,
                interval,
                hash,
            } => {
                rlp.begin_list(5).append(&8u8).append(count).append(first);
                rlp.append(interval).append(&hash.as_slice());
            }
            Op::SetNonce { address, nonce } => {
                rlp.begin_list(3).append(&9u8).append(&address.as_slice());
                rlp.append(nonce);
            }
            Op::SetCode { address, code } => {
                rlp.begin_list(3).append(&10u8).append(&address.as_slice());
                rlp.append(&code.as_ref());
            }
            Op::SetWord { address, key, word } => {
                rlp.begin_list(4).append(&11u8).append(&address.as_slice());
                append_number(&mut rlp, *key);
                append_number(&mut rlp, *word);
            }
        }
    }
    rlp.out().to_vec()
}

fn decode(payload: &[u8], ops: &mut Vec<Op>) -> Result<(), DecoderError> {
    for item in &Rlp::new(payload) {
        ops.push(match item.val_at::<u8>(0)? {
            0 => Op::Genesis {
                chain_id: item.val_at(1)?,
                timestamp: item.val_at(2)?,
                funded: item
                    .at(3)?
                    .iter()
                    .map(|entry| Ok((read_address(&entry.at(0)?)?, read_number(&entry.at(1)?)?)))
                    .collect::<Result<_, DecoderError>>()?,
            },
            1 => Op::Block {
                timestamp: item.val_at(1)?,
                hash: read_hash(&item.at(2)?)?,
                transactions: item
                    .at(3)?
                    .iter()
                    .map(|raw| Ok(Bytes::copy_from_slice(raw.data()?)))
                    .collect::<Result<_, DecoderError>>()?,
            },
            2 => Op::Truncate {
                height: item.val_at(1)?,
            },
            3 => Op::SetBalance {
                address: read_address(&item.at(1)?)?,
                balance: read_number(&item.at(2)?)?,
            },
            4 => Op::TimeOffset {
                seconds: item.val_at::<u64>(1)?.cast_signed(),
            },
            5 => Op::Snapshot,
            6 => Op::Revert {
                id: item.val_at(1)?,
            },
            7 => Op::Queue {
                raw: Bytes::copy_from_slice(item.at(1)?.data()?),
            },
            8 => Op::Run {
                count: item.val_at(1)?,
                first: item.val_at(2)?,
                interval: item.val_at(3)?,
                hash: read_hash(&item.at(4)?)?,
            },
            9 => Op::SetNonce {
                address: read_address(&item.at(1)?)?,
                nonce: item.val_at(2)?,
            },
            10 => Op::SetCode {
                address: read_address(&item.at(1)?)?,
                code: Bytes::copy_from_slice(item.at(2)?.data()?),
            },
            11 => Op::SetWord {
                address: read_address(&item.at(1)?)?,
                key: read_number(&item.at(2)?)?,
                word: read_number(&item.at(3)?)?,
            },
            _ => return Err(DecoderError::Custom("an operation of unknown kind")),
        });
    }
    Ok(())
}

fn read_hash(rlp: &Rlp<'_>) -> Result<B256, DecoderError> {
    B256::try_from(rlp.data()?).map_err(|_| DecoderError::RlpInvalidLength)
}

const FILE_NAME: &str = "chain.journal";
const LOCK_NAME: &str = "chain.lock";
const MAGIC: &[u8; 8] = b"CLVCHN02";
const MAGIC_BYTES: u64 = 8;
const RECORD_HEAD_BYTES: u64 = 8;

/// Far beyond what one command can write: a rewind of all kept blocks, full.
const RECORD_BYTES_MAX: u32 = 1 << 30;
