//! JSON at the edges.
