//! What authors sign of the capabilities of a market, made once: providers describe these releases as a node does.

use actum_model::{
    ComponentId, Example, Function, Param, Release, SecretKey, Signed, WitType, release::chunk_digests,
};
use semver::Version;
use serde_bytes::ByteBuf;

/// The release of a capability, signed by its author; none where that is no name of a capability.
pub(super) fn release(name: &str, intent: &str, author: &SecretKey) -> Option<Signed<Release>> {
    // The component itself never runs here: its name stands for its bytes.
    let component = name.as_bytes();
    let function = Function {
        name: format!("actum:{name}/api@0.1.0#run").parse().ok()?,
        docs: format!("{intent}."),
        params: vec![Param { name: "input".to_owned(), ty: WitType::String }],
        result: Some(WitType::String),
    };
    let example = Example {
        function: function.name.clone(),
        args: ByteBuf::from("example"),
        output: ByteBuf::from("output"),
    };
    let release = Release {
        iss: author.did(),
        name: name.parse().ok()?,
        version: Version::new(0, 1, 0),
        intent: intent.to_owned(),
        tags: name.split('-').map(str::to_owned).collect(),
        component: ComponentId::of(component),
        component_bytes: component.len() as u64,
        chunks: chunk_digests(component),
        wit: ByteBuf::new(),
        functions: vec![function],
        permissions: Default::default(),
        examples: vec![example],
    };
    Some(Signed::sign(release, author))
}
