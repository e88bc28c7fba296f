//! A peer: wires the planes, admits actions, keeps quotas.
