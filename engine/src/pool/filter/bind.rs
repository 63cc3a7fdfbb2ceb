//! Binding names to columns, and literals to the types of their columns.

use std::sync::Arc;

use stoa_format::{AttrId, Sub};

use super::hint::{self, Hint};
use super::parse::{Literal, Operator};
use super::predicate::{BytesTest, IntTest, Order, Predicate, TextOp, TextTest};
use super::{Field, Filter, FilterFault, GroupRef, Node, Test};
use crate::pool::collation::Collation;
use crate::pool::names::{GroupName, Status};
use crate::pool::schema::{Attribute, Schema};
use crate::pool::value::{AttrType, CellValue, Input, Value};

/// What the left side of a comparison names.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// An attribute of the schema.
    Attribute(&'a Attribute),
    Sub,
    Status,
    Enabled,
    Locked,
    /// `created_at`, `updated_at`.
    Time(AttrId),
    Groups,
}

/// The operators that compare without looking inside.
const EQUALITY: FilterFault = FilterFault::Operator { takes: "eq, ne and pr" };
/// Those and the ordering ones.
const ORDERED: FilterFault = FilterFault::Operator { takes: "eq, ne, gt, ge, lt, le and pr" };
/// Those that groups take: names have no order worth asking for.
const MEMBERSHIP: FilterFault = FilterFault::Operator { takes: "eq, ne, co, sw, ew and pr" };

/// Binds comparisons to a schema and keeps account of what they name.
pub(super) struct Binder<'a> {
    schema: &'a Schema,
    attributes: Vec<Arc<str>>,
    groups: Vec<GroupName>,
}

impl<'a> Binder<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema, attributes: Vec::new(), groups: Vec::new() }
    }

    /// What `name` names, in either case; `None` if nothing.
    pub(super) fn subject(&mut self, name: &str) -> Option<Subject<'a>> {
        let name = name.to_ascii_lowercase();
        let subject = match name.as_str() {
            "sub" => Subject::Sub,
            "status" => Subject::Status,
            "enabled" => Subject::Enabled,
            "locked" => Subject::Locked,
            "created_at" => Subject::Time(AttrId::CREATED_AT),
            "updated_at" => Subject::Time(AttrId::UPDATED_AT),
            "groups" => Subject::Groups,
            _ => Subject::Attribute(self.schema.by_name(&name)?),
        };
        if !self.attributes.iter().any(|known| **known == *name) {
            self.attributes.push(name.into());
        }
        Some(subject)
    }

    /// The comparison of `subject` with a literal.
    pub(super) fn compare(
        &mut self,
        subject: &Subject<'_>,
        operator: Operator,
        literal: &Literal,
    ) -> Result<Node, FilterFault> {
        let input = match (literal, operator) {
            (Literal::Input(input), _) => input,
            (Literal::Null, Operator::Eq) => return Ok(Node::Not(Box::new(Node::Test(subject.present())))),
            (Literal::Null, Operator::Ne) => return Ok(Node::Test(subject.present())),
            (Literal::Null, _) => return Err(EQUALITY),
        };
        if let Subject::Groups = subject {
            return self.compare_groups(operator, input).map(Node::Test);
        }
        let predicate = match subject {
            Subject::Attribute(attribute) => compare_attribute(attribute, operator, input)?,
            Subject::Sub => {
                let text = text_of(input)?;
                let sub = Sub::parse(&text).ok_or(FilterFault::NotUuid)?;
                Predicate::Bytes(BytesTest { order: order_of(operator).ok_or(ORDERED)?, value: sub.0.into() })
            }
            Subject::Status => {
                let equal = equality_of(operator).ok_or(EQUALITY)?;
                let status = Status::parse(&text_of(input)?).map_err(|_| FilterFault::NotStatus)?;
                Predicate::Int(IntTest::equal(status.code(), equal))
            }
            Subject::Enabled | Subject::Locked => {
                let equal = equality_of(operator).ok_or(EQUALITY)?;
                Predicate::Int(IntTest::equal(int_of(AttrType::Boolean, input)?, equal))
            }
            Subject::Time(_) => int_test(AttrType::Timestamp, operator, input)?,
            Subject::Groups => return Err(MEMBERSHIP),
        };
        Ok(Node::Test(Test { field: subject.field(), predicate }))
    }

    fn compare_groups(&mut self, operator: Operator, input: &Input) -> Result<Test, FilterFault> {
        let text = text_of(input)?;
        if let Some(equal) = equality_of(operator) {
            let name = GroupName::parse(&text).map_err(|_| FilterFault::NotGroup)?;
            let known = self.groups.iter().position(|group| *group == name);
            let group = known.unwrap_or_else(|| {
                self.groups.push(name);
                self.groups.len() - 1
            });
            let predicate = Predicate::Int(IntTest::equal(1, equal));
            return Ok(Test { field: Field::Group(GroupRef(group)), predicate });
        }
        let op = part_of(operator).ok_or(MEMBERSHIP)?;
        Ok(Test { field: Field::GroupNames, predicate: Predicate::Text(TextTest::new(Collation::Exact, op, &text)) })
    }

    pub(super) fn finish(self, root: Node) -> Filter {
        let hint: Option<Hint> = hint::of(&root, self.schema);
        Filter { root, hint, attributes: self.attributes, groups: self.groups }
    }
}

