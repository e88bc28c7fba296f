//! Scenarios as they stand in a file: what is unknown, said twice, or named and not there is an error that says where.

use super::{
    Axis, MAX_NAME_BYTES, Place, Plot, Scenario, ScenarioError, Seeds, Series, Setting, Whose, X, line_of,
    settings,
};
use crate::{policies::Policies, shape::Expect};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::{Spanned, Table, Value};

/// Parameters, and where each of them stands.
type Keys = BTreeMap<Spanned<String>, Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    question: String,
    #[serde(default)]
    paper: Keys,
    #[serde(default)]
    ours: Keys,
    x: FileAxis,
    series: Vec<FileSeries>,
    #[serde(default)]
    plot: Vec<Plot>,
    #[serde(default)]
    expect: Vec<Expect>,
    seeds: Seeds,
    #[serde(default)]
    quick: Keys,
    #[serde(default)]
    policies: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAxis {
    parameter: Spanned<String>,
    label: Option<String>,
    values: Vec<Value>,
    of: Whose,
    #[serde(default)]
    log: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSeries {
    name: String,
    of: Whose,
    #[serde(default)]
    set: Keys,
}

/// A text and what its file is called.
struct Text<'a> {
    text: &'a str,
    file: &'a str,
}

pub(super) fn read(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
    let form = |error| ScenarioError::Form { file: file.to_owned(), error };
    let read: File = toml::from_str(text).map_err(form)?;
    let text = Text { text, file };
    let policies = Policies::checked_in().and_then(|policies| policies.with(read.policies));
    let policies = policies.map_err(|error| ScenarioError::Policy { file: file.to_owned(), error })?;
    text.name("name", &read.name)?;
    let paper = text.settings("[paper]", read.paper)?;
    let ours = text.settings("[ours]", read.ours)?;
    if let Some(both) = ours.iter().find(|ours| paper.iter().any(|paper| overlap(&paper.key, &ours.key))) {
        return Err(ScenarioError::BothSides { place: text.place(both.line), key: both.key.clone() });
    }
    let mut quick_keys = read.quick;
    let values = quick_keys.iter().find(|(key, _)| key.get_ref() == "values").map(|(key, _)| key.clone());
    let values = values.and_then(|key| quick_keys.remove(&key));
    let quick = text.settings("[quick]", quick_keys)?;
    let x = text.axis(read.x, values)?;
    let mut series = Vec::new();
    for line in read.series {
        text.series_name(&line.name, &series)?;
        let set = text.settings("a series", line.set)?;
        series.push(Series { name: line.name, of: line.of, set });
    }
    if series.is_empty() {
        return Err(text.wrong("it has no [[series]]".to_owned()));
    }
    let sets = series.iter().map(|s| ("a series", &s.set));
    for (table, settings) in
        [("[paper]", &paper), ("[ours]", &ours), ("[quick]", &quick)].into_iter().chain(sets)
    {
        // A level's or a table's other keys may be set: what goes along the axis is one of them.
        let on_axis = settings.iter().find(|s| !x.parameter.contains('.') && overlap(&x.parameter, &s.key));
        if let Some(setting) = on_axis {
            let (place, key) = (text.place(setting.line), setting.key.clone());
            return Err(ScenarioError::OnTheAxis { place, key, table: table.to_owned() });
        }
    }
    let names: BTreeSet<&str> = series.iter().map(|s| s.name.as_str()).collect();
    for expect in &read.expect {
        if let Some(name) = expect.series().into_iter().find(|name| !names.contains(name)) {
            let names: Vec<_> = names.into_iter().collect();
            let what = format!("[[expect]] names series {name:?}; there are {}", names.join(", "));
            return Err(text.wrong(what));
        }
    }
    let mut plotted = BTreeSet::new();
    if let Some(twice) = read.plot.iter().find(|plot| !plotted.insert(plot.figure.as_str())) {
        return Err(text.wrong(format!("two [[plot]] are of {:?}", twice.figure)));
    }
    Ok(Scenario {
        name: read.name,
        title: read.title,
        question: read.question,
        paper,
        ours,
        x,
        series,
        plots: read.plot,
        expects: read.expect,
        seeds: read.seeds,
        quick,
        policies,
        file: file.to_owned(),
    })
}

