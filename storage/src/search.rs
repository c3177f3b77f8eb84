//! Full-text search over users, digital contents and lists.
//!
//! Derived from the index and kept in a folder of its own with its own cursor:
//! after a kill it goes on from its last commit, and a folder that does not
//! belong to the index is filled again. Only public entities are in it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, FuzzyTermQuery, Occur, Query, TermQuery};
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STRING, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
};
use tantivy::{IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use protocol::entity::{ContentList, DigitalContent, EntityType, Target, User};
use protocol::id::EntityId;

use crate::index::{IndexError, Snapshot};

/// The writer's side of search; make readers with [`Search::searcher`].
pub struct Search {
    /// `None` after an error: tantivy's writer does nothing more then.
    writer: Option<IndexWriter>,
    searcher: Searcher,
}

/// Answers queries from the last commit; cheap to clone.
#[derive(Clone)]
pub struct Searcher {
    index: tantivy::Index,
    reader: IndexReader,
    fields: Fields,
}

/// One found entity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hit {
    /// What it is.
    pub kind: EntityType,
    /// The number of the entity.
    pub id: EntityId,
    /// How well it matches; only the order means something.
    pub score: f32,
}

/// Why search failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The folder cannot be used.
    #[error("the search folder failed: {0}; delete it and it will be filled again")]
    Folder(#[from] tantivy::TantivyError),
    /// The folder cannot be made or emptied.
    #[error("the search folder cannot be written: {0}")]
    Io(#[from] std::io::Error),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    /// Kind and number, by which documents are replaced.
    key: Field,
    kind: Field,
    id: Field,
    name: Field,
    handle: Field,
    tags: Field,
    text: Field,
}

/// How far [`Search::sync`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    instance: u64,
    touched: u64,
}

impl Search {
    /// Opens a search folder, or makes it. A folder that cannot be read is
    /// emptied: everything in it can be made again.
    ///
    /// # Errors
    ///
    /// [`SearchError`] when the folder cannot be made or is in use.
    pub fn open(folder: &Path) -> Result<Self, SearchError> {
        std::fs::create_dir_all(folder)?;
        let (schema, fields) = schema();
        let open = || -> Result<tantivy::Index, tantivy::TantivyError> {
            let directory = tantivy::directory::MmapDirectory::open(folder)?;
            tantivy::Index::open_or_create(directory, schema.clone())
        };
        let index = match open() {
            Ok(index) => index,
            Err(error) => {
                tracing::warn!(%error, "the search folder is not usable and is filled again");
                std::fs::remove_dir_all(folder)?;
                std::fs::create_dir_all(folder)?;
                open()?
            }
        };
        Self::with_index(index, fields)
    }

    /// Makes a search index that lives as long as the process.
    ///
    /// # Errors
    ///
    /// [`SearchError`].
    pub fn in_memory() -> Result<Self, SearchError> {
        let (schema, fields) = schema();
        Self::with_index(tantivy::Index::create_in_ram(schema), fields)
    }

    fn with_index(index: tantivy::Index, fields: Fields) -> Result<Self, SearchError> {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .build();
        index.tokenizers().register(WORDS, words);
        let writer = new_writer(&index)?;
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let searcher = Searcher {
            index,
            reader,
            fields,
        };
        Ok(Self {
            writer: Some(writer),
            searcher,
        })
    }

    /// A handle for queries.
    #[must_use]
    pub fn searcher(&self) -> Searcher {
        self.searcher.clone()
    }

