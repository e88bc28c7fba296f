//! The kinds of id whose bytes are kept as blobs.

use actum_model::{BlobId, ComponentId, JournalId};

/// An id that names plain bytes by their digest. Sealed: envelopes are kept as rows, verified as what they are.
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

mod sealed {
    pub trait Sealed {}
}

macro_rules! content_id {
    ($id:ty, $kind:literal) => {
        impl sealed::Sealed for $id {}
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

content_id!(BlobId, "blob");
content_id!(ComponentId, "component");
content_id!(JournalId, "journal");
