//! Verdicts over receipts and the choice of provider: pure policy.
