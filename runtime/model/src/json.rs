//! WIT values as JSON, at the edges where people and agents write them.
