//! A report as one page that a person can look at: nothing of it comes from elsewhere, and nothing in it runs.
//!
//! Whatever is in a report may be a stranger's text, so all of it goes through [`escape`].

use super::{Kind, Report, Row, Tally};
use actum_model::Did;
use std::fmt::Write as _;

/// The most providers that a page shows: 1,000.
const SHOWN_PROVIDERS: usize = 1_000;
/// The most rows that a page shows: 2,000. The JSON form has all.
const SHOWN_ROWS: usize = 2_000;

/// Text as it may stand anywhere in a page, attributes in quotes among it. What is not seen, or turns the direction of
/// writing, is shown as `\u{…}` instead.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The page of a report. `name` is what a key is called; `when` is the time it began, in words.
pub fn html(report: &Report, name: &dyn Fn(&Did) -> String, when: &str) -> String {
    let mut page = String::with_capacity(16 << 10);
    page.push_str(HEAD);
    let _ = write!(page, "<header><h1>Audit of {} receipts</h1>", thousands(report.total.receipts()));
    let _ = writeln!(page, "<p>{}</p></header>\n<main>", escape(when));
    verdict(&mut page, report);
    totals(&mut page, report);
    providers(&mut page, report, name);
    rows(&mut page, report, name);
    page.push_str(FOOT);
    page
}

/// The one sentence for who reads no further.
fn verdict(page: &mut String, report: &Report) {
    let wrong = report.total.wrong();
    let unknown = report.total.receipts() - wrong - report.total.of(Kind::Identical);
    let (class, words) = match (wrong, unknown) {
        (0, 0) => ("good", "Every receipt is what happens when its action is run again.".to_owned()),
        (0, n) => {
            ("open", format!("Nothing is wrong as far as can be seen; {} could not be tried.", thousands(n)))
        }
        (n, _) => ("bad", format!("Something is wrong with {} of them.", thousands(n))),
    };
    let _ = writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&words));
    if report.not_reached > 0 {
        let left = thousands(report.not_reached);
        let _ =
            writeln!(page, "<p class=\"verdict open\">It was interrupted: {left} were not looked at.</p>");
    }
    if report.more {
        page.push_str("<p class=\"verdict open\">There are more receipts than one audit takes.</p>\n");
    }
    for lost in &report.lost {
        let _ = writeln!(page, "<p class=\"verdict open\">{}</p>", escape(lost));
    }
}

fn totals(page: &mut String, report: &Report) {
    page.push_str("<section><h2>Totals</h2><dl>\n");
    let mut put = |term: &str, value: String| {
        let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(term), escape(&value));
    };
    for kind in Kind::ALL {
        if kind == Kind::Identical || report.total.of(kind) > 0 {
            put(kind.name(), thousands(report.total.of(kind)));
        }
    }
    put("fuel run again", thousands(report.total.fuel));
    put("time", format!("{:.1} s", report.took.as_secs_f64()));
    put("receipts a second", thousands(report.per_second()));
    put("threads", report.threads.to_string());
    put("verdicts kept", thousands(report.kept));
    page.push_str("</dl></section>\n");
}

fn providers(page: &mut String, report: &Report, name: &dyn Fn(&Did) -> String) {
    page.push_str(
        "<section><h2>Providers</h2>\n<table><thead><tr><th>Provider</th><th>Receipts</th><th>Of which</th>",
    );
    page.push_str("<th>Fuel run again</th></tr></thead><tbody>\n");
    let all = report.worst_first();
    for (did, tally) in all.iter().take(SHOWN_PROVIDERS) {
        let (called, key) = match did {
            Some(did) => (name(did), did.to_string()),
            None => ("not to be read".to_owned(), String::new()),
        };
        let _ = write!(
            page,
            "<tr><td><strong>{}</strong><br><code>{}</code></td><td class=\"n\">{}</td><td>",
            escape(&called),
            escape(&key),
            thousands(tally.receipts())
        );
        bar(page, tally);
        let _ = writeln!(page, "</td><td class=\"n\">{}</td></tr>", thousands(tally.fuel));
    }
    page.push_str("</tbody></table>\n");
    if all.len() > SHOWN_PROVIDERS {
        let _ = writeln!(page, "<p>… and {} more.</p>", thousands((all.len() - SHOWN_PROVIDERS) as u64));
    }
    page.push_str("</section>\n");
}

/// A bar of one provider's receipts, by kind, with the numbers in words below it.
fn bar(page: &mut String, tally: &Tally) {
    let all = tally.receipts().max(1);
    let parts: Vec<_> =
        Kind::ALL.iter().map(|kind| (kind.name(), tally.of(*kind))).filter(|(_, n)| *n > 0).collect();
    page.push_str("<div class=\"bar\" role=\"img\" aria-label=\"by kind\">");
    for (kind, count) in &parts {
        // Never so small that it is not seen.
        let permille = (u128::from(*count) * 1_000 / u128::from(all)).max(8);
        let _ = write!(page, "<i class=\"{kind}\" style=\"flex:{permille}\"></i>");
    }
    page.push_str("</div><small>");
    let words: Vec<_> = parts.iter().map(|(kind, count)| format!("{} {kind}", thousands(*count))).collect();
    page.push_str(&words.join(", "));
    page.push_str("</small>");
}

