//! All rules, each with the sentence that a report says.

/// Names rules and says them; the compiler sees to it that none lacks its sentence.
macro_rules! rules {
    ($($name:ident: $sentence:literal),+ $(,)?) => {
        /// Something that must hold; what is never looked at proves nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $sentence] $name),+
        }

        impl Rule {
            /// All rules in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What it asks for.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence),+
                }
            }
        }
    };
}

rules! {
    StoredBlock: "every stored block hashes to its CID",
    ServedBlock: "every served block hashes to its CID",
    LeaseSerial: "a holder uses a lease serial once",
    PagePerEpoch: "a holder signs one page per epoch",
    PageOfEpoch: "whoever promises and was up for two epochs has a page of this one or the last",
    WholePromise: "a lease is signed for a root that is whole on the disk",
    PromiseEnds: "a lease of what is named, or was within a day, ends by a release after checked reads",
    RepairReason: "repair looks after no root that nothing published names",
    ContentCharges: "the content role holds nothing against an honest peer",
    DistinctOperators: "a root is placed on confirmed peers of distinct operators",
    ZoneShare: "a zone holds at most a third of the replicas",
    DurableDisks: "a durable upload is on the disks of the minimum of operators",
    DurableLeases: "a durable upload has leases of the minimum of operators",
    LeaseKept: "a lease is handed out once it is on the disk",
    SpuriousLoss: "nobody counts as lost that was up and in reach all the time",
    Lost: "whoever is down counts as lost everywhere soon after its silence is long enough",
    RepairTime: "a root is back at its target soon after a holder counts as lost",
    HeadPerBlock: "a peer signs one head per block number",
    HeadMajority: "a head counts once operators with more than half of the weight signed it",
    CountedHead: "a counted head is the chain's",
    NothingRejected: "nothing is held against an honest peer",
    NothingDisputed: "no entries are held against an honest peer",
    ForwardedByChain: "a peer with a chain forwards the chain's batches only",
    ForwardedByHead: "a peer without a chain forwards covered batches only",
    AppliedEntries: "applied entries are the chain's, in its order, without a gap",
    CoveredEntries: "no entry is applied without a counted head over it",
    VaultDisks: "an acknowledged vault record is on the disks of most of its replicas",
    VaultRead: "a vault read returns the last acknowledged write",
    TransactionStands: "a transaction of a resident's own that counts is in the chain",
    TransactionsLand: "a transaction of a resident's own is mined in the end",
    AcceptedKept: "a relayer has what it accepts on its disk",
    ConfirmedLanded: "an author tells of an action in the index once it is in a block",
    LandedOnce: "an action lands at most once",
    PaidOnce: "a relayer pays for an action once",
    Answered: "every question is answered or refused before whoever asked gives up",
    AnsweredOnce: "a question is answered once",
    DueOnce: "a machine that is woken does what is due",
    TablesAgree: "the tables of a machine agree with each other and keep to their limits",
    OfferedOnce: "an author does not offer a root again to whoever promised it",
    RefusedFalse: "what honest peers and residents send is not refused as false",
    RootsReturn: "in the end every root is back at its effective target",
    UploadsEnd: "an upload whose action never lands is gone from every disk in the end",
    EntriesArrive: "in the end every light peer has every entry",
    ResidentsDone: "in the end every fetch, publication and action is done",
    ActionsLand: "in the end every accepted action has landed",
    Bounds: "what is measured is within the scenario's bounds",
}
