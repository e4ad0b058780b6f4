//! What can be wrong with the text of Erlang terms, in words.

use std::fmt;

/// The first thing wrong in a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermError {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    pub wrong: WrongTerm,
}

/// What is wrong; displayed as what is wrong and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongTerm {
    /// A character that starts no term and continues none.
    Unexpected(char),
    /// The text ends where a term should start.
    NoTerm,
    /// The place is where it was opened.
    Unclosed(Opened),
    /// Two terms without a comma between them.
    NoComma,
    /// A comma with nothing behind it.
    TrailingComma,
    /// A map's key without its `=>`.
    NoArrow,
    /// A term that is not ended by a dot.
    NoDot,
    /// A dot that is not followed by a blank.
    DotWithoutBlank,
    Variable,
    Macro,
    /// `#name{…}`.
    Record,
    /// A word of the language, such as `end`, that is no atom.
    Reserved,
    /// A `fun` other than `fun module:name/1`.
    Function,
    AtomTooLong,
    Escape,
    /// A number that no character has.
    Character,
    Number,
    Base,
    /// Larger than a float can be.
    Float,
    /// A string's `"""` that is not alone on its line.
    TripleQuote,
    /// A line of a triple-quoted string that starts left of its closing quotes.
    Indentation,
    Sigil,
    /// A segment of a binary that does not fit its type.
    Segment,
    /// Deeper than [`super::NESTING_MAX`].
    Nesting,
    /// A comment says `coding: utf-8`, and this is not.
    NotUtf8,
}

/// What is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Tuple,
    List,
    Map,
    Binary,
    Parenthesis,
    String,
    Atom,
}

impl fmt::Display for WrongTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unexpected(found) => {
                return write!(f, "unexpected {found:?}; a term was expected to start or go on here");
            }
            Self::NoTerm => "the file ends where a term should start; complete it",
            Self::Unclosed(Opened::Tuple) => "this \"{\" is never closed; add its \"}\"",
            Self::Unclosed(Opened::List) => "this \"[\" is never closed; add its \"]\"",
            Self::Unclosed(Opened::Map) => "this \"#{\" is never closed; add its \"}\"",
            Self::Unclosed(Opened::Binary) => "this \"<<\" is never closed; add its \">>\"",
            Self::Unclosed(Opened::Parenthesis) => "this \"(\" is never closed; add its \")\"",
            Self::Unclosed(Opened::String) => "this string is never closed; add its closing quote",
            Self::Unclosed(Opened::Atom) => "this quoted atom is never closed; add its \"'\"",
            Self::NoComma => "a term follows another without a comma; put one between them",
            Self::TrailingComma => "nothing follows the comma; remove it",
            Self::NoArrow => "a key of a map needs \"=>\" and its value",
            Self::NoDot => "the term before this is not ended; end it with a dot and a new line",
            Self::DotWithoutBlank => {
                "a dot ends a term only before a blank; put one behind it, or quote the text"
            }
            Self::Variable => {
                "a variable has no value in a file; write an atom, in quotes if it starts so: 'Name'"
            }
            Self::Macro => "macros are not expanded in a file; write what it stands for",
            Self::Record => "records are not known in a file; write the tuple it stands for",
            Self::Reserved => {
                "this word is part of the language; write it in quotes, such as 'end', if an atom is meant"
            }
            Self::Function => "only \"fun module:name/1\" can stand in a file; name the function so",
            Self::AtomTooLong => "an atom has at most 255 characters; shorten it",
            Self::Escape => {
                "no such escape; write \"\\n\", \"\\x41\", \"\\x{20ac}\" or up to three octal digits, and \"\\\\\" for a backslash"
            }
            Self::Character => "no character has this number; write one up to 16#10ffff that is no surrogate",
            Self::Number => "not a number; write digits such as 1000, 1_000, 16#ff, 1.5 or 1.0e3",
            Self::Base => "a base is from 2 to 36, and its digits are below it",
            Self::Float => "too large for a float; write less than 1.8e308",
            Self::TripleQuote => "the text of a triple-quoted string starts on the line after its quotes",
            Self::Indentation => {
                "this line starts left of the string's closing quotes; indent it as far as they are"
            }
            Self::Sigil => "no such sigil; write ~\"text\", ~b, ~B, ~s or ~S",
            Self::Segment => {
                "this segment of a binary cannot be made; give a string, integer, float or binary a type and a size (at most 256 bits) that fit it"
            }
            Self::Nesting => "nested more than 128 deep; flatten it",
            Self::NotUtf8 => "not UTF-8, though the file says it is; save it so, or say \"coding: latin-1\"",
        };
        f.write_str(text)
    }
}

impl fmt::Display for TermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.wrong)
    }
}

impl std::error::Error for TermError {}
