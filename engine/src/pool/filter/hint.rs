//! Which index leads to the users that a filter can match.
//!
//! A hint may lead to users that do not match, never past one that does. It is taken from a single comparison,
//! or from the comparisons that are joined by `and` at the top.

use std::ops::Bound;

use stoa_format::{AttrId, Sub};

use super::predicate::{Order, Predicate, TextOp, TextTest};
use super::{Field, GroupRef, Node, Test};
use crate::pool::collation::Collation;
use crate::pool::schema::{Alias, Attribute, Schema};
use crate::pool::value::sortable;

/// An index look-up that finds every user that can match.
#[derive(Clone, PartialEq, Eq)]
pub enum Hint {
    /// This user.
    Sub(Sub),
    /// The holder of this key in the unique alias index.
    Alias {
        /// The alias.
        attr: AttrId,
        /// The value's key under its collation.
        key: Box<str>,
    },
    /// Those whose [`Attribute::order_key`] in the index in order of values starts with this.
    Prefix {
        /// The searchable attribute.
        attr: AttrId,
        /// What the key starts with.
        prefix: Box<[u8]>,
    },
    /// The members of this group.
    Member(GroupRef),
    /// Those whose [`Attribute::order_key`] in the index in order of values lies here.
    Range {
        /// The searchable attribute.
        attr: AttrId,
        /// The least key.
        from: Bound<Box<[u8]>>,
        /// The greatest key.
        to: Bound<Box<[u8]>>,
    },
}

impl std::fmt::Debug for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sub(_) => f.write_str("Sub"),
            Self::Alias { attr, .. } => write!(f, "Alias({attr})"),
            Self::Prefix { attr, .. } => write!(f, "Prefix({attr})"),
            Self::Member(group) => write!(f, "Member({})", group.0),
            Self::Range { attr, .. } => write!(f, "Range({attr})"),
        }
    }
}

/// The best hint of a filter.
pub(super) fn of(root: &Node, schema: &Schema) -> Option<Hint> {
    match root {
        Node::Test(test) => of_test(test, schema),
        Node::And(nodes) => nodes.iter().filter_map(|node| of(node, schema)).min_by_key(breadth),
        Node::Or(_) | Node::Not(_) => None,
    }
}

/// How many users a hint may lead to, as a rank; a longer prefix leads to fewer.
fn breadth(hint: &Hint) -> (u8, usize) {
    match hint {
        Hint::Sub(_) => (0, 0),
        Hint::Alias { .. } => (1, 0),
        Hint::Prefix { prefix, .. } => (2, usize::MAX - prefix.len()),
        Hint::Member(_) => (3, 0),
        Hint::Range { .. } => (4, 0),
    }
}

fn of_test(test: &Test, schema: &Schema) -> Option<Hint> {
    match (test.field, &test.predicate) {
        (Field::Group(group), Predicate::Int(is_member)) if is_member.test(1) => Some(Hint::Member(group)),
        (Field::Column(AttrId::SUB), Predicate::Bytes(sub)) if sub.order == Order::Eq => {
            sub.value.as_ref().try_into().ok().map(|bytes| Hint::Sub(Sub(bytes)))
        }
        (Field::Column(attr) | Field::List(attr), predicate) => {
            let attribute = schema.by_id(attr).filter(|attribute| !attribute.has_stale_keys())?;
            match predicate {
                Predicate::Text(test) => of_text(attribute, test),
                Predicate::Int(test) if attribute.searchable && !test.outside => Some(Hint::Range {
                    attr,
                    from: Bound::Included(sortable(test.min).into()),
                    to: Bound::Included(sortable(test.max).into()),
                }),
                _ => None,
            }
        }
        _ => None,
    }
}

fn of_text(attribute: &Attribute, test: &TextTest) -> Option<Hint> {
    let attr = attribute.id;
    let key = test.key();
    // The index of a verified alias holds owners only, so it does not lead to all who have the value.
    if test.op() == TextOp::Order(Order::Eq) && attribute.alias == Alias::Unique {
        return Some(Hint::Alias { attr, key: key.into() });
    }
    if !attribute.searchable {
        return None;
    }
    let bytes: Box<[u8]> = key.as_bytes().into();
    let range = |from, to| Some(Hint::Range { attr, from, to });
    match test.op() {
        TextOp::StartsWith => prefix_in_index(test).map(|prefix| Hint::Prefix { attr, prefix }),
        TextOp::Order(Order::Eq) => range(Bound::Included(bytes.clone()), Bound::Included(bytes)),
        TextOp::Order(Order::Gt) => range(Bound::Excluded(bytes), Bound::Unbounded),
        TextOp::Order(Order::Ge) => range(Bound::Included(bytes), Bound::Unbounded),
        TextOp::Order(Order::Lt) => range(Bound::Unbounded, Bound::Excluded(bytes)),
        TextOp::Order(Order::Le) => range(Bound::Unbounded, Bound::Included(bytes)),
        TextOp::Order(Order::Ne) | TextOp::Contains | TextOp::EndsWith => None,
    }
}

/// What every key in the index starts with whose value passes. The domain of an e-mail address stands there in
/// ASCII, of which the literal may be another spelling: only what is before it counts.
fn prefix_in_index(test: &TextTest) -> Option<Box<[u8]>> {
    if test.collation() != Collation::Email {
        return (!test.key().is_empty()).then(|| test.key().as_bytes().into());
    }
    let folded = test.folded();
    let local = folded.find('@').map_or(folded, |at| &folded[..=at]);
    (!local.is_empty()).then(|| local.as_bytes().into())
}
