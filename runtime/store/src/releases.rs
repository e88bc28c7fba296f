//! Releases, found by id, by name and by component.

use crate::{Store, StoreError, db::envelope};
use actum_model::{
    CapabilityName, ComponentId, Release, ReleaseId, Signed, id::sha256, release::CHUNK_BYTES,
};
use rusqlite::{Params, params};
use semver::Version;

impl Store {
    /// Keeps a release. Keeping it again changes nothing.
    pub fn put_release(&self, release: &Signed<Release>) -> Result<(), StoreError> {
        let payload = release.payload();
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO releases (id, name, component, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                release.id().to_string(),
                payload.name.as_str(),
                payload.component.to_string(),
                release.bytes()
            ])
        })?;
        Ok(())
    }

    /// A release by its id.
    pub fn release(&self, id: &ReleaseId) -> Result<Option<Signed<Release>>, StoreError> {
        Ok(self.select_releases("WHERE id = ?1", [id.to_string()])?.pop())
    }

    /// Every release, the one kept last first.
    pub fn releases(&self) -> Result<Vec<Signed<Release>>, StoreError> {
        self.select_releases("ORDER BY n DESC", [])
    }

    /// Every release of that name, and of that version when given, by any author: highest version first, and among
    /// equals the one kept last first. Several authors may use one name; the caller says so rather than choose.
    pub fn find_release(
        &self,
        name: &CapabilityName,
        version: Option<&Version>,
    ) -> Result<Vec<Signed<Release>>, StoreError> {
        let mut found = self.select_releases("WHERE name = ?1 ORDER BY n DESC", [name.as_str()])?;
        found.retain(|r| version.is_none_or(|v| r.payload().version == *v));
        found.sort_by(|a, b| b.payload().version.cmp(&a.payload().version));
        Ok(found)
    }

    /// The release of a component. Where several releases name it, the one kept first: a later claim on the same
    /// bytes cannot displace it.
    pub fn release_of_component(&self, id: &ComponentId) -> Result<Option<Signed<Release>>, StoreError> {
        Ok(self.select_releases("WHERE component = ?1 ORDER BY n LIMIT 1", [id.to_string()])?.pop())
    }

    /// Every release that names a component, the one kept first first.
    pub fn releases_of_component(&self, id: &ComponentId) -> Result<Vec<Signed<Release>>, StoreError> {
        self.select_releases("WHERE component = ?1 ORDER BY n", [id.to_string()])
    }

    /// A chunk of a component as a stranger may have it: only where a release kept here names the component, and
    /// verified against that release's digest. `None` when there is no such release, component or chunk.
    ///
    /// Bytes that no release here bears out are [`StoreError::Corrupt`]. Any of several releases will do: a stranger's
    /// may lie about the digests, and does not keep the others' from being right.
    pub fn released_chunk(&self, id: &ComponentId, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let releases = self.releases_of_component(id)?;
        if releases.is_empty() {
            return Ok(None);
        }
        let Some(bytes) = self.component_chunk(id, index, CHUNK_BYTES)? else {
            return Ok(None);
        };
        let (digest, place) = (sha256(&bytes), index as usize);
        if releases.iter().any(|r| r.payload().chunks.get(place).is_some_and(|wanted| **wanted == digest)) {
            return Ok(Some(bytes));
        }
        Err(StoreError::Corrupt {
            what: "component",
            id: id.to_string(),
            why: format!("its chunk {index} has another digest than any release of it says"),
        })
    }

    fn select_releases(&self, rest: &str, params: impl Params) -> Result<Vec<Signed<Release>>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.read(|db| {
            db.prepare_cached(&format!("SELECT id, bytes FROM releases {rest}"))?
                .query_map(params, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter().map(|(id, bytes)| envelope("release", id, bytes)).collect()
    }
}