impl Subject<'_> {
    /// `subject pr`
    pub(super) fn present(&self) -> Test {
        Test { field: self.field(), predicate: Predicate::Present }
    }

    fn field(&self) -> Field {
        match self {
            Self::Attribute(attribute) if attribute.multi => Field::List(attribute.id),
            Self::Attribute(attribute) => Field::Column(attribute.id),
            Self::Sub => Field::Column(AttrId::SUB),
            Self::Status => Field::Column(AttrId::STATUS),
            Self::Enabled => Field::Column(AttrId::ENABLED),
            Self::Time(attr) => Field::Column(*attr),
            Self::Locked => Field::Locked,
            Self::Groups => Field::GroupNames,
        }
    }
}

fn compare_attribute(attribute: &Attribute, operator: Operator, input: &Input) -> Result<Predicate, FilterFault> {
    match attribute.ty {
        AttrType::String => {
            let op = part_of(operator).or_else(|| order_of(operator).map(TextOp::Order));
            // Every operator is one or the other.
            let op = op.ok_or(ORDERED)?;
            Ok(Predicate::Text(TextTest::new(attribute.collation, op, &text_of(input)?)))
        }
        AttrType::Integer | AttrType::Timestamp => int_test(attribute.ty, operator, input),
        AttrType::Boolean => {
            let equal = equality_of(operator).ok_or(EQUALITY)?;
            Ok(Predicate::Int(IntTest::equal(int_of(attribute.ty, input)?, equal)))
        }
        AttrType::Json | AttrType::Bytes => {
            let equal = equality_of(operator).ok_or(EQUALITY)?;
            let mut value = Vec::new();
            Value::parse(attribute.ty, false, input, usize::MAX)?.encode(&mut value);
            let order = if equal { Order::Eq } else { Order::Ne };
            Ok(Predicate::Bytes(BytesTest { order, value: value.into() }))
        }
    }
}

fn int_test(ty: AttrType, operator: Operator, input: &Input) -> Result<Predicate, FilterFault> {
    let order = order_of(operator).ok_or(ORDERED)?;
    Ok(Predicate::Int(IntTest::new(order, int_of(ty, input)?)))
}

fn int_of(ty: AttrType, input: &Input) -> Result<i64, FilterFault> {
    match Value::parse(ty, false, input, usize::MAX)?.as_cell() {
        Some(CellValue::Int(value)) => Ok(value),
        _ => Err(FilterFault::WantsValue),
    }
}

fn text_of(input: &Input) -> Result<Box<str>, FilterFault> {
    use crate::pool::value::ValueFault::{NotString, NotUtf8};
    match input {
        Input::Raw(raw) => Ok(std::str::from_utf8(raw).map_err(|_| FilterFault::Value(NotUtf8))?.into()),
        Input::Json(json) => json.as_str().map(Box::from).ok_or(FilterFault::Value(NotString)),
    }
}

fn equality_of(operator: Operator) -> Option<bool> {
    match operator {
        Operator::Eq => Some(true),
        Operator::Ne => Some(false),
        _ => None,
    }
}

fn order_of(operator: Operator) -> Option<Order> {
    Some(match operator {
        Operator::Eq => Order::Eq,
        Operator::Ne => Order::Ne,
        Operator::Gt => Order::Gt,
        Operator::Ge => Order::Ge,
        Operator::Lt => Order::Lt,
        Operator::Le => Order::Le,
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => return None,
    })
}

fn part_of(operator: Operator) -> Option<TextOp> {
    match operator {
        Operator::Contains => Some(TextOp::Contains),
        Operator::StartsWith => Some(TextOp::StartsWith),
        Operator::EndsWith => Some(TextOp::EndsWith),
        _ => None,
    }
}
