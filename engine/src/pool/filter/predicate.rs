//! What must hold for one value, ready to be asked a million times.
//!
//! ASCII text, which is nearly all there is, is compared in place, without regard to ASCII case where the
//! collation folds it; only other text is brought to its key first.

use std::cmp::Ordering;

use crate::pool::collation::{Collation, DomainKeys, fold, split_email, with_folded};
use crate::pool::value::CellValue;

/// A condition on one value.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// There is a value.
    Present,
    /// On integers, booleans, times.
    Int(IntTest),
    /// On text.
    Text(TextTest),
    /// On bytes, JSON and subs.
    Bytes(BytesTest),
}

/// How a value must stand to the literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operators of the grammar")]
pub enum Order {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Order {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
        }
    }
}

impl Predicate {
    /// Whether a cell passes; `None` is an absent one.
    pub fn test(&self, cell: Option<CellValue<'_>>) -> bool {
        match cell {
            None => self.test_absent(),
            Some(CellValue::Int(value)) => self.test_int(value),
            Some(CellValue::Bytes(raw)) => self.test_bytes(raw),
        }
    }

    /// Whether an absent value passes: only `ne` lets it.
    pub fn test_absent(&self) -> bool {
        match self {
            Self::Present => false,
            Self::Int(test) => test.outside,
            Self::Text(test) => test.op == TextOp::Order(Order::Ne),
            Self::Bytes(test) => test.order == Order::Ne,
        }
    }

    /// Whether an integer cell passes.
    #[inline]
    pub fn test_int(&self, value: i64) -> bool {
        match self {
            Self::Int(test) => test.test(value),
            Self::Present => true,
            Self::Text(_) | Self::Bytes(_) => false,
        }
    }

    /// Whether a cell of bytes passes.
    #[inline]
    pub fn test_bytes(&self, raw: &[u8]) -> bool {
        match self {
            Self::Text(test) => test.test(raw),
            Self::Bytes(test) => test.test(raw),
            Self::Present => true,
            Self::Int(_) => false,
        }
    }
}

/// A condition on an integer: that it is in a range, or (`ne`) outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntTest {
    /// The least value in the range.
    pub min: i64,
    /// The greatest value in the range; below `min` if no value passes.
    pub max: i64,
    /// Whether the value must be outside of the range.
    pub outside: bool,
}

impl IntTest {
    /// That a value stands so to `literal`.
    pub fn new(order: Order, literal: i64) -> Self {
        let none = (1, 0);
        let (min, max) = match order {
            Order::Eq | Order::Ne => (literal, literal),
            Order::Gt => literal.checked_add(1).map_or(none, |min| (min, i64::MAX)),
            Order::Ge => (literal, i64::MAX),
            Order::Lt => literal.checked_sub(1).map_or(none, |max| (i64::MIN, max)),
            Order::Le => (i64::MIN, literal),
        };
        Self { min, max, outside: order == Order::Ne }
    }

    /// That a value is `literal`, or is not.
    pub fn equal(literal: i64, equal: bool) -> Self {
        Self::new(if equal { Order::Eq } else { Order::Ne }, literal)
    }

    /// Whether `value` passes.
    #[inline]
    pub fn test(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value) != self.outside
    }
}

/// A condition on bytes, compared as they are.
#[derive(Clone)]
pub struct BytesTest {
    /// How a value must stand to the literal.
    pub order: Order,
    /// The literal, as a cell holds it.
    pub value: Box<[u8]>,
}

impl BytesTest {
    /// Whether `raw` passes.
    pub fn test(&self, raw: &[u8]) -> bool {
        self.order.holds(raw.cmp(&self.value))
    }
}

/// Literals are sent values: not even debug output shows them.
impl std::fmt::Debug for BytesTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BytesTest({:?}, {} bytes)", self.order, self.value.len())
    }
}

/// An operator on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOp {
    /// In the order of collated text.
    Order(Order),
    /// The literal stands somewhere in the value.
    Contains,
    /// The value starts with the literal.
    StartsWith,
    /// The value ends with the literal.
    EndsWith,
}

/// A condition on text under a collation.
#[derive(Clone)]
pub struct TextTest {
    collation: Collation,
    op: TextOp,
    /// The literal's key.
    key: Box<str>,
    /// For parts of e-mail addresses: the literal folded but not brought to ASCII, where that is another text.
    folded: Option<Box<str>>,
}

impl std::fmt::Debug for TextTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextTest({:?}, {:?}, {} bytes)", self.collation, self.op, self.key.len())
    }
}

impl TextTest {
    /// That a text stands so to `literal` under `collation`.
    pub fn new(collation: Collation, op: TextOp, literal: &str) -> Self {
        let key = collation.key(literal);
        let in_part = collation == Collation::Email && !matches!(op, TextOp::Order(_));
        let folded = in_part.then(|| fold(literal)).filter(|folded| *folded != key).map(|text| text.into());
        Self { collation, op, key: key.into(), folded }
    }

