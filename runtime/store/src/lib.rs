//! Keeps blobs, receipts and names of one home.