fn rows(page: &mut String, report: &Report, name: &dyn Fn(&Did) -> String) {
    if report.rows.is_empty() {
        return;
    }
    page.push_str("<section><h2>What is not identical</h2>\n<table><thead><tr><th>Kind</th><th>Receipt</th>");
    page.push_str("<th>Provider</th><th>What</th></tr></thead><tbody>\n");
    let mut sorted: Vec<&Row> = report.rows.iter().collect();
    sorted.sort_by_key(|row| row.kind);
    for row in sorted.iter().take(SHOWN_ROWS) {
        let receipt = row.receipt.map(|id| id.to_string());
        let file = row.file.as_ref().map(|path| path.display().to_string());
        let kind = row.kind.name();
        let _ = write!(page, "<tr><td><span class=\"kind {kind}\">{kind}</span></td><td>");
        if let Some(receipt) = &receipt {
            let _ = write!(page, "<code>{}</code>", escape(receipt));
        }
        if let Some(function) = &row.function {
            let _ = write!(page, "<br><small>{}</small>", escape(function));
        }
        if let Some(file) = &file {
            let _ = write!(page, "<br><small>{}</small>", escape(file));
        }
        let provider = row.provider.as_ref().map(name).unwrap_or_default();
        let _ = write!(page, "</td><td>{}</td><td>", escape(&provider));
        what(page, row);
        let again = match (&file, &receipt) {
            (Some(file), _) => Some(format!("actum audit {}", quoted(file))),
            (None, Some(receipt)) => Some(format!("actum replay {receipt}")),
            (None, None) => None,
        };
        if let Some(again) = again {
            let _ = write!(page, "<p class=\"again\"><code>{}</code></p>", escape(&again));
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody></table>\n");
    let hidden = sorted.len().saturating_sub(SHOWN_ROWS) as u64;
    let hidden = hidden.saturating_add(report.rows_left_out);
    if hidden > 0 {
        let _ = writeln!(page, "<p>… and {} more.</p>", thousands(hidden));
    }
    page.push_str("</section>\n");
}

fn what(page: &mut String, row: &Row) {
    match &row.divergence {
        Some(d) => {
            let [at, receipt, replay] = [&d.at, &d.receipt, &d.replay].map(|text| escape(text));
            let _ = write!(
                page,
                "at <strong>{at}</strong><dl class=\"sides\"><div><dt>receipt</dt><dd>{receipt}</dd></div>\
                 <div><dt>replay</dt><dd>{replay}</dd></div></dl>"
            );
        }
        None => page.push_str(&escape(&row.says)),
    }
    for also in &row.also {
        let _ = write!(page, "<p>Also: {}</p>", escape(also));
    }
}

/// A file's name as a shell takes it for one word and no option: whoever named it may not be whoever copies the line.
fn quoted(file: &str) -> String {
    let file = if file.starts_with('-') { format!("./{file}") } else { file.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if !file.is_empty() && file.chars().all(plain) {
        return file;
    }
    format!("'{}'", file.replace('\'', "'\\''"))
}

/// A number with thousands separated, e.g. `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The page's beginning. The policy keeps a browser from loading or running anything, whatever the page says.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Audit of receipts</title>
<style>
:root {
  --paper: #fbfaf7; --ink: #1d1e20; --soft: #6a6c70; --line: #dddad2; --card: #ffffff;
  --identical: #2f7d4f; --diverged: #b3261e; --authority-false: #c2410c; --inconsistent: #a16207;
  --damaged: #86198f; --missing-component: #475569; --not-replayable: #64748b; --failed: #94a3b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --ink: #e8e6e1; --soft: #a2a4a8; --line: #35373b; --card: #1f2124;
    --identical: #5fb884; --diverged: #f2786f; --authority-false: #f59e5b; --inconsistent: #e3b341;
    --damaged: #d58be0; --missing-component: #9aa9bd; --not-replayable: #8593a8; --failed: #6b7787;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
header p { color: var(--soft); margin: .2rem 0 1rem; }
small, dt { color: var(--soft); }
code { font: .8rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { padding: .7rem 1rem; border-radius: .4rem; background: var(--card); border-left: .4rem solid var(--soft); }
.verdict.good { border-color: var(--identical); } .verdict.bad { border-color: var(--diverged); }
section > dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .6rem; margin: 0; }
section > dl > div { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
section > dl dd { font-size: 1.2rem; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: flex; height: .7rem; min-width: 12rem; border-radius: .35rem; overflow: hidden; }
.bar i { display: block; background: var(--soft); }
.kind { white-space: nowrap; font-weight: 600; color: var(--soft); }
.bar .identical { background: var(--identical); } .kind.identical { color: var(--identical); }
.bar .diverged { background: var(--diverged); } .kind.diverged { color: var(--diverged); }
.bar .authority-false { background: var(--authority-false); } .kind.authority-false { color: var(--authority-false); }
.bar .inconsistent { background: var(--inconsistent); } .kind.inconsistent { color: var(--inconsistent); }
.bar .damaged { background: var(--damaged); } .kind.damaged { color: var(--damaged); }
.bar .missing-component { background: var(--missing-component); }
.bar .not-replayable { background: var(--not-replayable); }
.bar .failed { background: var(--failed); }
.sides { margin: .3rem 0; } .sides div { display: flex; gap: .6rem; } .sides dt { min-width: 4rem; }
.again { margin: .3rem 0 0; }
footer { margin-top: 2rem; color: var(--soft); }
</style>
</head>
<body>
"#;

const FOOT: &str = "</main>\n<footer><p>A receipt that diverged is not what happens when its action is run again. Anyone \
who has it can see that: <code>actum receipt export</code> writes it with everything that takes, and \
<code>actum replay</code> runs it, offline.</p></footer>\n</body>\n</html>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use actum_model::{Divergence, ReceiptId, SecretKey};

    const HOSTILE: &str =
        "</td><script src=//x.example>alert(1)</script>\" onload='x' `y` & \u{202e}gpj\u{0}\n<!--";

    #[test]
    fn nothing_hostile_is_anything_but_text() {
        let escaped = escape(HOSTILE);
        for bad in ['<', '>', '"', '\'', '`', '\u{202e}', '\u{0}', '\n'] {
            assert!(!escaped.contains(bad), "{bad:?} in {escaped}");
        }
        let entities = ["&lt;", "&gt;", "&quot;", "&#39;", "&#96;", "&amp;"];
        let rest = entities.iter().fold(escaped.clone(), |text, entity| text.replace(entity, ""));
        assert!(!rest.contains('&'), "{rest}");
        assert!(escaped.contains("\\u{202e}") && escaped.contains("\\u{0}"));
        assert_eq!(escape("grüße, 名"), "grüße, 名");
    }

    fn hostile() -> Report {
        let mut report = Report { lost: vec![HOSTILE.to_owned()], ..Report::default() };
        let text = || HOSTILE.to_owned();
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            let row = Row {
                kind,
                receipt: Some(ReceiptId::of(&[n as u8])),
                provider: Some(SecretKey::from_seed(&[n as u8; 32]).did()),
                function: Some(text()),
                file: Some(HOSTILE.replace('\u{0}', "").into()),
                divergence: (kind == Kind::Diverged).then(|| Divergence {
                    at: text(),
                    receipt: text(),
                    replay: text(),
                }),
                says: text(),
                also: vec![text()],
            };
            report.add(row, 7);
        }
        report
    }

    #[test]
    fn a_page_loads_nothing_and_runs_nothing_whatever_it_is_about() {
        let page = html(&hostile(), &|_| HOSTILE.to_owned(), HOSTILE);
        let lower = page.to_lowercase();
        for bad in [
            "<script",
            "<img",
            "<link",
            "<iframe",
            "<object",
            "@import",
            "url(",
            "onload='",
            "onload=\"",
            "href=",
        ] {
            assert!(!lower.contains(bad), "{bad}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(page.contains("&lt;script src=//x.example&gt;"), "what was said is shown");
        assert!(!page.contains('\u{202e}') && !page.contains('\u{0}'));
        // The page's own tags are all there is.
        assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
        assert_eq!(page.matches("<td").count(), page.matches("</td>").count());
        assert_eq!(page.matches("<!--").count(), 0);
        for colours in ["prefers-color-scheme: dark", "light dark"] {
            assert!(page.contains(colours));
        }
    }

    #[test]
    fn a_file_is_one_word_of_a_shell() {
        assert_eq!(quoted("bundles/0-a_b.car"), "bundles/0-a_b.car");
        assert_eq!(quoted("-x.car"), "./-x.car");
        assert_eq!(quoted("a b; rm *"), "'a b; rm *'");
        assert_eq!(quoted("a'$(x)"), "'a'\\''$(x)'");
    }

    #[test]
    fn a_page_says_how_to_check_each_row() {
        let mut report = hostile();
        report.rows.iter_mut().for_each(|row| row.file = None);
        let page = html(&report, &|did| did.short(), "now");
        for row in &report.rows {
            let id = row.receipt.map(|id| id.to_string()).unwrap_or_default();
            assert!(page.contains(&format!("actum replay {id}")), "{id}");
        }
        assert!(page.contains("Something is wrong with 4 of them."));
    }
}
