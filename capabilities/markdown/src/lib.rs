//! `actum:markdown`: Markdown to HTML, and a document's headings.

actum_guest::capability! {
    wit: "../../wit/markdown",
    implement: Markdown,
}

use std::collections::BTreeSet;

use bindings::exports::actum::markdown::markdown::{Extensions, Guest, Heading, Options};
use pulldown_cmark::{Event, Parser, Tag, TagEnd, html};

struct Markdown;

impl Guest for Markdown {
    fn render(markdown: String, options: Option<Options>) -> String {
        let options = options.unwrap_or(Options { extensions: Extensions::empty(), allow_html: false });
        let events =
            Parser::new_ext(&markdown, parser_options(options.extensions)).map(|event| match event {
                Event::Html(raw) | Event::InlineHtml(raw) if !options.allow_html => Event::Text(raw),
                event => event,
            });
        let mut out = String::with_capacity(markdown.len() * 3 / 2);
        html::push_html(&mut out, events);
        out
    }

    fn headings(markdown: String) -> Vec<Heading> {
        let mut headings = Vec::new();
        let mut anchors = BTreeSet::new();
        let mut lines = Lines::new(&markdown);
        let mut open: Option<(u8, u32, String)> = None;
        for (event, range) in Parser::new(&markdown).into_offset_iter() {
            match (event, &mut open) {
                (Event::Start(Tag::Heading { level, .. }), _) => {
                    open = Some((level as u8, lines.at(range.start), String::new()));
                }
                (Event::Text(piece) | Event::Code(piece), Some((_, _, text))) => text.push_str(&piece),
                (Event::SoftBreak | Event::HardBreak, Some((_, _, text))) => text.push(' '),
                (Event::End(TagEnd::Heading(_)), _) => {
                    if let Some((level, line, text)) = open.take() {
                        let anchor = unique(slug(&text), &mut anchors);
                        headings.push(Heading { level, text, anchor, line });
                    }
                }
                _ => {}
            }
        }
        headings
    }
}

fn parser_options(extensions: Extensions) -> pulldown_cmark::Options {
    let mut options = pulldown_cmark::Options::empty();
    for (extension, option) in [
        (Extensions::TABLES, pulldown_cmark::Options::ENABLE_TABLES),
        (Extensions::FOOTNOTES, pulldown_cmark::Options::ENABLE_FOOTNOTES),
        (Extensions::STRIKETHROUGH, pulldown_cmark::Options::ENABLE_STRIKETHROUGH),
        (Extensions::TASK_LISTS, pulldown_cmark::Options::ENABLE_TASKLISTS),
    ] {
        options.set(option, extensions.contains(extension));
    }
    options
}

/// Line numbers of ascending offsets, in one pass over the text.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, offset: 0, line: 1 }
    }

    fn at(&mut self, offset: usize) -> u32 {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line += passed.matches('\n').count() as u32;
        self.offset = self.offset.max(offset);
        self.line
    }
}

fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() || character == '_' {
            slug.push(character);
        } else if (character.is_whitespace() || character == '-') && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_matches('-').to_owned()
}

fn unique(slug: String, taken: &mut BTreeSet<String>) -> String {
    let mut anchor = slug.clone();
    let mut number = 1;
    while !taken.insert(anchor.clone()) {
        anchor = format!("{slug}-{number}");
        number += 1;
    }
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(markdown: &str, extensions: Extensions, allow_html: bool) -> String {
        Markdown::render(markdown.to_owned(), Some(Options { extensions, allow_html }))
    }

    #[test]
    fn renders_commonmark() {
        assert_eq!(Markdown::render("# Hi\n\n*you*".into(), None), "<h1>Hi</h1>\n<p><em>you</em></p>\n");
    }

    #[test]
    fn html_is_shown_as_text_unless_allowed() {
        let source = "a <script>alert(1)</script>\n\n<div>x</div>\n";
        let shown = render(source, Extensions::empty(), false);
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script>") && !shown.contains("<div>"));
        assert!(render(source, Extensions::empty(), true).contains("<script>alert(1)</script>"));
    }

    #[test]
    fn extensions_are_off_unless_named() {
        let table = "|a|b|\n|-|-|\n|1|2|\n";
        assert!(!render(table, Extensions::all() - Extensions::TABLES, false).contains("<table>"));
        assert!(render(table, Extensions::TABLES, false).contains("<table>"));
        assert_eq!(render("~~x~~", Extensions::STRIKETHROUGH, false), "<p><del>x</del></p>\n");
    }

    #[test]
    fn headings_have_unique_anchors_and_lines() {
        let source = "Top\n===\n\ntext\n\n## A `b` c\n\n## A b c\n\n```\n# no heading\n```\n";
        let found = Markdown::headings(source.into());
        let found: Vec<_> =
            found.iter().map(|h| (h.level, h.text.as_str(), h.anchor.as_str(), h.line)).collect();
        assert_eq!(found, [(1, "Top", "top", 1), (2, "A b c", "a-b-c", 6), (2, "A b c", "a-b-c-1", 8)]);
    }
}