    /// The collation under which texts are compared.
    pub fn collation(&self) -> Collation {
        self.collation
    }

    /// The operator.
    pub fn op(&self) -> TextOp {
        self.op
    }

    /// The literal's key under the collation.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The literal as typed, folded but not brought to ASCII; its key, but for parts of e-mail addresses.
    pub(super) fn folded(&self) -> &str {
        self.folded.as_ref().unwrap_or(&self.key)
    }

    /// Whether `raw` passes; what is not UTF-8 never does, except that it is `ne` to everything.
    pub fn test(&self, raw: &[u8]) -> bool {
        self.test_knowing(raw, &mut DomainKeys::default())
    }

    /// The same for one value after the other.
    pub(super) fn test_knowing(&self, raw: &[u8], domains: &mut DomainKeys) -> bool {
        if self.collation == Collation::Exact {
            return holds(self.op, raw, self.key.as_bytes());
        }
        if self.op == TextOp::Order(Order::Eq) && begins_otherwise(raw, self.key.as_bytes()) {
            return false;
        }
        if raw.is_ascii() {
            return self.patterns().any(|pattern| holds_ascii(self.op, raw, pattern));
        }
        std::str::from_utf8(raw).map_or(self.op == TextOp::Order(Order::Ne), |text| self.test_collated(text, domains))
    }

    /// The one text in lower case that ASCII texts are compared with; `None` if there are two.
    pub(super) fn single_pattern(&self) -> Option<&[u8]> {
        self.folded.is_none().then_some(self.key.as_bytes())
    }

    /// The long way, for text that is not ASCII.
    fn test_collated(&self, text: &str, domains: &mut DomainKeys) -> bool {
        let folded_holds = |literal: &str| with_folded(text, |folded| holds(self.op, folded, literal.as_bytes()));
        let parts = if self.collation == Collation::Email { split_email(text) } else { None };
        // Folded before an ASCII domain, which is only brought to lower case, an address is its own key.
        let Some((local, domain)) = parts.filter(|(_, domain)| !domain.is_ascii()) else {
            let in_part = !matches!(self.op, TextOp::Order(_));
            return folded_holds(&self.key) || in_part && self.folded.as_ref().is_some_and(|it| folded_holds(it));
        };
        let key_holds = |key: String| holds(self.op, key.as_bytes(), self.key.as_bytes());
        match self.op {
            TextOp::Order(_) => key_holds(domains.email_key(local, domain)),
            _ => folded_holds(self.folded()) || key_holds(domains.email_key(local, domain)),
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.key.as_bytes()).chain(self.folded.iter().map(|folded| folded.as_bytes()))
    }
}

/// Whether a look at the first byte settles that `raw`'s key is not `key`.
///
/// An ASCII character that another one follows is its own key, in lower case; what else may follow could
/// compose with it.
fn begins_otherwise(raw: &[u8], key: &[u8]) -> bool {
    match (raw, key) {
        ([first, second, ..], [expected, ..]) => {
            first.is_ascii() && second.is_ascii() && first.to_ascii_lowercase() != *expected
        }
        _ => false,
    }
}

/// The operator on texts that are keys both.
pub(super) fn holds(op: TextOp, text: &[u8], key: &[u8]) -> bool {
    match op {
        TextOp::Order(Order::Eq) => text == key,
        TextOp::Order(order) => order.holds(text.cmp(key)),
        TextOp::StartsWith => text.starts_with(key),
        TextOp::EndsWith => text.ends_with(key),
        TextOp::Contains => memchr::memmem::find(text, key).is_some(),
    }
}

/// The operator on ASCII text whose key is its lower case.
fn holds_ascii(op: TextOp, text: &[u8], key: &[u8]) -> bool {
    let same = |part: Option<&[u8]>| part.is_some_and(|part| part.eq_ignore_ascii_case(key));
    match op {
        TextOp::Order(Order::Eq) => text.eq_ignore_ascii_case(key),
        TextOp::Order(order) => order.holds(text.iter().map(u8::to_ascii_lowercase).cmp(key.iter().copied())),
        TextOp::StartsWith => same(text.get(..key.len())),
        TextOp::EndsWith => same(text.len().checked_sub(key.len()).map(|at| &text[at..])),
        TextOp::Contains => {
            let Some(&first) = key.first() else { return true };
            let Some(last_start) = text.len().checked_sub(key.len()) else { return false };
            memchr::memchr2_iter(first, first.to_ascii_uppercase(), &text[..=last_start])
                .any(|at| text[at..at + key.len()].eq_ignore_ascii_case(key))
        }
    }
}
