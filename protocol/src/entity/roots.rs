//! The CID fields: which metadata fields name a root, and what names it.
//!
//! References decide, claims only locate: what content peers hold, release and
//! count follows from the CID fields of live entities and from nothing else.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::metadata::{Metadata, read_root};
use super::{ContentList, DigitalContent, EntityType, Rejection, User, Verb};
use crate::action::Action;
use crate::id::{EntityId, Hash32, UserId};

/// A field that names a root by its CID. Content peers hold the root while a
/// live entity names it, and its bytes count against the entity's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CidField {
    /// The file of a digital content.
    File,
    /// The preview of a digital content.
    Preview,
    /// What the publisher made the file of a digital content from.
    Original,
    /// The cover art of a digital content.
    CoverArt,
    /// The cover art of a content list.
    ListImage,
    /// The picture of a user.
    ProfilePicture,
    /// The cover photo of a user.
    CoverPhoto,
}

/// A root that a CID field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedRoot {
    /// The root that is named.
    pub root: Cid,
    /// The field that names it.
    pub field: CidField,
}

/// What metadata claims of a root; holders compute it themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimedFacts {
    /// BLAKE3 root that audits check slices against.
    pub proof_root: Option<Hash32>,
    /// Bytes of the DAG's distinct blocks.
    pub size: Option<u64>,
}

/// An entity that may name roots.
pub trait NamesRoots {
    /// Whose it is.
    fn owner(&self) -> UserId;

    /// The number of the entity.
    fn number(&self) -> EntityId;

    /// The CID fields that are set, with their CIDs' texts; none once the entity
    /// is deleted.
    fn cids(&self) -> impl Iterator<Item = (CidField, &str)>;

    /// What the entity's metadata claims of the root in a field.
    fn facts(&self, field: CidField) -> ClaimedFacts {
        let _ = field;
        ClaimedFacts::default()
    }
}

impl CidField {
    /// Every field, in order.
    pub const ALL: [Self; 7] = [
        Self::File,
        Self::Preview,
        Self::Original,
        Self::CoverArt,
        Self::ListImage,
        Self::ProfilePicture,
        Self::CoverPhoto,
    ];

    /// The entities that have the field.
    #[must_use]
    pub const fn kind(self) -> EntityType {
        match self {
            Self::File | Self::Preview | Self::Original | Self::CoverArt => EntityType::Track,
            Self::ListImage => EntityType::Playlist,
            Self::ProfilePicture | Self::CoverPhoto => EntityType::User,
        }
    }

    /// The field's names in metadata; the first that is there is read.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::File => &["cid", "track_cid"],
            Self::Preview => &["preview_cid"],
            Self::Original => &["orig_file_cid"],
            Self::CoverArt => &["cover_art_sizes", "cover_art"],
            Self::ListImage => &[
                "playlist_image_sizes_multihash",
                "playlist_image_multihash",
                "cover_art",
            ],
            Self::ProfilePicture => &["profile_picture_sizes", "profile_picture"],
            Self::CoverPhoto => &["cover_photo_sizes", "cover_photo"],
        }
    }
}

/// The roots that an action's CID fields name: those that the rules read from
/// its metadata, and no other.
///
/// # Errors
///
/// The [`Rejection`] that the rules give for metadata that cannot be read or a
/// CID field that names no CID.
pub fn roots_of(action: &Action) -> Result<Vec<NamedRoot>, Rejection> {
    let (Ok(kind), Ok(Verb::Create | Verb::Update)) = (
        action.entity_type.parse::<EntityType>(),
        action.action.parse(),
    ) else {
        return Ok(Vec::new());
    };
    let mut fields = CidField::ALL
        .into_iter()
        .filter(|field| field.kind() == kind)
        .peekable();
    if fields.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut data = Metadata::parse(&action.metadata)?;
    fields
        .filter_map(|field| match data.take_cid(field) {
            Ok(Some(Some(text))) => {
                Some(read_root(field, &text).map(|root| NamedRoot { root, field }))
            }
            Ok(_) => None,
            Err(rejection) => Some(Err(rejection)),
        })
        .collect()
}

impl NamesRoots for User {
    fn owner(&self) -> UserId {
        self.user_id
    }

    fn number(&self) -> EntityId {
        EntityId(self.user_id.0)
    }

    fn cids(&self) -> impl Iterator<Item = (CidField, &str)> {
        named([
            (CidField::ProfilePicture, self.profile_picture.as_deref()),
            (CidField::CoverPhoto, self.cover_photo.as_deref()),
        ])
    }
}

impl NamesRoots for DigitalContent {
    fn owner(&self) -> UserId {
        self.owner_id
    }

    fn number(&self) -> EntityId {
        self.track_id
    }

    fn cids(&self) -> impl Iterator<Item = (CidField, &str)> {
        named([
            (CidField::File, Some(self.cid.as_str())),
            (CidField::Preview, self.preview_cid.as_deref()),
            (CidField::Original, self.orig_file_cid.as_deref()),
            (CidField::CoverArt, self.cover_art.as_deref()),
        ])
        .filter(|_| !self.is_delete)
    }

    fn facts(&self, field: CidField) -> ClaimedFacts {
        if field != CidField::File {
            return ClaimedFacts::default();
        }
        ClaimedFacts {
            proof_root: self.proof_root,
            size: Some(self.size).filter(|size| *size > 0),
        }
    }
}

impl NamesRoots for ContentList {
    fn owner(&self) -> UserId {
        self.playlist_owner_id
    }

    fn number(&self) -> EntityId {
        self.playlist_id
    }

    fn cids(&self) -> impl Iterator<Item = (CidField, &str)> {
        named([(CidField::ListImage, self.cover_art.as_deref())]).filter(|_| !self.is_delete)
    }
}

fn named<const COUNT: usize>(
    fields: [(CidField, Option<&str>); COUNT],
) -> impl Iterator<Item = (CidField, &str)> {
    fields
        .into_iter()
        .filter_map(|(field, text)| Some((field, text.filter(|text| !text.is_empty())?)))
}
