//! The notation in which a command's arguments are declared, and what follows from it: the arity
//! and the argument tree of COMMAND DOCS.
//!
//! `word` an argument · `WORD` a keyword · `WORD word` an argument behind a keyword · `[ ]` may be
//! left out · `( a | b )` one of them, or a group · `...` after an item: once or more.

/// One argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// What it is called, in lower case.
    pub name: String,
    /// What it looks like.
    pub kind: Kind,
    /// The keyword in front of it.
    pub token: Option<String>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
}

/// What an argument looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A number.
    Integer,
    /// A pool's name, by which requests are routed.
    Key,
    /// A keyword alone.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument>),
    /// These one after another.
    Block(Vec<Argument>),
}

/// Names whose arguments are numbers.
const INTEGERS: [&str; 12] =
    ["n", "seq", "ms", "version", "limit", "count", "job", "level", "index", "leaf", "slot", "bits"];

/// Reads a declaration.
///
/// # Panics
/// If the declaration is malformed; a test reads every one.
pub(crate) fn parse(text: &str) -> Vec<Argument> {
    let spaced: String = text
        .chars()
        .flat_map(|letter| match letter {
            '[' | ']' | '(' | ')' | '|' => vec![' ', letter, ' '],
            _ => vec![letter],
        })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let mut alternatives = sequence(&words, &mut at);
    assert!(at == words.len() && alternatives.len() == 1, "malformed syntax: {text}");
    alternatives.remove(0)
}

/// Reads alternatives, each a sequence, up to the closing bracket.
fn sequence(words: &[&str], at: &mut usize) -> Vec<Vec<Argument>> {
    let mut alternatives = vec![Vec::new()];
    while let Some(word) = words.get(*at) {
        let last = alternatives.len() - 1;
        match *word {
            "]" | ")" => break,
            "|" => {
                *at += 1;
                alternatives.push(Vec::new());
                continue;
            }
            "..." => {
                *at += 1;
                let repeated: &mut Argument = alternatives[last].last_mut().expect("`...` follows an item");
                repeated.multiple = true;
                continue;
            }
            "[" | "(" => {
                *at += 1;
                let mut group = grouped(sequence(words, at));
                assert!(matches!(words.get(*at), Some(&"]" | &")")), "a bracket is not closed");
                *at += 1;
                group.optional = *word == "[";
                alternatives[last].push(group);
            }
            _ => {
                *at += 1;
                let token = is_keyword(word).then(|| word.to_string());
                let argument = match (token, words.get(*at)) {
                    (Some(token), Some(next)) if is_name(next) => {
                        *at += 1;
                        Argument { token: Some(token), ..named(next) }
                    }
                    (Some(token), _) => Argument {
                        name: token.to_lowercase(),
                        kind: Kind::PureToken,
                        token: Some(token),
                        optional: false,
                        multiple: false,
                    },
                    (None, _) => named(word),
                };
                alternatives[last].push(argument);
            }
        }
    }
    alternatives
}

/// One argument that stands for a bracket's content.
fn grouped(mut alternatives: Vec<Vec<Argument>>) -> Argument {
    let block = |mut items: Vec<Argument>| {
        if items.len() == 1 {
            items.remove(0)
        } else {
            let name = items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>().join("-");
            Argument { name, kind: Kind::Block(items), token: None, optional: false, multiple: false }
        }
    };
    if alternatives.len() == 1 {
        return block(alternatives.remove(0));
    }
    let choices: Vec<Argument> = alternatives.into_iter().map(block).collect();
    let name = choices.iter().map(|item| item.name.as_str()).collect::<Vec<_>>().join("-or-");
    Argument { name, kind: Kind::OneOf(choices), token: None, optional: false, multiple: false }
}

fn named(word: &str) -> Argument {
    let kind = match word {
        "pool" => Kind::Key,
        _ if INTEGERS.contains(&word) => Kind::Integer,
        _ => Kind::Text,
    };
    Argument { name: word.to_string(), kind, token: None, optional: false, multiple: false }
}

fn is_keyword(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_lowercase())
}

/// How many words these arguments are at least, and at most where that is bounded.
fn widths(arguments: &[Argument]) -> (usize, Option<usize>) {
    arguments.iter().fold((0, Some(0)), |(least, most), argument| {
        let keyword = usize::from(argument.token.is_some());
        let (inner_least, inner_most) = match &argument.kind {
            Kind::PureToken => (0, Some(0)),
            Kind::Text | Kind::Integer | Kind::Key => (1, Some(1)),
            Kind::Block(items) => widths(items),
            Kind::OneOf(items) => {
                let each: Vec<_> = items.iter().map(|item| widths(std::slice::from_ref(item))).collect();
                let least = each.iter().map(|width| width.0).min().unwrap_or(0);
                let most = each.iter().map(|width| width.1).collect::<Option<Vec<_>>>();
                (least, most.and_then(|all| all.into_iter().max()))
            }
        };
        let least = if argument.optional { least } else { least + keyword + inner_least };
        let inner_most = inner_most.filter(|_| !argument.multiple);
        (least, most.zip(inner_most).map(|(most, inner)| most + keyword + inner))
    })
}

/// How many words a request has, with the command's own `names`: at least, and at most where that is
/// bounded.
pub(crate) fn words(names: usize, arguments: &[Argument]) -> (usize, Option<usize>) {
    let (least, most) = widths(arguments);
    (names + least, most.map(|most| names + most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_words_follows_from_the_syntax() {
        for (syntax, expected) in [
            ("", (1, Some(1))),
            ("pool", (2, Some(2))),
            ("pool user [MINSEQ n] [attr ...]", (3, None)),
            ("pool CONFIRM pool", (4, Some(4))),
            ("pool [SUB uuid] (attr value) ... [PASSWORD text | HASH phc]", (4, None)),
            ("pool user (PASSWORD text | HASH phc)", (5, Some(5))),
            ("(a | b c)", (2, Some(3))),
            ("[message]", (1, Some(2))),
        ] {
            assert_eq!(words(1, &parse(syntax)), expected, "{syntax}");
        }
    }

    #[test]
    fn the_tree_names_tokens_and_groups() {
        let tree = parse("pool [IF version] (attr value) ... [PASSWORD text | HASH phc]");
        assert_eq!(tree[0].kind, Kind::Key);
        assert_eq!((tree[1].token.as_deref(), tree[1].optional, &tree[1].kind), (Some("IF"), true, &Kind::Integer));
        assert!(tree[2].multiple && matches!(&tree[2].kind, Kind::Block(items) if items.len() == 2));
        assert!(tree[3].optional && matches!(&tree[3].kind, Kind::OneOf(items) if items.len() == 2));
    }
}
