//! What `calibrate` and `crosscheck` set up: a temporary directory, bundled capabilities published in it, and homes made alike.

use crate::error::{CliError, Kind};
use actum_capabilities::Capability;
use actum_model::{Release, Signed};
use actum_node::{
    Home, clock,
    publish::{Described, publish},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A capability, published.
pub(super) struct Published {
    pub(super) component: &'static [u8],
    pub(super) release: Signed<Release>,
}

/// A temporary directory, removed when dropped.
pub(super) struct Stage {
    root: PathBuf,
    author: Home,
}

impl Stage {
    /// Makes the directory, and in it the home of whoever publishes.
    pub(super) fn open(purpose: &str) -> Result<Self, CliError> {
        let suffix: [u8; 6] = clock::random();
        let suffix = data_encoding::HEXLOWER.encode(&suffix);
        let root = std::env::temp_dir().join(format!("actum-{purpose}-{suffix}"));
        let author = Home::open(&root.join("author"))?;
        Ok(Self { root, author })
    }

    /// Who publishes.
    pub(super) fn author(&self) -> &Home {
        &self.author
    }

    /// Publishes a bundled capability.
    pub(super) fn publish(&self, name: &str) -> Result<Published, CliError> {
        let capability = actum_capabilities::find(name);
        let capability: &Capability = capability
            .ok_or_else(|| CliError::new(Kind::Internal, format!("no capability {name} is built in")))?;
        let dir = format!("published/capabilities/{name}");
        for (file, text) in capability.wit {
            self.write(&format!("published/wit/{name}/{file}"), text.as_bytes())?;
        }
        let manifest = self.write(&format!("{dir}/actum.toml"), capability.manifest.as_bytes())?;
        let component = self.write(&format!("{dir}/{name}.wasm"), capability.component)?;
        let described = Described { manifest: Some(manifest), ..Described::default() };
        let release = publish(&self.author, &component, described)?;
        Ok(Published { component: capability.component, release })
    }

    /// Where the home of this name is.
    pub(super) fn home_path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A home with these capabilities and what they were compiled to, so that no peer takes time for that.
    pub(super) fn home(&self, name: &str, published: &[&Published]) -> Result<Home, CliError> {
        let home = Home::open(&self.home_path(name))?;
        for Published { component, release } in published {
            home.store().put_component(component)?;
            home.store().put_release(release)?;
        }
        home.compiled_as(&self.author)?;
        Ok(home)
    }

    fn write(&self, file: &str, content: &[u8]) -> Result<PathBuf, CliError> {
        let path = self.root.join(file);
        let parent = path.parent().map_or(Ok(()), fs::create_dir_all);
        parent.and_then(|()| fs::write(&path, content)).map_err(|e| failed(&path, &e))?;
        Ok(path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A file or directory that could not be written.
pub(super) fn failed(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Kind::Internal, format!("cannot write {}: {error}", path.display()))
}
