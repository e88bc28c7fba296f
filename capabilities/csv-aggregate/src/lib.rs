//! `actum:csv-aggregate`: group by, and sum, mean, count and the like, over a CSV table.

actum_guest::capability! {
    wit: "../../wit/csv-aggregate",
    implement: CsvAggregate,
}

use std::collections::{BTreeMap, BTreeSet};

use bindings::exports::actum::csv_aggregate::csv_aggregate::{
    Aggregate, Column, Failure, Group, Guest, Measure,
};
use csv::{Reader, ReaderBuilder, StringRecord};

struct CsvAggregate;

impl Guest for CsvAggregate {
    fn aggregate_by(
        table: String,
        group_by: Vec<String>,
        aggregates: Vec<Aggregate>,
        delimiter: Option<char>,
    ) -> Result<Vec<Group>, Failure> {
        let mut table = open(&table, delimiter)?;
        let header = table.headers().map_err(malformed)?.clone();
        let position = |name: &String| {
            header.iter().position(|column| column == name).ok_or_else(|| Failure::NoSuchColumn(name.clone()))
        };
        let keys = group_by.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let columns = aggregates
            .iter()
            .map(|aggregate| Ok((position(&aggregate.column)?, aggregate.measure)))
            .collect::<Result<Vec<_>, Failure>>()?;

        let mut groups: BTreeMap<Vec<String>, (u64, Vec<Tally>)> = BTreeMap::new();
        if keys.is_empty() {
            groups.insert(Vec::new(), (0, vec![Tally::default(); columns.len()]));
        }
        for record in table.records() {
            let record = record.map_err(malformed)?;
            let key = keys.iter().map(|&key| record.get(key).unwrap_or_default().to_owned()).collect();
            let (rows, tallies) =
                groups.entry(key).or_insert_with(|| (0, vec![Tally::default(); columns.len()]));
            *rows += 1;
            for (tally, &(column, measure)) in tallies.iter_mut().zip(&columns) {
                let value = record.get(column).unwrap_or_default().trim();
                if !value.is_empty() {
                    tally.add(value, measure).ok_or_else(|| not_a_number(&header, &record, column))?;
                }
            }
        }
        Ok(groups
            .into_iter()
            .map(|(key, (rows, tallies))| Group {
                key,
                rows,
                values: tallies
                    .iter()
                    .zip(&columns)
                    .map(|(tally, &(_, measure))| tally.value(measure))
                    .collect(),
            })
            .collect())
    }

    fn describe(table: String, delimiter: Option<char>) -> Result<Vec<Column>, Failure> {
        let mut table = open(&table, delimiter)?;
        let header = table.headers().map_err(malformed)?.clone();
        let mut columns: Vec<(u64, bool, Tally)> = vec![(0, true, Tally::default()); header.len()];
        for record in table.records() {
            let record = record.map_err(malformed)?;
            for ((empty, numeric, tally), value) in columns.iter_mut().zip(&record) {
                let value = value.trim();
                if value.is_empty() {
                    *empty += 1;
                } else if *numeric {
                    *numeric = tally.add(value, Measure::Sum).is_some();
                }
            }
        }
        Ok(header
            .iter()
            .zip(columns)
            .map(|(name, (empty, numeric, tally))| Column {
                name: name.to_owned(),
                empty,
                range: if numeric {
                    tally.value(Measure::Minimum).zip(tally.value(Measure::Maximum))
                } else {
                    None
                },
            })
            .collect())
    }
}

/// All that any measure needs of the values seen so far.
#[derive(Clone, Default)]
struct Tally {
    count: u64,
    sum: f64,
    minimum: Option<f64>,
    maximum: Option<f64>,
    distinct: BTreeSet<String>,
}

impl Tally {
    /// None where the measure needs a number and the value is none. Infinite is no number either.
    fn add(&mut self, value: &str, measure: Measure) -> Option<()> {
        match measure {
            Measure::Count => {}
            Measure::Distinct => {
                if !self.distinct.contains(value) {
                    self.distinct.insert(value.to_owned());
                }
            }
            Measure::Sum | Measure::Mean | Measure::Minimum | Measure::Maximum => {
                let number = value.parse::<f64>().ok().filter(|number| number.is_finite())?;
                self.sum += number;
                self.minimum = Some(self.minimum.map_or(number, |least| least.min(number)));
                self.maximum = Some(self.maximum.map_or(number, |most| most.max(number)));
            }
        }
        self.count += 1;
        Some(())
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        let numbers = self.count > 0;
        match measure {
            Measure::Count => Some(self.count as f64),
            Measure::Distinct => Some(self.distinct.len() as f64),
            Measure::Sum => numbers.then_some(self.sum),
            Measure::Mean => numbers.then(|| self.sum / self.count as f64),
            Measure::Minimum => self.minimum,
            Measure::Maximum => self.maximum,
        }
    }
}

