//! Filters over users: the SCIM grammar (RFC 7644 §3.4.2.2), bound to a schema and ready to run.
//!
//! 1. A [`Filter`] names attributes of the schema that it was parsed with, and literals of their types, already
//!    collated: running it over a row converts nothing and, for ASCII text, allocates nothing.
//! 2. What an absent value means: every comparison is false, but `ne` is true, so that `a ne x` is always
//!    `not (a eq x)` for an attribute of one value. `not` is plain negation. `a eq null` means absent, `a ne null`
//!    and `a pr` mean present; an empty string is present.
//! 3. A multi-valued attribute matches if any of its values does, `ne` too; `groups ne "x"` is the exception and
//!    means no member of x.
//! 4. Text is compared under its attribute's collation, ordered by the collated bytes. Under `email`, `co`, `sw`
//!    and `ew` look at the address as typed (folded) and at its ASCII form; either may match.
//! 5. Errors name positions (bytes, from 1), never what stands there.
//!
//! Besides the schema's attributes a filter may name `sub`, `status`, `enabled`, `locked`, `created_at`,
//! `updated_at` and `groups`. Names and operators are read in either case. Of the RFC's grammar, value paths
//! (`emails[…]`) and URNs are left out: there are no complex attributes here.

use std::sync::Arc;

use bytes::Bytes;
use stoa_format::AttrId;
use thiserror::Error;

use super::collation::Collation;
use super::names::GroupName;
use super::schema::Schema;
use super::value::{CellValue, ValueFault};

mod bind;
mod hint;
mod lex;
mod many;
mod parse;
mod predicate;

pub use hint::Hint;
pub use many::Passing;
pub use predicate::{BytesTest, IntTest, Order, Predicate, TextOp, TextTest};

/// The longest filter, in bytes.
pub const FILTER_MAX_BYTES: usize = 4096;
/// The most comparisons in a filter.
pub const FILTER_MAX_TERMS: usize = 64;
/// How deep parentheses may stand in one another.
pub const FILTER_MAX_DEPTH: usize = 16;

/// A filter, bound to a schema.
#[derive(Debug, Clone)]
pub struct Filter {
    root: Node,
    hint: Option<Hint>,
    attributes: Vec<Arc<str>>,
    groups: Vec<GroupName>,
}

/// A part of a filter.
#[derive(Debug, Clone)]
pub enum Node {
    /// All of these, at least two.
    And(Vec<Node>),
    /// Any of these, at least two.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// One comparison.
    Test(Test),
}

/// One comparison: what is looked at, and what must hold for it.
#[derive(Debug, Clone)]
pub struct Test {
    /// What is looked at.
    pub field: Field,
    /// What must hold.
    pub predicate: Predicate,
}

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A column: of one value a user.
    Column(AttrId),
    /// The list of a multi-valued attribute.
    List(AttrId),
    /// Whether the user is locked out now, as 0 or 1.
    Locked,
    /// Whether the user is in this group.
    Group(GroupRef),
    /// The names of the user's groups.
    GroupNames,
}

/// A group that a filter names: its place in [`Filter::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupRef(pub usize);

/// One user, as a filter looks at it.
pub trait Row {
    /// What can go wrong with a look.
    type Error;

    /// The cell of a column; `None` if absent. Of the built-in columns a filter looks at `SUB` (16 bytes),
    /// `STATUS` (its code), `ENABLED` (0 or 1), `CREATED_AT` and `UPDATED_AT` (milliseconds).
    ///
    /// # Errors
    /// The row's own.
    fn cell(&mut self, attr: AttrId) -> Result<Option<CellValue<'_>>, Self::Error>;

    /// Shows the values of a multi-valued attribute to `matches` until it answers true; answers whether there
    /// was any value.
    ///
    /// # Errors
    /// The row's own.
    fn each_value(&mut self, attr: AttrId, matches: &mut dyn FnMut(CellValue<'_>) -> bool)
    -> Result<bool, Self::Error>;

    /// Whether the user is locked out now.
    ///
    /// # Errors
    /// The row's own.
    fn locked(&mut self) -> Result<bool, Self::Error>;

    /// Whether the user is in that group of [`Filter::groups`]; false if there is no such group.
    ///
    /// # Errors
    /// The row's own.
    fn in_group(&mut self, group: GroupRef) -> Result<bool, Self::Error>;

    /// Shows the names of the user's groups to `matches` until it answers true; answers whether there was any.
    ///
    /// # Errors
    /// The row's own.
    fn each_group(&mut self, matches: &mut dyn FnMut(&str) -> bool) -> Result<bool, Self::Error>;
}

impl Filter {
    /// Reads a filter over `schema`; `$1`, `$2`, … stand for `args`.
    ///
    /// # Errors
    /// Where the text is no filter over that schema, and why.
    pub fn parse(text: &[u8], args: &[Bytes], schema: &Schema) -> Result<Self, InvalidFilter> {
        parse::parse(text, args, schema)
    }

    /// The whole condition.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The comparison, if the filter is a single one: then one column decides.
    pub fn single_test(&self) -> Option<&Test> {
        match &self.root {
            Node::Test(test) => Some(test),
            _ => None,
        }
    }

    /// The names of all that it looks at, each once: what access control judges.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|name| &**name)
    }

    /// The groups that it names, each once, to be looked up before it runs.
    pub fn groups(&self) -> &[GroupName] {
        &self.groups
    }

    /// The hint, if it leads by the index in order of values to all users who match, and to nobody else.
    pub fn exact_hint(&self) -> Option<&Hint> {
        let Node::Test(Test { predicate, .. }) = &self.root else { return None };
        let is_exact = match predicate {
            Predicate::Int(_) => true,
            // See [`Hint::Prefix`]: of an e-mail address what is before the domain leads to more.
            Predicate::Text(test) => test.op() != TextOp::StartsWith || test.collation() != Collation::Email,
            Predicate::Bytes(_) | Predicate::Present => false,
        };
        self.hint.as_ref().filter(|hint| is_exact && matches!(hint, Hint::Prefix { .. } | Hint::Range { .. }))
    }

    /// An index that leads to all users that can match; each must still be tested with [`Filter::matches`].
    pub fn index_hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }

