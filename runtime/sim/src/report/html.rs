//! A report as one page: nothing of it comes from elsewhere, and nothing in it runs.
//!
//! The figures are in it as they are in their files; the page's style turns their colours where a reader's screen is dark.

use super::text::{escape, numeric_columns, prose, sentence};
use super::{Drawn, Figure, Of, Parameter, Report, Section, Table, Verdict, markdown::count};
use std::fmt::Write as _;

/// The page's beginning. The policy keeps a browser from loading or running anything, whatever the page says.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
"#;

/// The page of a report, with its figures as they were drawn, by section.
pub(super) fn html(report: &Report, drawn: &[Vec<Drawn>]) -> String {
    let mut page = String::with_capacity(64 << 10);
    page.push_str(HEAD);
    let _ = writeln!(page, "<title>{}</title>", escape(&report.title));
    let _ = writeln!(page, "<style>\n{}</style>\n</head>\n<body>", include_str!("style.css"));
    let _ = writeln!(page, "<header><h1>{}</h1>", escape(&report.title));
    made(&mut page, report);
    page.push_str("</header>\n<main>\n");
    if let Some((whole, good)) = count(&report.summary) {
        let class = if good { "whole good" } else { "whole" };
        let _ = writeln!(page, "<p class=\"{class}\">{whole}</p>");
    }
    verdicts(&mut page, &report.summary);
    contents(&mut page, report);
    let mut number = 0;
    for (section, drawn) in report.sections.iter().zip(drawn) {
        let _ = writeln!(page, "<section id=\"s-{}\"><h2>{}</h2>", section.id, escape(&section.title));
        if !section.question.is_empty() {
            let _ = writeln!(page, "<p class=\"question\">{}</p>", prose(&section.question));
        }
        for (figure, drawn) in section.figures.iter().zip(drawn) {
            number += 1;
            self::figure(&mut page, figure, drawn, number);
        }
        rest(&mut page, section);
        page.push_str("</section>\n");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn made(page: &mut String, report: &Report) {
    if report.made.is_empty() {
        return;
    }
    page.push_str("<dl class=\"made\">\n");
    for (name, value) in &report.made {
        let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    page.push_str("</dl>\n");
}

fn contents(page: &mut String, report: &Report) {
    if report.sections.len() < 2 {
        return;
    }
    page.push_str("<nav aria-label=\"Contents\"><h3>Contents</h3>\n<ol>\n");
    for section in &report.sections {
        let _ = write!(page, "<li><a href=\"#s-{}\">{}</a>", section.id, escape(&section.title));
        if let Some((words, good)) = count(&section.verdicts) {
            let class = if good { "held" } else { "missed" };
            let _ = write!(page, " <small class=\"{class}\">{words}</small>");
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol></nav>\n");
}

fn figure(page: &mut String, figure: &Figure, drawn: &Drawn, number: usize) {
    let _ = write!(
        page,
        "<figure id=\"f-{}\"><div class=\"wide\" tabindex=\"0\">\n{}</div>\n",
        figure.id, drawn.svg
    );
    let _ =
        write!(page, "<figcaption><strong>Figure {number}.</strong> {}", escape(&sentence(&figure.title)));
    for note in &drawn.notes {
        let _ = write!(page, " <small>{}</small>", escape(note));
    }
    page.push_str("</figcaption></figure>\n");
}

/// What of a section follows its figures.
fn rest(page: &mut String, section: &Section) {
    if !section.verdicts.is_empty() {
        page.push_str("<h3>What came out</h3>\n");
        verdicts(page, &section.verdicts);
    }
    for table in &section.tables {
        self::table(page, table);
    }
    if !section.notes.is_empty() {
        page.push_str("<h3>Notes</h3>\n<ul class=\"notes\">\n");
        for note in &section.notes {
            let _ = writeln!(page, "<li>{}</li>", prose(note));
        }
        page.push_str("</ul>\n");
    }
    parameters(page, &section.parameters);
}

fn verdicts(page: &mut String, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    page.push_str("<ul class=\"verdicts\">\n");
    for verdict in verdicts {
        let (class, mark) = if verdict.held() { ("held", "✓ held") } else { ("missed", "✗ missed") };
        let text = prose(verdict.text());
        let _ = writeln!(page, "<li class=\"{class}\"><b>{mark}</b><span>{text}</span></li>");
    }
    page.push_str("</ul>\n");
}

fn table(page: &mut String, table: &Table) {
    let columns = table.columns();
    let right = numeric_columns(&table.rows, columns);
    let empty = String::new();
    let row = |page: &mut String, cells: &[String], tag: &str| {
        page.push_str("<tr>");
        for (at, right) in right.iter().enumerate() {
            let class = if *right { " class=\"n\"" } else { "" };
            let text = escape(cells.get(at).unwrap_or(&empty));
            let _ = write!(page, "<{tag}{class}>{text}</{tag}>");
        }
        page.push_str("</tr>\n");
    };
    if !table.title.is_empty() {
        let _ = writeln!(page, "<h3>{}</h3>", escape(&table.title));
    }
    page.push_str("<div class=\"wide\" tabindex=\"0\"><table><thead>");
    row(page, &table.head, "th");
    page.push_str("</thead><tbody>\n");
    for cells in &table.rows {
        row(page, cells, "td");
    }
    page.push_str("</tbody></table></div>\n");
}

fn parameters(page: &mut String, parameters: &[Parameter]) {
    if parameters.is_empty() {
        return;
    }
    page.push_str(
        "<h3>Parameters</h3>\n<div class=\"wide\" tabindex=\"0\"><table><thead><tr><th>Parameter</th>",
    );
    page.push_str("<th>Value</th><th>Whose</th><th>Why</th></tr></thead><tbody>\n");
    for parameter in parameters {
        let class = if parameter.of == Of::Ours { " class=\"ours\"" } else { "" };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td{class}>{}</td><td class=\"why\">{}</td></tr>",
            escape(&parameter.name),
            escape(&parameter.value),
            parameter.of.name(),
            prose(&parameter.why)
        );
    }
    page.push_str("</tbody></table></div>\n");
}
