//! A fraud proof: one self-contained file by which anyone sees that a receipt is not what happens, trusting nobody.
//!
//! It is a CAR archive as a bundle is. Its root and first block is the verdict of whoever caught the lie; then follow
//! exactly the blocks of the receipt's [bundle](crate::bundle). The component alone may be left out, since its id is in
//! the receipt and many have it. The verdict is a claim: what proves is re-execution, which this crate does not do.

use crate::{
    Judgement, Signed, Verdict,
    bundle::{BlockKind, Blocks, BundleError, MAX_BUNDLE_BYTES, PartialBundle, write},
    id::{DAG_CBOR, cid_of},
    verdict::Divergence,
};

/// The largest proof that peers spread, in bytes: 8 MiB, without its component. A larger one goes from hand to hand as a
/// file.
pub const MAX_SPREAD_BYTES: usize = 8 << 20;

/// A receipt that diverged, with what is needed to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FraudProof {
    /// The claim: who says so, and where the receipt differs. The archive's root.
    pub verdict: Signed<Verdict>,
    /// The receipt and what it names; the component perhaps not.
    pub bundle: PartialBundle,
}

impl FraudProof {
    /// The archive's bytes: the verdict, then the blocks as [`Bundle::to_bytes`](crate::bundle::Bundle::to_bytes) has
    /// them, the component among them only where it is wanted and at hand.
    pub fn to_bytes(&self, with_component: bool) -> Vec<u8> {
        let verdict = self.verdict.bytes();
        let mut blocks = vec![(cid_of(DAG_CBOR, verdict), verdict)];
        let component = self.bundle.component.as_deref().filter(|_| with_component);
        blocks.extend(self.bundle.blocks(component));
        write(&blocks)
    }

    /// Reads a proof and checks all that can be checked without executing: as
    /// [`Bundle::from_bytes`](crate::bundle::Bundle::from_bytes), and that the verdict is signed by its verifier, says
    /// that the receipt diverged, and is about this receipt and its provider.
    ///
    /// Any change to any byte of a proof is refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(BundleError::TooLarge { actual: bytes.len() });
        }
        let mut blocks = Blocks::read(bytes)?;
        let verdict: Signed<Verdict> = Signed::verify(blocks.first()?).map_err(BundleError::Verdict)?;
        let said = verdict.payload();
        if !matches!(said.judgement, Judgement::Diverged(_)) {
            return Err(BundleError::NotDiverged);
        }
        let (kind, cid) = (BlockKind::Receipt, *said.receipt.cid());
        let receipt = blocks.get(&cid).ok_or(BundleError::Missing { kind, cid })?;
        blocks.pass(kind, &cid, &[(kind, cid)])?;
        let bundle = PartialBundle::read(&mut blocks, receipt, false)?;
        let provider = bundle.receipt.payload().iss;
        if provider != said.provider {
            let (verdict, receipt) = (Box::new(said.provider), Box::new(provider));
            return Err(BundleError::OtherProvider { verdict, receipt });
        }
        Ok(Self { verdict, bundle })
    }

    /// Where the verifier says that the receipt differs.
    pub fn claimed(&self) -> Option<&Divergence> {
        match &self.verdict.payload().judgement {
            Judgement::Diverged(divergence) => Some(divergence),
            _ => None,
        }
    }
}
