//! Where inside a value something is: a path kept on the stack, made into text only when there is an error to tell.

use std::fmt;

/// A place inside arguments or a result, as a chain of steps back to the root.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
    /// How many types lie around this place; 0 at the root.
    pub(crate) depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
    Inside,
}

impl<'a> Path<'a> {
    /// The start of a path: a parameter's name, or a word for the whole.
    pub(crate) fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name), depth: 0 }
    }

    /// Into a record's field, or the payload of a case.
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        self.child(Step::Name(name))
    }

    /// Into an element of a list or tuple.
    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        self.child(Step::Index(index))
    }

    /// Into an option, which adds nothing to the text.
    pub(crate) fn inside(&'a self) -> Path<'a> {
        self.child(Step::Inside)
    }

    fn child(&'a self, step: Step<'a>) -> Path<'a> {
        Path { parent: Some(self), step, depth: self.depth + 1 }
    }
}

/// As people write it: `options.items[3].name`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Name(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
            Step::Index(i) => write!(f, "[{i}]"),
            Step::Inside => Ok(()),
        }
    }
}

/// `text` in at most `max` characters, the rest as an ellipsis.
pub(crate) fn excerpt(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}