    /// Brings search up to a snapshot and commits. The number that comes back
    /// may be given to [`crate::index::Index::trim_touched`].
    ///
    /// # Errors
    ///
    /// [`SearchError`]; what was committed before stays, and the next call tries
    /// again.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<u64, SearchError> {
        if self.writer.is_none() {
            self.writer = Some(new_writer(&self.searcher.index)?);
        }
        let outcome = self.follow(snapshot);
        if outcome.is_err() {
            self.writer = None;
        }
        outcome
    }

    fn follow(&mut self, snapshot: &Snapshot) -> Result<u64, SearchError> {
        let instance = snapshot.instance()?;
        let (count, floor) = snapshot.touched_bounds()?;
        let cursor = self.cursor()?;
        let mut at = match cursor {
            Some(cursor)
                if cursor.instance == instance && (floor..=count).contains(&cursor.touched) =>
            {
                cursor.touched
            }
            _ => {
                self.fill(snapshot)?;
                self.commit(Cursor {
                    instance,
                    touched: count,
                })?;
                count
            }
        };
        while at < count {
            let mut targets = BTreeSet::new();
            for row in snapshot.touched(at)?.take(SYNC_CHANGES_MAX) {
                let (number, target) = row?;
                at = number;
                targets.insert(target);
            }
            if targets.is_empty() {
                break;
            }
            for target in targets {
                let term = Term::from_field_text(self.fields().key, &key(target));
                self.writer().delete_term(term);
                self.add(snapshot, target)?;
            }
            self.commit(Cursor {
                instance,
                touched: at,
            })?;
        }
        Ok(at)
    }

    /// Empties the index and adds every public entity.
    fn fill(&mut self, snapshot: &Snapshot) -> Result<(), SearchError> {
        self.writer().delete_all_documents()?;
        for kind in KINDS {
            for id in snapshot.ids(kind)? {
                let id = EntityId(id?);
                self.add(snapshot, Target { kind, id })?;
            }
        }
        Ok(())
    }

    fn writer(&self) -> &IndexWriter {
        self.writer.as_ref().expect("made before it is used")
    }

    fn commit(&mut self, cursor: Cursor) -> Result<(), SearchError> {
        let writer = self.writer.as_mut().expect("made before it is used");
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&format!("{FORMAT} {} {}", cursor.instance, cursor.touched));
        commit.commit()?;
        self.searcher.reader.reload()?;
        Ok(())
    }

    fn cursor(&self) -> Result<Option<Cursor>, SearchError> {
        let payload = self.searcher.index.load_metas()?.payload;
        Ok(payload.as_deref().and_then(parse_cursor))
    }

    fn fields(&self) -> &Fields {
        &self.searcher.fields
    }

    /// Adds an entity, when everybody may see it.
    fn add(&self, snapshot: &Snapshot, target: Target) -> Result<(), SearchError> {
        let fields = self.fields();
        let mut document = TantivyDocument::new();
        let id = target.id.0;
        match target.kind {
            EntityType::User => {
                let user: Option<User> = snapshot.stored(target.kind, id)?;
                let Some(user) = user.filter(User::is_public) else {
                    return Ok(());
                };
                document.add_text(fields.name, &user.name);
                document.add_text(fields.handle, &user.handle);
                document.add_text(fields.text, user.bio.unwrap_or_default());
                document.add_text(fields.text, user.location.unwrap_or_default());
            }
            EntityType::Track => {
                let content: Option<DigitalContent> = snapshot.stored(target.kind, id)?;
                let Some(content) = content.filter(DigitalContent::is_public) else {
                    return Ok(());
                };
                document.add_text(fields.name, &content.title);
                document.add_text(fields.tags, &content.tags);
                document.add_text(fields.tags, content.genre.unwrap_or_default());
                document.add_text(fields.tags, content.kind.name());
                document.add_text(fields.text, content.description.unwrap_or_default());
                self.add_owner(snapshot, &mut document, content.owner_id.0)?;
            }
            EntityType::Playlist => {
                let list: Option<ContentList> = snapshot.stored(target.kind, id)?;
                let Some(list) = list.filter(ContentList::is_public) else {
                    return Ok(());
                };
                document.add_text(fields.name, &list.playlist_name);
                document.add_text(fields.text, list.description.unwrap_or_default());
                self.add_owner(snapshot, &mut document, list.playlist_owner_id.0)?;
            }
            EntityType::Comment => return Ok(()),
        }
        document.add_text(fields.key, key(target));
        document.add_text(fields.kind, target.kind.name());
        document.add_u64(fields.id, id);
        self.writer().add_document(document)?;
        Ok(())
    }

    /// What somebody made is found by its owner's handle, which never changes.
    fn add_owner(
        &self,
        snapshot: &Snapshot,
        document: &mut TantivyDocument,
        owner: u64,
    ) -> Result<(), SearchError> {
        let owner: Option<User> = snapshot.stored(EntityType::User, owner)?;
        if let Some(owner) = owner {
            document.add_text(self.fields().text, &owner.handle);
        }
        Ok(())
    }
}

impl Searcher {
    /// Entities that match every word of a query, the best first. A word
    /// matches whole, by its beginning, and with one typing error when it has four
    /// letters or more.
    ///
    /// # Errors
    ///
    /// [`SearchError::Folder`].
    pub fn search(
        &self,
        query: &str,
        kind: Option<EntityType>,
        limit: usize,
        offset: usize,
    ) -> Result<Vec<Hit>, SearchError> {
        self.find(query, kind, limit, offset, true)
    }

    /// As [`Searcher::search`], for a query that is still being typed: names,
    /// handles and tags only, and no typing errors.
    ///
    /// # Errors
    ///
    /// [`SearchError::Folder`].
    pub fn autocomplete(
        &self,
        query: &str,
        kind: Option<EntityType>,
        limit: usize,
    ) -> Result<Vec<Hit>, SearchError> {
        self.find(query, kind, limit, 0, false)
    }

    fn find(
        &self,
        query: &str,
        kind: Option<EntityType>,
        limit: usize,
        offset: usize,
        is_full: bool,
    ) -> Result<Vec<Hit>, SearchError> {
        let words = self.words(query);
        let limit = limit.min(HITS_MAX);
        if words.is_empty() || limit == 0 || offset > OFFSET_MAX {
            return Ok(Vec::new());
        }
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = words
            .iter()
            .map(|word| (Occur::Must, self.word_query(word, is_full)))
            .collect();
        if let Some(kind) = kind {
            let term = Term::from_field_text(self.fields.kind, kind.name());
            let query = TermQuery::new(term, IndexRecordOption::Basic);
            let query: Box<dyn Query> = Box::new(BoostQuery::new(Box::new(query), 0.0));
            clauses.push((Occur::Must, query));
        }
        let searcher = self.reader.searcher();
        let top = TopDocs::with_limit(limit).and_offset(offset);
        let found = searcher.search(&BooleanQuery::new(clauses), &top.order_by_score())?;
        found
            .into_iter()
            .map(|(score, address)| {
                let document: TantivyDocument = searcher.doc(address)?;
                Ok(self.hit(&document, score))
            })
            .filter_map(Result::transpose)
            .collect()
    }

