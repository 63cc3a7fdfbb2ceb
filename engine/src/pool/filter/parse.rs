//! From text to conditions, by recursive descent. `not` binds tightest, then `and`, then `or`.

use bytes::Bytes;

use super::bind::Binder;
use super::lex::{Lexer, Token};
use super::{FILTER_MAX_BYTES, FILTER_MAX_DEPTH, FILTER_MAX_TERMS, Filter, FilterFault, InvalidFilter, Node};
use crate::pool::schema::Schema;
use crate::pool::value::Input;

/// The operators of the grammar that take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Contains,
    StartsWith,
    EndsWith,
    Gt,
    Ge,
    Lt,
    Le,
}

/// What stands to the right of an operator.
pub(super) enum Literal {
    Null,
    Input(Input),
}

pub(super) fn parse(text: &[u8], args: &[Bytes], schema: &Schema) -> Result<Filter, InvalidFilter> {
    let fail = |position: usize, fault| InvalidFilter { position: position + 1, fault };
    if text.len() > FILTER_MAX_BYTES {
        return Err(fail(FILTER_MAX_BYTES, FilterFault::TooLong));
    }
    let text = std::str::from_utf8(text).map_err(|error| fail(error.valid_up_to(), FilterFault::NotUtf8))?;
    let mut parser =
        Parser { lexer: Lexer::new(text), at: 0, token: Token::End, args, terms: 0, binder: Binder::new(schema) };
    parser.advance()?;
    let root = parser.any(0)?;
    if parser.token != Token::End {
        return parser.fail(FilterFault::WantsEnd);
    }
    Ok(parser.binder.finish(root))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The word that is looked at, and where it begins.
    token: Token<'a>,
    at: usize,
    args: &'a [Bytes],
    terms: usize,
    binder: Binder<'a>,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Token<'a>, InvalidFilter> {
        let (at, token) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn fail<T>(&self, fault: FilterFault) -> Result<T, InvalidFilter> {
        Err(InvalidFilter { position: self.at + 1, fault })
    }

    fn at_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(here) if here.eq_ignore_ascii_case(word))
    }

    /// `all *("or" all)`
    fn any(&mut self, depth: usize) -> Result<Node, InvalidFilter> {
        let mut nodes = vec![self.all(depth)?];
        while self.at_word("or") {
            self.advance()?;
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Or))
    }

    /// `single *("and" single)`
    fn all(&mut self, depth: usize) -> Result<Node, InvalidFilter> {
        let mut nodes = vec![self.single(depth)?];
        while self.at_word("and") {
            self.advance()?;
            nodes.push(self.single(depth)?);
        }
        Ok(one_or(nodes, Node::And))
    }

    /// `["not"] "(" any ")"` or a comparison
    fn single(&mut self, depth: usize) -> Result<Node, InvalidFilter> {
        if self.at_word("not") {
            self.advance()?;
            if self.token != Token::Open {
                return self.fail(FilterFault::WantsOpen);
            }
            return self.single(depth).map(|node| Node::Not(Box::new(node)));
        }
        if self.token != Token::Open {
            return self.comparison();
        }
        if depth == FILTER_MAX_DEPTH {
            return self.fail(FilterFault::TooDeep);
        }
        self.advance()?;
        let node = self.any(depth + 1)?;
        if self.token != Token::Close {
            return self.fail(FilterFault::WantsClose);
        }
        self.advance()?;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, InvalidFilter> {
        let Token::Word(name) = self.token else {
            return self.fail(FilterFault::WantsTerm);
        };
        self.terms += 1;
        if self.terms > FILTER_MAX_TERMS {
            return self.fail(FilterFault::TooManyTerms);
        }
        let Some(subject) = self.binder.subject(name) else {
            return self.fail(FilterFault::UnknownAttribute);
        };
        self.advance()?;
        if self.at_word("pr") {
            self.advance()?;
            return Ok(Node::Test(subject.present()));
        }
        let operator_at = self.at;
        let Some(operator) = self.operator() else {
            return self.fail(FilterFault::WantsOperator);
        };
        self.advance()?;
        let literal_at = self.at;
        let literal = self.literal()?;
        self.binder.compare(&subject, operator, &literal).map_err(|fault| {
            let of_operator = matches!(fault, FilterFault::Operator { .. });
            InvalidFilter { position: 1 + if of_operator { operator_at } else { literal_at }, fault }
        })
    }

    fn operator(&self) -> Option<Operator> {
        const WORDS: [(&str, Operator); 9] = [
            ("eq", Operator::Eq),
            ("ne", Operator::Ne),
            ("co", Operator::Contains),
            ("sw", Operator::StartsWith),
            ("ew", Operator::EndsWith),
            ("gt", Operator::Gt),
            ("ge", Operator::Ge),
            ("lt", Operator::Lt),
            ("le", Operator::Le),
        ];
        WORDS.into_iter().find(|(word, _)| self.at_word(word)).map(|(_, operator)| operator)
    }

    fn literal(&mut self) -> Result<Literal, InvalidFilter> {
        let json = match &self.token {
            Token::Word(_) if self.at_word("null") => serde_json::Value::Null,
            Token::Word(_) if self.at_word("true") => true.into(),
            Token::Word(_) if self.at_word("false") => false.into(),
            Token::Number(digits) => match serde_json::from_str(digits) {
                Ok(number) => serde_json::Value::Number(number),
                Err(_) => return self.fail(FilterFault::Number),
            },
            Token::Text(text) => text.as_str().into(),
            Token::Argument(number) => {
                let argument = number.checked_sub(1).and_then(|at| self.args.get(at));
                let Some(argument) = argument else {
                    return self.fail(FilterFault::NoSuchArgument { given: self.args.len() });
                };
                let literal = Literal::Input(Input::Raw(argument.clone()));
                self.advance()?;
                return Ok(literal);
            }
            _ => return self.fail(FilterFault::WantsValue),
        };
        self.advance()?;
        Ok(if json.is_null() { Literal::Null } else { Literal::Input(Input::Json(json)) })
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}
