//! What can be wrong with a dispatch file, in words.

use std::fmt;

use super::super::erlang::WrongTerm;
use super::super::rule::Place;

/// One thing wrong in a dispatch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatchProblem {
    pub place: Place,
    pub wrong: WrongDispatch,
}

/// What is wrong; displayed as what is wrong and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongDispatch {
    /// The text is no row of Erlang terms.
    Term(WrongTerm),
    /// Neither a rule nor a list of them.
    NotARule,
    /// A tuple that has not four parts.
    RuleSize,
    /// A name that is no atom.
    Name,
    /// A path that is neither a list nor a text.
    Path,
    /// A path that names a page: the site's database knows its path.
    PageName,
    /// `[a|b]`.
    ImproperList,
    /// An element that is none of the kinds there are.
    Element,
    NumberElement,
    /// Text that is not made of characters.
    Text,
    /// `{"id", "^[0-9]+$"}`: a variable's name that is no atom.
    VariableName,
    /// `{Var, {Module, Function}}` and other functions.
    Function,
    /// A regular expression that is no text.
    Pattern,
    /// A character above 255 in a regular expression.
    PatternCharacter,
    PatternOptions,
    /// An option of `re` that has no counterpart here.
    PatternOption,
    /// Options that are no list.
    Options,
    /// An `ssl` other than those there are.
    Ssl,
}

impl fmt::Display for WrongDispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term(wrong) => return wrong.fmt(f),
            Self::NotARule => "not a rule; write {Name, Path, Controller, Options}",
            Self::RuleSize => "a rule has four parts; write {Name, Path, Controller, Options}",
            Self::Name => "a rule's name is an atom; write such as home or 'my page'",
            Self::Path => "a rule's path is a list; write such as [\"page\", id], or [] for the home page",
            Self::PageName => {
                "only the site's database knows the path of this page; write the path itself, such as [\"about\"]"
            }
            Self::ImproperList => "this list does not end in a list; write a comma for the \"|\"",
            Self::Element => "no element of a path; write \"text\", a variable, '*', or {id, \"regular expression\"}",
            Self::NumberElement => "a number is no element of a path; write it in quotes",
            Self::Text => "not text in UTF-8; write a string",
            Self::VariableName => "a variable's name is an atom; write such as {id, \"^[0-9]+$\"}",
            Self::Function => {
                "a function decides about this element, and only the site can call it; write a regular expression that takes the same segments, or a plain variable and let the site answer"
            }
            Self::Pattern => "not a regular expression; write it as a string",
            Self::PatternCharacter => {
                "regular expressions look at bytes and this character is not one; write it in a binary as <<\"...\"/utf8>>"
            }
            Self::PatternOptions => "options of a regular expression are a list; write such as [caseless]",
            Self::PatternOption => {
                "this option has no counterpart; caseless, dotall, extended, ungreedy, anchored, no_auto_capture, global and capture are read; write the expression so that it needs no other"
            }
            Self::Options => "a rule's options are a list; write [] for none",
            Self::Ssl => "no such ssl; write {ssl, true}, {ssl, false}, {ssl, any} or ssl",
        })
    }
}

impl fmt::Display for DispatchProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column } = &self.place;
        write!(f, "{}:{line}:{column}: {}", file.display(), self.wrong)
    }
}

impl std::error::Error for DispatchProblem {}