    /// Whether a user matches.
    ///
    /// # Errors
    /// The row's own.
    pub fn matches<R: Row>(&self, row: &mut R) -> Result<bool, R::Error> {
        self.root.matches(row)
    }
}

impl Node {
    /// Whether a user matches this part.
    ///
    /// # Errors
    /// The row's own.
    pub fn matches<R: Row>(&self, row: &mut R) -> Result<bool, R::Error> {
        match self {
            Self::And(nodes) => {
                for node in nodes {
                    if !node.matches(row)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Or(nodes) => {
                for node in nodes {
                    if node.matches(row)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(node) => Ok(!node.matches(row)?),
            Self::Test(test) => test.matches(row),
        }
    }
}

impl Test {
    /// Whether a user passes.
    ///
    /// # Errors
    /// The row's own.
    pub fn matches<R: Row>(&self, row: &mut R) -> Result<bool, R::Error> {
        let predicate = &self.predicate;
        match self.field {
            Field::Column(attr) => Ok(predicate.test(row.cell(attr)?)),
            Field::Locked => Ok(predicate.test_int(row.locked()?.into())),
            Field::Group(group) => Ok(predicate.test_int(row.in_group(group)?.into())),
            Field::List(attr) => {
                let mut any = false;
                let present = row.each_value(attr, &mut |value| {
                    any = predicate.test(Some(value));
                    any
                })?;
                Ok(if present { any } else { predicate.test_absent() })
            }
            Field::GroupNames => {
                let mut any = false;
                let present = row.each_group(&mut |name| {
                    any = predicate.test_bytes(name.as_bytes());
                    any
                })?;
                Ok(if present { any } else { predicate.test_absent() })
            }
        }
    }
}

/// Why a text is no filter. Holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("filter, byte {position}: {fault}")]
pub struct InvalidFilter {
    /// Where, in bytes from 1.
    pub position: usize,
    /// What is wrong there.
    pub fault: FilterFault,
}

/// What is wrong in a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FilterFault {
    /// Longer than [`FILTER_MAX_BYTES`].
    #[error("longer than {FILTER_MAX_BYTES} bytes: pass long values with ARGS")]
    TooLong,
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// More than [`FILTER_MAX_TERMS`].
    #[error("more than {FILTER_MAX_TERMS} comparisons")]
    TooManyTerms,
    /// Deeper than [`FILTER_MAX_DEPTH`].
    #[error("parentheses deeper than {FILTER_MAX_DEPTH}")]
    TooDeep,
    /// A character that begins no word.
    #[error("a character that begins no word; text stands in double quotes")]
    Character,
    /// A string that does not end, or has a bad escape.
    #[error("not a JSON string")]
    String,
    /// A number that is none.
    #[error("not a number; text stands in double quotes")]
    Number,
    /// `$` without a number.
    #[error("$ wants the number of an argument, like $1")]
    Argument,
    /// More arguments named than given.
    #[error("there are {given} ARGS, counted from $1")]
    NoSuchArgument {
        /// How many there are.
        given: usize,
    },
    /// `attr[…]`.
    #[error("value paths in brackets are not supported; there are no complex attributes")]
    ValuePath,
    /// Something else than a comparison, `not (` or `(`.
    #[error("a comparison is wanted here: attribute, operator, value")]
    WantsTerm,
    /// Something else than an operator.
    #[error("an operator is wanted here: eq ne co sw ew gt ge lt le pr")]
    WantsOperator,
    /// Something else than a literal.
    #[error("a value is wanted here: \"text\", a number, true, false, null or $1")]
    WantsValue,
    /// `not` without parentheses.
    #[error("( is wanted after not")]
    WantsOpen,
    /// A parenthesis that is not closed.
    #[error(") is wanted here, or and, or or")]
    WantsClose,
    /// Something after a whole filter.
    #[error("and, or, or the end is wanted here")]
    WantsEnd,
    /// A name that the schema does not have.
    #[error("no attribute of that name in this pool")]
    UnknownAttribute,
    /// An operator that this attribute does not take.
    #[error("this attribute takes only {takes}")]
    Operator {
        /// Those that it takes.
        takes: &'static str,
    },
    /// A literal of another type than the attribute's.
    #[error("the value {0}")]
    Value(#[from] ValueFault),
    /// A sub that is none.
    #[error("the value wants a UUID")]
    NotUuid,
    /// A status that is none.
    #[error("a status is UNCONFIRMED, CONFIRMED, RESET_REQUIRED, FORCE_CHANGE_PASSWORD or EXTERNAL")]
    NotStatus,
    /// A group name that no group can have.
    #[error("a group's name has 1 to 128 characters")]
    NotGroup,
}

#[cfg(test)]
mod tests;
