//! The life of descriptors and the index that answers queries, as sans-I/O state.
