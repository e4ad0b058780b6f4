//! Every message.

#[derive(Clone, Debug)]
pub enum What {
    Syntax,
}
