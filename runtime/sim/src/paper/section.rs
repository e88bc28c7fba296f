//! A scenario and what it came to, as a section of a report.

use crate::{
    report::{self, Figure, Line, Of, Parameter, Point, Section, Table, number},
    scenario::{Axis, Plot, Scenario, Series, Setting, Whose, X},
    shape::Verdict,
    stats::Sample,
    sweep::Swept,
};

/// The most rows of a section's table: beyond that the CSV file has them.
const MOST_ROWS: usize = 60;

/// The section: a plot for each that the scenario asks for, the numbers in them, every parameter with whose it is, and what came
/// of each shape.
pub fn section(scenario: &Scenario, swept: &Swept, quick: bool) -> Section {
    let verdict = |verdict: Verdict| match verdict {
        Verdict::Held { text } => report::Verdict::Held(text),
        Verdict::Missed { text } => report::Verdict::Missed(text),
    };
    Section {
        id: scenario.name.clone(),
        title: scenario.title.clone(),
        question: scenario.question.clone(),
        figures: scenario.plots.iter().map(|plot| figure(scenario, plot, swept)).collect(),
        tables: table(scenario, swept, quick).into_iter().collect(),
        parameters: parameters(scenario, quick),
        verdicts: swept.verdicts().into_iter().map(verdict).collect(),
        notes: notes(scenario, swept, quick),
    }
}

fn figure(scenario: &Scenario, plot: &Plot, swept: &Swept) -> Figure {
    let line = |series: &Series| {
        let curve = swept.curve(&series.name, &plot.figure);
        let point = |at: &crate::shape::At| Point {
            x: at.x,
            y: at.sample.mean,
            low: at.sample.interval.map(|(low, _)| low),
            high: at.sample.interval.map(|(_, high)| high),
        };
        Line { name: series.name.clone(), points: curve.0.iter().map(point).collect() }
    };
    let axis = |label: &str, log| report::Axis { label: label.to_owned(), log, ..report::Axis::default() };
    Figure {
        id: format!("{}-{}", scenario.name, plot.figure.replace('_', "-")),
        title: format!("{}: {}", scenario.title, plot.label),
        x: axis(&scenario.x.label, scenario.x.log),
        y: axis(&plot.label, plot.log),
        lines: scenario.series.iter().map(line).collect(),
    }
}

/// The numbers of the plots, unless they are too many to read.
fn table(scenario: &Scenario, swept: &Swept, quick: bool) -> Option<Table> {
    let xs = scenario.xs(quick);
    if scenario.series.len().saturating_mul(xs.len()) > MOST_ROWS || scenario.plots.is_empty() {
        return None;
    }
    let cell = |series: &Series, x: &X, plot: &Plot| {
        let curve = swept.curve(&series.name, &plot.figure);
        curve.0.iter().find(|at| at.label == x.label).map(|at| in_words(&at.sample)).unwrap_or_default()
    };
    let row = |series: &Series, x: &X| {
        let first = [series.name.clone(), x.label.clone()];
        first.into_iter().chain(scenario.plots.iter().map(|plot| cell(series, x, plot))).collect()
    };
    let head =
        ["series", &scenario.x.label].into_iter().chain(scenario.plots.iter().map(|p| p.label.as_str()));
    Some(Table {
        title: "Means, with 95 % intervals over seeds".to_owned(),
        head: head.map(str::to_owned).collect(),
        rows: scenario.series.iter().flat_map(|series| xs.iter().map(move |x| row(series, x))).collect(),
    })
}

fn in_words(sample: &Sample) -> String {
    match sample.interval {
        Some((low, high)) if low < high => {
            format!("{} ({} – {})", number(sample.mean), number(low), number(high))
        }
        _ => number(sample.mean),
    }
}

fn whose(whose: Whose) -> Of {
    match whose {
        Whose::Paper => Of::Paper,
        Whose::Ours => Of::Ours,
    }
}

/// What goes along the axis first, then what each series changes, then everything else.
fn parameters(scenario: &Scenario, quick: bool) -> Vec<Parameter> {
    let Axis { parameter, of, .. } = &scenario.x;
    let values: Vec<&str> = scenario.xs(quick).iter().map(|x| x.label.as_str()).collect();
    let mut all = vec![Parameter {
        name: parameter.clone(),
        value: values.join(", "),
        of: whose(*of),
        why: "it goes along the axis".to_owned(),
    }];
    for series in &scenario.series {
        let changes = |Setting { key, value, .. }: &Setting| format!("{key} = {value}");
        let changes: Vec<String> = series.set.iter().map(changes).collect();
        all.push(Parameter {
            name: format!("series {}", series.name),
            value: if changes.is_empty() { "as below".to_owned() } else { changes.join(", ") },
            of: whose(series.of),
            why: "a line of the plots".to_owned(),
        });
    }
    all.extend(scenario.parameters(quick).into_iter().map(|parameter| Parameter {
        name: parameter.key,
        value: parameter.value,
        of: whose(parameter.whose),
        why: parameter.why,
    }));
    all
}

fn notes(scenario: &Scenario, swept: &Swept, quick: bool) -> Vec<String> {
    let xs = scenario.xs(quick);
    let seeds = scenario.seeds(quick);
    let runs = scenario.series.len().saturating_mul(xs.len()) as f64 * f64::from(seeds);
    let mut notes = vec![format!(
        "{} runs, {seeds} at each point with the same seeds in every series. `{name}.csv` has {} figures of each, \
         `{name}-summary.csv` what they come to.",
        number(runs),
        swept.figures().len(),
        name = scenario.name,
    )];
    if seeds == 1 {
        notes.push("With one seed there are no intervals.".to_owned());
    }
    if xs.iter().any(|x| !x.value.is_float() && !x.value.is_integer()) {
        let named: Vec<String> = xs.iter().map(|x| format!("{} is `{}`", x.at, x.label)).collect();
        notes.push(format!("Along the axis {}.", named.join(", ")));
    }
    notes
}
