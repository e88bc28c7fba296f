//! A report as Markdown, for a folder of documents.

use super::text::{escape_markdown, numeric_columns, prose_markdown, sentence};
use super::{Drawn, Parameter, Report, Table, Verdict};
use std::fmt::Write as _;

/// The Markdown of a report, with what its figures do not show, by section.
pub(super) fn markdown(report: &Report, drawn: &[Vec<Drawn>]) -> String {
    let mut page = String::with_capacity(16 << 10);
    let _ = writeln!(page, "# {}\n", escape_markdown(&report.title));
    for (name, value) in &report.made {
        let _ = writeln!(page, "- {}: {}", escape_markdown(name), escape_markdown(value));
    }
    if !report.made.is_empty() {
        page.push('\n');
    }
    if let Some((whole, _)) = count(&report.summary) {
        let _ = writeln!(page, "{whole}\n");
    }
    verdicts(&mut page, &report.summary);
    let mut number = 0;
    for (section, drawn) in report.sections.iter().zip(drawn) {
        let _ = writeln!(page, "## {}\n", escape_markdown(&section.title));
        if !section.question.is_empty() {
            let _ = writeln!(page, "{}\n", prose_markdown(&section.question));
        }
        for (figure, drawn) in section.figures.iter().zip(drawn) {
            number += 1;
            let title = escape_markdown(&figure.title);
            let _ = writeln!(page, "![{title}](figures/{}.svg)\n", figure.id);
            let notes: String =
                drawn.notes.iter().map(|note| format!(" {}", escape_markdown(note))).collect();
            let caption = escape_markdown(&sentence(&figure.title));
            let _ = writeln!(page, "**Figure {number}.** {caption}{notes}\n");
        }
        if !section.verdicts.is_empty() {
            page.push_str("### What came out\n\n");
            verdicts(&mut page, &section.verdicts);
        }
        for table in &section.tables {
            self::table(&mut page, table);
        }
        if !section.notes.is_empty() {
            page.push_str("### Notes\n\n");
            for note in &section.notes {
                let _ = writeln!(page, "- {}", prose_markdown(note));
            }
            page.push('\n');
        }
        parameters(&mut page, &section.parameters);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// How many held, in a sentence, and whether all did; nothing where nothing was expected.
pub(super) fn count(verdicts: &[Verdict]) -> Option<(String, bool)> {
    let (all, held) = (verdicts.len(), verdicts.iter().filter(|verdict| verdict.held()).count());
    match all {
        0 => None,
        _ if held == all => Some((format!("All of {all} held."), true)),
        _ => Some((format!("{held} of {all} held, {} missed.", all - held), false)),
    }
}

fn verdicts(page: &mut String, verdicts: &[Verdict]) {
    for verdict in verdicts {
        let mark = if verdict.held() { "Held" } else { "**Missed**" };
        let _ = writeln!(page, "- {mark}: {}", prose_markdown(verdict.text()));
    }
    if !verdicts.is_empty() {
        page.push('\n');
    }
}

fn table(page: &mut String, table: &Table) {
    let columns = table.columns();
    if columns == 0 {
        return;
    }
    let right = numeric_columns(&table.rows, columns);
    let empty = String::new();
    let row = |page: &mut String, cells: &[String]| {
        page.push('|');
        for at in 0..columns {
            let _ = write!(page, " {} |", escape_markdown(cells.get(at).unwrap_or(&empty)));
        }
        page.push('\n');
    };
    if !table.title.is_empty() {
        let _ = writeln!(page, "### {}\n", escape_markdown(&table.title));
    }
    row(page, &table.head);
    page.push('|');
    for right in right {
        page.push_str(if right { "--:|" } else { "---|" });
    }
    page.push('\n');
    for cells in &table.rows {
        row(page, cells);
    }
    page.push('\n');
}

fn parameters(page: &mut String, parameters: &[Parameter]) {
    if parameters.is_empty() {
        return;
    }
    page.push_str("### Parameters\n\n| parameter | value | whose | why |\n|---|---|---|---|\n");
    for parameter in parameters {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            escape_markdown(&parameter.name),
            escape_markdown(&parameter.value),
            parameter.of.name(),
            prose_markdown(&parameter.why)
        );
    }
    page.push('\n');
}