fn open(table: &str, delimiter: Option<char>) -> Result<Reader<&[u8]>, Failure> {
    let delimiter = delimiter.unwrap_or(',');
    let byte = u8::try_from(delimiter)
        .ok()
        .filter(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n'))
        .ok_or(Failure::Delimiter(delimiter))?;
    let table = table.strip_prefix('\u{feff}').unwrap_or(table);
    Ok(ReaderBuilder::new().delimiter(byte).from_reader(table.as_bytes()))
}

fn malformed(error: csv::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

fn not_a_number(header: &StringRecord, record: &StringRecord, column: usize) -> Failure {
    let line = record.position().map_or(0, csv::Position::line);
    let name = header.get(column).unwrap_or_default().to_owned();
    Failure::NotANumber((line, name, record.get(column).unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALES: &str = "city,item,amount\nRome,tea,2\nOslo,tea,3.5\nRome,\"cup, large\",4\nRome,tea,\n";

    /// Key, rows, values.
    type Row = (String, u64, Vec<Option<f64>>);

    fn by(table: &str, keys: &[&str], aggregates: &[(&str, Measure)]) -> Result<Vec<Row>, Failure> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let aggregates = aggregates
            .iter()
            .map(|&(column, measure)| Aggregate { column: column.to_owned(), measure })
            .collect();
        let groups = CsvAggregate::aggregate_by(table.to_owned(), keys, aggregates, None)?;
        Ok(groups.into_iter().map(|group| (group.key.join("/"), group.rows, group.values)).collect())
    }

    #[test]
    fn groups_and_computes() {
        let found = by(
            SALES,
            &["city"],
            &[("amount", Measure::Sum), ("amount", Measure::Mean), ("amount", Measure::Count)],
        );
        assert_eq!(
            found.unwrap(),
            [
                ("Oslo".to_owned(), 1, vec![Some(3.5), Some(3.5), Some(1.0)]),
                ("Rome".to_owned(), 3, vec![Some(6.0), Some(3.0), Some(2.0)]),
            ]
        );
    }

    #[test]
    fn quoted_fields_and_several_keys() {
        let found = by(SALES, &["city", "item"], &[("amount", Measure::Maximum)]).unwrap();
        assert_eq!(found[1], ("Rome/cup, large".to_owned(), 1, vec![Some(4.0)]));
        assert_eq!(found[2], ("Rome/tea".to_owned(), 2, vec![Some(2.0)]));
    }

    #[test]
    fn no_key_makes_one_group_even_of_no_rows() {
        assert_eq!(
            by(SALES, &[], &[("item", Measure::Distinct)]).unwrap(),
            [(String::new(), 4, vec![Some(2.0)])]
        );
        assert_eq!(by("a\n", &[], &[("a", Measure::Sum)]).unwrap(), [(String::new(), 0, vec![None])]);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        assert!(matches!(by(SALES, &["town"], &[]), Err(Failure::NoSuchColumn(name)) if name == "town"));
        let Err(Failure::NotANumber(at)) = by("a,b\n1,2\n3,four\n", &[], &[("b", Measure::Sum)]) else {
            panic!("accepted")
        };
        assert_eq!(at, (3, "b".to_owned(), "four".to_owned()));
        assert!(matches!(by("a,b\n1\n", &[], &[]), Err(Failure::Malformed(_))));
        assert!(matches!(by("a\ninf\n", &[], &[("a", Measure::Sum)]), Err(Failure::NotANumber(_))));
        assert!(matches!(CsvAggregate::describe("a".into(), Some('é')), Err(Failure::Delimiter('é'))));
    }

    #[test]
    fn describes_columns() {
        let columns = CsvAggregate::describe("\u{feff}a;b\n1;x\n-2;\n".into(), Some(';')).unwrap();
        let columns: Vec<_> = columns.iter().map(|c| (c.name.as_str(), c.empty, c.range)).collect();
        assert_eq!(columns, [("a", 0, Some((-2.0, 1.0))), ("b", 1, None)]);
    }
}
