//! Header fields: names in lower case, values without line ends, nothing that concerns the connection.

use super::super::RealView;
use super::super::bindings::wasi::http::types::{self, HeaderError};
use super::Written;
use crate::error::Stop;
use serde_bytes::ByteBuf;
use std::sync::Arc;
use wasmtime::component::Resource;

/// The most bytes of one request's fields, each counted with [`FIELD_OVERHEAD`]: 64 KiB.
pub(super) const MAX_SECTION_BYTES: usize = 64 << 10;
/// What a field weighs besides name and value, as in HTTP/2 (RFC 9113, section 6.5.2).
pub(super) const FIELD_OVERHEAD: usize = 32;

/// Fields that the host writes itself: they concern the connection, not the request.
pub(super) const FORBIDDEN: [&str; 9] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A name in lower case, and a value.
pub(super) type Field = (String, ByteBuf);

/// A collection of fields, shared until one of its holders changes it.
#[derive(Clone, Debug, Default)]
#[expect(unreachable_pub, reason = "the generated interface names it in public")]
pub struct Fields {
    entries: Arc<Vec<Field>>,
    immutable: bool,
}

fn weight(field: &Field) -> usize {
    field.0.len().saturating_add(field.1.len()).saturating_add(FIELD_OVERHEAD)
}

/// A field's name in lower case.
fn name(text: &str) -> Result<String, HeaderError> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(token) {
        return Err(HeaderError::InvalidSyntax);
    }
    Ok(text.to_ascii_lowercase())
}

fn field(text: &str, value: Vec<u8>) -> Result<Field, HeaderError> {
    let name = name(text)?;
    if name.starts_with("proxy-") || FORBIDDEN.contains(&name.as_str()) {
        return Err(HeaderError::Forbidden);
    }
    if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
        return Err(HeaderError::InvalidSyntax);
    }
    Ok((name, ByteBuf::from(value)))
}

impl Fields {
    /// Fields that nobody changes.
    pub(super) fn fixed(entries: Vec<Field>) -> Self {
        Self { entries: Arc::new(entries), immutable: true }
    }

    /// The same, for one who may not change them.
    pub(super) fn view(&self) -> Self {
        Self { entries: Arc::clone(&self.entries), immutable: true }
    }

    pub(super) fn entries(&self) -> &[Field] {
        &self.entries
    }

    /// The values of a name in lower case.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    fn weight(&self) -> usize {
        self.entries.iter().map(weight).sum()
    }

    /// The entries, to change them: counted as written where that makes a copy.
    fn edit(&mut self, written: &Written) -> Result<&mut Vec<Field>, Stop> {
        if Arc::get_mut(&mut self.entries).is_none() {
            written.take(self.weight())?;
        }
        Ok(Arc::make_mut(&mut self.entries))
    }

    /// Takes more fields, all or none.
    fn add(&mut self, more: Vec<Field>, written: &Written) -> Result<Result<(), HeaderError>, Stop> {
        let size: usize = more.iter().map(weight).sum();
        if self.weight().saturating_add(size) > MAX_SECTION_BYTES {
            return Ok(Err(HeaderError::Forbidden));
        }
        written.take(size)?;
        self.edit(written)?.extend(more);
        Ok(Ok(()))
    }

    fn remove(&mut self, name: &str, written: &Written) -> Result<(), Stop> {
        if self.values(name).next().is_some() {
            self.edit(written)?.retain(|(known, _)| known != name);
        }
        Ok(())
    }
}

type Answer<T> = wasmtime::Result<Result<T, HeaderError>>;

impl RealView<'_> {
    /// The fields, with the price of looking through them.
    fn look(&mut self, it: &Resource<Fields>) -> wasmtime::Result<&Fields> {
        let fields = self.table.get(it)?;
        self.real.tape.owe(fields.weight());
        Ok(fields)
    }

    /// The fields, to change them, unless they are another's.
    fn editable(&mut self, it: &Resource<Fields>) -> Answer<(&mut Fields, &Written)> {
        let fields = self.table.get_mut(it)?;
        self.real.tape.owe(fields.weight());
        Ok(if fields.immutable { Err(HeaderError::Immutable) } else { Ok((fields, &self.real.written)) })
    }
}

/// Ends a host function early with the guest's own mistake.
macro_rules! or_tell {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}

impl types::HostFields for RealView<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<Fields>> {
        Ok(self.table.push(Fields::default())?)
    }

    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> Answer<Resource<Fields>> {
        let read: Result<Vec<_>, _> = entries.into_iter().map(|(name, value)| field(&name, value)).collect();
        let mut fields = Fields::default();
        or_tell!(fields.add(or_tell!(read), &self.real.written)?);
        Ok(Ok(self.table.push(fields)?))
    }

    fn get(&mut self, it: Resource<Fields>, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        Ok(self.look(&it)?.values(&name.to_ascii_lowercase()).map(<[u8]>::to_vec).collect())
    }

    fn has(&mut self, it: Resource<Fields>, name: String) -> wasmtime::Result<bool> {
        Ok(self.look(&it)?.values(&name.to_ascii_lowercase()).next().is_some())
    }

    fn set(&mut self, it: Resource<Fields>, key: String, values: Vec<Vec<u8>>) -> Answer<()> {
        let (fields, written) = or_tell!(self.editable(&it)?);
        let key = or_tell!(name(&key));
        let read: Result<Vec<_>, _> = values.into_iter().map(|value| field(&key, value)).collect();
        let read = or_tell!(read);
        let mut changed = fields.clone();
        changed.remove(&key, written)?;
        or_tell!(changed.add(read, written)?);
        *fields = changed;
        Ok(Ok(()))
    }

    fn delete(&mut self, it: Resource<Fields>, key: String) -> Answer<()> {
        let (fields, written) = or_tell!(self.editable(&it)?);
        fields.remove(&or_tell!(name(&key)), written)?;
        Ok(Ok(()))
    }

    fn append(&mut self, it: Resource<Fields>, name: String, value: Vec<u8>) -> Answer<()> {
        let (fields, written) = or_tell!(self.editable(&it)?);
        Ok(fields.add(vec![or_tell!(field(&name, value))], written)?)
    }

    fn entries(&mut self, it: Resource<Fields>) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        Ok(self.look(&it)?.entries().iter().map(|(name, value)| (name.clone(), value.to_vec())).collect())
    }

    fn clone(&mut self, it: Resource<Fields>) -> wasmtime::Result<Resource<Fields>> {
        let entries = Arc::clone(&self.table.get(&it)?.entries);
        Ok(self.table.push(Fields { entries, immutable: false })?)
    }

    fn drop(&mut self, it: Resource<Fields>) -> wasmtime::Result<()> {
        self.table.delete(it)?;
        Ok(())
    }
}
