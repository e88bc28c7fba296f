//! The kinds of id that name plain bytes, and where the bytes of each are kept.

use actum_model::{BlobId, ComponentId, InvocationId, JournalId};

/// An id that names plain bytes by their digest. Sealed: envelopes are kept as rows, verified as what they are; only an
/// invocation is kept like the other evidence of its receipt, and verified by who reads it.
pub trait ContentId: Copy + sealed::Sealed {
    /// What to call it in an error.
    const KIND: &'static str;
    /// The id of these bytes.
    fn of(bytes: &[u8]) -> Self;
    /// Whether these are the bytes it names.
    fn names(&self, bytes: &[u8]) -> bool;
    /// The CID as text.
    fn text(&self) -> String;
}

pub(crate) use sealed::Shelf;

mod sealed {
    /// Where a kind of content is kept. Ids of different kinds may be equal as CIDs, and components are given to
    /// strangers while arguments and outputs are not: so they share no place, and an id finds only its own kind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Shelf {
        /// Arguments, outputs, stdio, journals, invocations: small ones are rows.
        Blobs,
        /// Components: always files, so that a part can be read without the rest.
        Components,
    }

    pub trait Sealed {
        const SHELF: Shelf;
    }
}

macro_rules! content_id {
    ($id:ty, $kind:literal, $shelf:ident) => {
        impl sealed::Sealed for $id {
            const SHELF: Shelf = Shelf::$shelf;
        }
        impl ContentId for $id {
            const KIND: &'static str = $kind;
            fn of(bytes: &[u8]) -> Self {
                <$id>::of(bytes)
            }
            fn names(&self, bytes: &[u8]) -> bool {
                <$id>::names(self, bytes)
            }
            fn text(&self) -> String {
                self.to_string()
            }
        }
    };
}

content_id!(BlobId, "blob", Blobs);
content_id!(ComponentId, "component", Components);
content_id!(JournalId, "journal", Blobs);
content_id!(InvocationId, "invocation", Blobs);
