//! `wasi:config`: the values the action carries. They stand in the receipt, so nothing of it is journalled.

use super::RealView;
use super::bindings::wasi::config::store;
use actum_model::Granted;

impl RealView<'_> {
    fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.real.granted.iter().filter_map(|granted| match granted {
            Granted::Config(config) => Some((config.key.as_str(), config.value.as_str())),
            _ => None,
        })
    }
}

impl store::Host for RealView<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.values().find(|(known, _)| *known == key).map(|(_, value)| value.to_owned())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.values().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }
}
