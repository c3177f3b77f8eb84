//! How actions are signed and which there are, for programs; for people it
//! stands in `docs/formats/action.md`.

use protocol::action::{
    self, ActionDomain, DOMAIN_NAME, DOMAIN_VERSION, METADATA_BYTES_MAX, NAME_BYTES_MAX,
};
use protocol::entity::{
    BIO_CHARS_MAX, COMMENT_CHARS_MAX, DESCRIPTION_CHARS_MAX, EXTRA_BYTES_MAX, EntityType,
    HANDLE_CHARS_MAX, ID_MAX, LIST_ITEMS_MAX, LOCATION_CHARS_MAX, SHORT_TEXT_CHARS_MAX,
    TAGS_CHARS_MAX, TITLE_CHARS_MAX, USER_NAME_CHARS_MAX, Verb,
};
use protocol::id::Address;
use protocol::relayer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How an action is signed, and which actions there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionFormat {
    /// The EIP-712 domain.
    pub domain: TypedDataDomain,
    /// Name of the struct that is signed.
    pub primary_type: String,
    /// The EIP-712 type string, which is hashed letter by letter: `uint` stays
    /// `uint`, whatever a library makes of it.
    pub type_string: String,
    /// The fields of the type string in their order.
    pub fields: Vec<TypedDataField>,
    /// What actions are about, and what they do to it.
    pub entities: Vec<EntityFormat>,
    /// What a peer refuses to pass on and an index to take.
    pub limits: ActionLimits,
}

/// The EIP-712 domain of actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypedDataDomain {
    /// `name` of the domain.
    pub name: String,
    /// `version` of the domain.
    pub version: String,
    /// `chainId` of the domain.
    pub chain_id: u64,
    /// `verifyingContract` of the domain: the entity manager.
    #[schemars(with = "schema::Address")]
    pub verifying_contract: Address,
}

/// One field of a struct that is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypedDataField {
    /// Name of the field.
    pub name: String,
    /// Its type as the type string spells it.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An entity type and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntityFormat {
    /// `entityType` as signed.
    pub entity_type: String,
    /// The lowest id of a new entity.
    pub id_min: u64,
    /// Each `action` as signed.
    pub actions: Vec<String>,
}

/// Bounds of actions and of the fields of their metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionLimits {
    /// The largest id.
    pub id_max: u64,
    /// Bytes of `entityType` and of `action`.
    pub name_bytes_max: usize,
    /// Bytes of `metadata`.
    pub metadata_bytes_max: usize,
    /// Bytes of the fields that the network has no meaning for, kept as they are.
    pub extra_bytes_max: usize,
    /// Characters of a handle.
    pub handle_chars_max: usize,
    /// Characters of a user's name.
    pub user_name_chars_max: usize,
    /// Characters of a bio.
    pub bio_chars_max: usize,
    /// Characters of a location.
    pub location_chars_max: usize,
    /// Characters of a title or a list's name.
    pub title_chars_max: usize,
    /// Characters of a description.
    pub description_chars_max: usize,
    /// Characters of all tags with their commas.
    pub tags_chars_max: usize,
    /// Characters of a comment.
    pub comment_chars_max: usize,
    /// Characters of every other text.
    pub short_text_chars_max: usize,
    /// Digital contents in a list.
    pub list_items_max: usize,
    /// Leading zero bits of the proof of work that a relayer asks of a new user.
    pub proof_bits: u32,
}

impl ActionFormat {
    /// The format of actions for one entity manager.
    #[must_use]
    pub fn new(domain: ActionDomain) -> Self {
        let type_string = action::TYPE;
        Self {
            domain: TypedDataDomain {
                name: DOMAIN_NAME.to_owned(),
                version: DOMAIN_VERSION.to_owned(),
                chain_id: domain.chain_id,
                verifying_contract: domain.entity_manager,
            },
            primary_type: name_of(type_string).to_owned(),
            type_string: type_string.to_owned(),
            fields: fields_of(type_string),
            entities: EntityType::ALL.map(EntityFormat::of).to_vec(),
            limits: ActionLimits {
                id_max: ID_MAX,
                name_bytes_max: NAME_BYTES_MAX,
                metadata_bytes_max: METADATA_BYTES_MAX,
                extra_bytes_max: EXTRA_BYTES_MAX,
                handle_chars_max: HANDLE_CHARS_MAX,
                user_name_chars_max: USER_NAME_CHARS_MAX,
                bio_chars_max: BIO_CHARS_MAX,
                location_chars_max: LOCATION_CHARS_MAX,
                title_chars_max: TITLE_CHARS_MAX,
                description_chars_max: DESCRIPTION_CHARS_MAX,
                tags_chars_max: TAGS_CHARS_MAX,
                comment_chars_max: COMMENT_CHARS_MAX,
                short_text_chars_max: SHORT_TEXT_CHARS_MAX,
                list_items_max: LIST_ITEMS_MAX,
                proof_bits: relayer::Config::new(domain).proof_bits,
            },
        }
    }
}

impl EntityFormat {
    fn of(kind: EntityType) -> Self {
        let actions = kind
            .verbs()
            .iter()
            .map(|verb: &Verb| verb.name().to_owned());
        Self {
            entity_type: kind.name().to_owned(),
            id_min: kind.id_floor(),
            actions: actions.collect(),
        }
    }
}

fn name_of(type_string: &str) -> &str {
    type_string.split('(').next().unwrap_or_default()
}

fn fields_of(type_string: &str) -> Vec<TypedDataField> {
    let inside = type_string.split(['(', ')']).nth(1).unwrap_or_default();
    inside
        .split(',')
        .filter_map(|field| field.split_once(' '))
        .map(|(kind, name)| TypedDataField {
            name: name.to_owned(),
            kind: kind.to_owned(),
        })
        .collect()
}