    fn hit(&self, document: &TantivyDocument, score: f32) -> Option<Hit> {
        let kind = document.get_first(self.fields.kind)?.as_str()?;
        let id = document.get_first(self.fields.id)?.as_u64()?;
        Some(Hit {
            kind: kind.parse().ok()?,
            id: EntityId(id),
            score,
        })
    }

    fn word_query(&self, word: &str, is_full: bool) -> Box<dyn Query> {
        let fields = [
            (self.fields.name, 4.0),
            (self.fields.handle, 4.0),
            (self.fields.tags, 2.0),
            (self.fields.text, 1.0),
        ];
        let is_fuzzy = is_full && word.chars().count() >= FUZZY_CHARS_MIN;
        let mut ways: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (field, boost) in fields {
            if !is_full && field == self.fields.text {
                continue;
            }
            let term = Term::from_field_text(field, word);
            let whole = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
            let beginning = FuzzyTermQuery::new_prefix(term.clone(), 0, true);
            ways.push(way(whole, boost));
            ways.push(way(beginning, boost * 0.3));
            if is_fuzzy {
                ways.push(way(FuzzyTermQuery::new(term, 1, true), boost * 0.1));
            }
        }
        Box::new(BooleanQuery::new(ways))
    }

    fn words(&self, query: &str) -> Vec<String> {
        let query: String = query.chars().take(QUERY_CHARS_MAX).collect();
        let mut words = Vec::new();
        if let Some(mut analyzer) = self.index.tokenizers().get(WORDS) {
            let mut stream = analyzer.token_stream(&query);
            while words.len() < QUERY_WORDS_MAX && stream.advance() {
                words.push(stream.token().text.clone());
            }
        }
        words
    }
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

fn new_writer(index: &tantivy::Index) -> Result<IndexWriter, SearchError> {
    Ok(index.writer_with_num_threads(1, WRITER_BYTES)?)
}

fn way(query: impl Query, boost: f32) -> (Occur, Box<dyn Query>) {
    let query = BoostQuery::new(Box::new(query), boost);
    (Occur::Should, Box::new(query))
}

fn key(target: Target) -> String {
    format!("{}{}", target.kind.name(), target.id)
}

fn parse_cursor(payload: &str) -> Option<Cursor> {
    let mut words = payload.split(' ').map(str::parse::<u64>);
    let mut next = || words.next()?.ok();
    if next()? != FORMAT {
        return None;
    }
    Some(Cursor {
        instance: next()?,
        touched: next()?,
    })
}

fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(WORDS)
        .set_index_option(IndexRecordOption::WithFreqs);
    let words = TextOptions::default().set_indexing_options(indexing);
    let mut builder = Schema::builder();
    let fields = Fields {
        key: builder.add_text_field("key", STRING),
        kind: builder.add_text_field("kind", STRING.set_stored()),
        id: builder.add_u64_field("id", NumericOptions::default().set_stored()),
        name: builder.add_text_field("name", words.clone()),
        handle: builder.add_text_field("handle", words.clone()),
        tags: builder.add_text_field("tags", words.clone()),
        text: builder.add_text_field("text", words),
    };
    (builder.build(), fields)
}

/// What can be found.
const KINDS: [EntityType; 3] = [EntityType::User, EntityType::Track, EntityType::Playlist];

/// Version of schema and payload; another one fills the folder again.
const FORMAT: u64 = 1;

/// Name of the tokenizer.
const WORDS: &str = "words";

/// Longest word in bytes; longer ones are not indexed. Chosen: nobody types them.
const WORD_BYTES_MAX: usize = 64;

/// Memory of the writer: the least that it accepts.
const WRITER_BYTES: usize = 16 * 1024 * 1024;

/// Most changes between two commits. Chosen: a commit flushes and merges
/// whatever is in it, and a crash repeats no more than these.
const SYNC_CHANGES_MAX: usize = 50_000;

/// Shortest word that may have a typing error. Chosen: a shorter one is near to too
/// many others.
const FUZZY_CHARS_MIN: usize = 4;

/// Most hits of one query: as of a listing.
const HITS_MAX: usize = 500;

/// Hits beyond this are not looked for. Chosen: nobody turns twenty full pages, and
/// each hit before an offset costs as much as one that is shown.
const OFFSET_MAX: usize = 10_000;

/// Characters of a query that are read. Chosen: a long title.
const QUERY_CHARS_MAX: usize = 256;

/// Words of a query that are read. Chosen: each is looked for with typing
/// errors too.
const QUERY_WORDS_MAX: usize = 8;

#[cfg(test)]
mod tests;
