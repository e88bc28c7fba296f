//! libFuzzer's entry point: the target named by `ACTUM_FUZZ`, for ever or as long as libFuzzer's own flags say.
#![no_main]

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn target() -> fn(&[u8]) {
    *TARGET.get_or_init(|| {
        let wanted = std::env::var("ACTUM_FUZZ").unwrap_or_default();
        let found = actum_fuzz::TARGETS.iter().find(|(name, _)| *name == wanted);
        let names: Vec<_> = actum_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
        found.unwrap_or_else(|| panic!("ACTUM_FUZZ must be one of {}", names.join(", "))).1
    })
}

// libFuzzer calls it by its name.
mod entry {
    libfuzzer_sys::fuzz_target!(|data: &[u8]| super::target()(data));
}