/// Whether two keys set the same.
fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (settings::keys_of(a), settings::keys_of(b));
    a.iter().any(|key| b.contains(key))
}

impl Text<'_> {
    fn place(&self, line: usize) -> Place {
        Place { file: self.file.to_owned(), line }
    }

    fn wrong(&self, what: String) -> ScenarioError {
        ScenarioError::Wrong { file: self.file.to_owned(), what }
    }

    fn name(&self, what: &str, name: &str) -> Result<(), ScenarioError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(());
        }
        Err(self.wrong(format!(
            "{what} is {name:?}; 1 to {MAX_NAME_BYTES} lower-case letters, digits and hyphens are allowed"
        )))
    }

    fn series_name(&self, name: &str, before: &[Series]) -> Result<(), ScenarioError> {
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(self.wrong(format!(
                "a series is called {name:?}; 1 to {MAX_NAME_BYTES} bytes without control characters are allowed"
            )));
        }
        if before.iter().any(|s| s.name == name) {
            return Err(self.wrong(format!("two series are called {name:?}")));
        }
        Ok(())
    }

    fn settings(&self, table: &str, keys: Keys) -> Result<Vec<Setting>, ScenarioError> {
        let mut settings = Vec::new();
        for (key, value) in keys {
            let line = line_of(self.text, &key);
            self.known(key.get_ref(), table, line)?;
            let why = comment(self.text, line);
            settings.push(Setting { key: key.into_inner(), value, why, line });
        }
        // As they stand in the file.
        settings.sort_by_key(|s| s.line);
        Ok(settings)
    }

    fn known(&self, key: &str, table: &str, line: usize) -> Result<(), ScenarioError> {
        if settings::is_known(key) {
            return Ok(());
        }
        Err(ScenarioError::UnknownKey {
            place: self.place(line),
            key: key.to_owned(),
            table: table.to_owned(),
            known: settings::known(),
        })
    }

    fn axis(&self, axis: FileAxis, quick: Option<Value>) -> Result<Axis, ScenarioError> {
        self.known(axis.parameter.get_ref(), "[x]", line_of(self.text, &axis.parameter))?;
        let quick = match quick {
            None => axis.values.clone(),
            Some(Value::Array(values)) => values,
            Some(_) => return Err(self.wrong("values in [quick] is no list".to_owned())),
        };
        let parameter = axis.parameter.into_inner();
        Ok(Axis {
            label: axis.label.unwrap_or_else(|| parameter.clone()),
            parameter,
            values: self.xs(axis.values)?,
            quick: self.xs(quick)?,
            of: axis.of,
            log: axis.log,
        })
    }

    fn xs(&self, values: Vec<Value>) -> Result<Vec<X>, ScenarioError> {
        let xs: Vec<X> = values.into_iter().enumerate().map(|(place, value)| X::of(value, place)).collect();
        if xs.is_empty() {
            return Err(self.wrong("nothing goes along the axis".to_owned()));
        }
        let rises = xs.is_sorted_by(|a, b| a.at < b.at);
        let labels: BTreeSet<&str> = xs.iter().map(|x| x.label.as_str()).collect();
        let numbers = xs.iter().filter(|x| x.value.is_integer() || x.value.is_float()).count();
        let mixed = numbers != 0 && numbers != xs.len();
        if !rises || mixed || labels.len() != xs.len() {
            return Err(self.wrong(
                "values along the axis are either all numbers, rising, or all something else, each once"
                    .to_owned(),
            ));
        }
        Ok(xs)
    }
}

/// What the comment on a line says; nothing where there is none.
fn comment(text: &str, line: usize) -> String {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let mut quote = None;
    for (place, c) in line.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '#') => {
                return line.get(place..).unwrap_or_default().trim_matches(['#', ' ', '\t']).to_owned();
            }
            _ => {}
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_and_what_is_no_comment_is_not() {
        let text = "a = 1 # why\nb = \"#1\"\nc = '# no' # yes\n";
        let found: Vec<String> = (1..5).map(|line| comment(text, line)).collect();
        assert_eq!(found, ["why", "", "yes", ""]);
    }
}
