//! What can be wrong with a key file.

use std::fmt;

/// Nothing of the file is used: a key that is left out would end the sessions it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFileProblem {
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    pub flaw: KeyFileFlaw,
}

/// See [`KeyFileProblem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileFlaw {
    /// There is no key in it.
    Empty,
    /// The line is not five words of the right form.
    Form,
    /// The line is of a later version of the program.
    Version,
    /// Two keys have one identifier.
    IdTwice,
    TooManyKeys,
}

impl fmt::Display for KeyFileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.flaw {
            KeyFileFlaw::Empty => "there is no key in it",
            KeyFileFlaw::Form => "this is no key",
            KeyFileFlaw::Version => "this key is of a later version of Portcullis",
            KeyFileFlaw::IdTwice => "the identifier of this key is that of another one",
            KeyFileFlaw::TooManyKeys => "there are more than 4096 keys",
        };
        match self.line {
            0 => f.write_str(what),
            line => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for KeyFileProblem {}
