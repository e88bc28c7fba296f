//! What a report is written as: the same bytes each time, nothing that runs or loads, and no data it cannot bear.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use actum_sim::report::*;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const HOSTILE: &str =
    "</td><script src=//x.example>alert(1)</script>\" onload='x' `y` | & \u{202e}gpj\u{0}\n<!--";

fn point(x: f64, y: f64) -> Point {
    Point { x, y, low: None, high: None }
}

fn line(name: &str, points: Vec<Point>) -> Line {
    Line { name: name.to_owned(), points }
}

fn axis(label: &str, log: bool) -> Axis {
    Axis { label: label.to_owned(), log, from: None, to: None }
}

fn figure(id: &str, lines: Vec<Line>, log: bool) -> Figure {
    Figure {
        id: id.to_owned(),
        title: HOSTILE.to_owned(),
        x: axis(HOSTILE, log),
        y: axis(HOSTILE, log),
        lines,
    }
}

/// One of everything, all of it hostile, with data that no axis has a place for.
fn awkward() -> Report {
    let nothing = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300];
    let lost = nothing.map(|v| point(1.0, v)).into_iter().chain(nothing.map(|v| point(v, 1.0))).collect();
    let zero = vec![point(0.0, 3.0), point(1.0, 0.0), point(10.0, -4.0), point(100.0, 7.0)];
    let ends = Point { x: 1.0, y: 2.0, low: Some(f64::NAN), high: Some(f64::INFINITY) };
    let wrong_way = Point { x: 2.0, y: 2.0, low: Some(9.0), high: Some(-9.0) };
    let half = Point { x: 3.0, y: 2.0, low: Some(1.0), high: None };
    let many = (0..11).map(|n| line(&format!("line {n}"), vec![point(f64::from(n), 1.0)])).collect();
    let told = Axis { from: Some(5.0), to: Some(-5.0), ..axis("told the wrong way round", false) };
    let gap = vec![point(1.0, 1.0), point(2.0, 2.0), point(3.0, f64::NAN), point(4.0, 4.0), point(5.0, 5.0)];
    let section = Section {
        id: "a".to_owned(),
        title: HOSTILE.to_owned(),
        question: HOSTILE.to_owned(),
        figures: vec![
            figure("none", vec![], false),
            figure("empty", vec![line(HOSTILE, vec![])], true),
            figure("lost", vec![line(HOSTILE, lost)], false),
            figure("one", vec![line(HOSTILE, vec![point(0.0, 0.0)])], false),
            figure("zero", vec![line(HOSTILE, zero)], true),
            figure("ends", vec![line(HOSTILE, vec![ends, wrong_way, half])], false),
            figure("many", many, false),
            figure("gap", vec![line("", gap)], false),
            Figure {
                x: told.clone(),
                y: told,
                ..figure("told", vec![line("x", vec![point(1.0, 1.0)])], false)
            },
        ],
        tables: vec![
            Table {
                title: HOSTILE.to_owned(),
                head: vec![HOSTILE.to_owned()],
                rows: vec![vec![HOSTILE.to_owned(), "1".to_owned()], vec![]],
            },
            Table::default(),
        ],
        parameters: vec![Parameter {
            name: HOSTILE.to_owned(),
            value: HOSTILE.to_owned(),
            of: Of::Ours,
            why: HOSTILE.to_owned(),
        }],
        verdicts: vec![Verdict::Held(HOSTILE.to_owned()), Verdict::Missed(HOSTILE.to_owned())],
        notes: vec![HOSTILE.to_owned()],
    };
    Report {
        title: HOSTILE.to_owned(),
        made: vec![(HOSTILE.to_owned(), HOSTILE.to_owned())],
        summary: vec![Verdict::Missed(HOSTILE.to_owned())],
        sections: vec![section, Section { id: "b".to_owned(), ..Section::default() }],
    }
}

fn all(written: &Written) -> Vec<String> {
    let files = [&written.html, &written.markdown].into_iter().chain(&written.figures);
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// One figure's file.
fn drawn(figure: Figure) -> String {
    let folder = tempfile::tempdir().unwrap();
    let section = Section { id: "s".to_owned(), figures: vec![figure], ..Section::default() };
    let written = write(&Report { sections: vec![section], ..Report::default() }, folder.path()).unwrap();
    fs::read_to_string(written.figures.first().unwrap()).unwrap()
}

/// Each tag that is opened is closed, in order. All text is escaped, so that `<` begins a tag.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "in {svg}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_same_report_is_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = write(&awkward(), one.path()).unwrap();
    let second = write(&awkward(), other.path()).unwrap();
    assert_eq!(all(&first), all(&second));
    // Over what is there, too, and nothing is left beside it.
    assert_eq!(write(&awkward(), one.path()).unwrap(), first);
    assert_eq!(all(&first), all(&second));
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(one.path()), ["figures", "report.html", "report.md"]);
    assert_eq!(names(&one.path().join("figures")).len(), first.figures.len());
}

#[test]
fn nothing_runs_or_loads_whatever_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(&awkward(), folder.path()).unwrap();
    for text in all(&written) {
        let lower = text.to_lowercase();
        for bad in ["<script", "<img", "<link", "<iframe", "<image", "@import", "url(", "<!--"] {
            assert!(!lower.contains(bad), "{bad}");
        }
        assert!(!text.contains(['\u{202e}', '\u{0}']));
        assert!(text.contains("script src=//x.example") || text.contains("line 8"), "what was said is shown");
    }
    let page = fs::read_to_string(&written.html).unwrap();
    assert!(!page.contains("onload='") && !page.contains("onload=\""));
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    // Links lead within the page, and nowhere else.
    assert_eq!(page.matches("href=").count(), page.matches("href=\"#s-").count());
    let namespaces = page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!((page.matches("http://").count(), page.matches("https://").count()), (namespaces, 0));
    assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
    for path in &written.figures {
        well_formed(&fs::read_to_string(path).unwrap());
    }
}

#[test]
fn what_is_not_shown_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(&awkward(), folder.path()).unwrap();
    let svg = |id: &str| fs::read_to_string(folder.path().join(format!("figures/{id}.svg"))).unwrap();
    assert!(svg("lost").contains("Not shown, having no finite place: 8 points."));
    assert!(svg("lost").contains("nothing to show") && svg("none").contains("nothing to show"));
    assert!(svg("zero").contains("3 points are no more than 0 and stand at the foot of a logarithmic axis."));
    assert!(svg("many").contains("Not shown, beyond 8 lines: line 8, line 9, line 10."));
    assert!(svg("gap").contains("Not shown, having no finite place: 1 point."));
    for path in [written.html, written.markdown] {
        let text = fs::read_to_string(path).unwrap();
        for said in ["8 points.", "stand at the foot", "beyond 8 lines"] {
            assert!(text.contains(said), "{said}");
        }
    }
}

#[test]
fn a_line_has_a_gap_where_a_point_has_no_place() {
    let paths = |points| {
        let svg = drawn(Figure { id: "f".to_owned(), lines: vec![line("", points)], ..Figure::default() });
        svg.lines().filter(|l| l.contains("<polyline") && l.contains("#0072B2")).count()
    };
    let mut points: Vec<_> = (0..5).map(|n| point(f64::from(n), f64::from(n))).collect();
    assert_eq!(paths(points.clone()), 1);
    points.get_mut(2).unwrap().y = f64::NAN;
    assert_eq!(paths(points), 2);
}

#[test]
fn a_point_that_no_line_leads_to_has_its_marker() {
    let markers = |points| {
        let svg = drawn(Figure { id: "f".to_owned(), lines: vec![line("", points)], ..Figure::default() });
        svg.matches("<circle").count()
    };
    let mut points: Vec<_> = (0..160).map(|n| point(f64::from(n), 1.0)).collect();
    assert_eq!(markers(points.clone()), 16);
    for lost in [54, 56] {
        points.get_mut(lost).unwrap().y = f64::NAN;
    }
    assert_eq!(markers(points), 17);
}

#[test]
fn few_points_have_bars_and_many_a_band() {
    let with = |count: u32| {
        let point = |n| Point { x: f64::from(n), y: 1.0, low: Some(0.5), high: Some(1.5) };
        let lines = vec![line("a", (0..count).map(point).collect())];
        drawn(Figure { id: "f".to_owned(), lines, ..Figure::default() })
    };
    let bands = |svg: &str| svg.matches("opacity=\"0.16\"").count();
    assert_eq!((bands(&with(6)), bands(&with(30))), (0, 1));
    // A bar is a line and two ends.
    let paths = |svg: &str| svg.matches("stroke=\"#0072B2\"").count();
    assert_eq!(paths(&with(6)) - paths(&with(30)), 6 * 3);
}

#[test]
fn markdown_shows_the_figures_and_says_what_held() {
    let folder = tempfile::tempdir().unwrap();
    let section = Section {
        id: "latency".to_owned(),
        title: "How long it takes".to_owned(),
        question: "Does `find` stay flat?".to_owned(),
        figures: vec![Figure {
            id: "latency-of-n".to_owned(),
            title: "Latency by size".to_owned(),
            ..Figure::default()
        }],
        tables: vec![Table {
            title: "Times".to_owned(),
            head: vec!["peers".to_owned(), "who|what".to_owned()],
            rows: vec![vec!["1,000".to_owned(), "a".to_owned()]],
        }],
        parameters: vec![Parameter {
            name: "N".to_owned(),
            value: "100".to_owned(),
            of: Of::Paper,
            why: "section 5".to_owned(),
        }],
        verdicts: vec![Verdict::Held("it is flat".to_owned()), Verdict::Missed("it is low".to_owned())],
        notes: vec!["Nothing else.".to_owned()],
    };
    let report = Report {
        title: "A study".to_owned(),
        made: vec![("seed".to_owned(), "1".to_owned())],
        summary: vec![Verdict::Held("it is flat".to_owned())],
        sections: vec![section],
    };
    let text = fs::read_to_string(write(&report, folder.path()).unwrap().markdown).unwrap();
    for part in [
        "# A study\n\n- seed: 1\n\nAll of 1 held.\n\n- Held: it is flat\n\n## How long it takes\n",
        "\nDoes `find` stay flat?\n",
        "![Latency by size](figures/latency-of-n.svg)\n\n**Figure 1.** Latency by size.\n",
        "- Held: it is flat\n- **Missed**: it is low\n",
        "| peers | who\\|what |\n|--:|---|\n| 1,000 | a |\n",
        "| N | 100 | the paper’s | section 5 |\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.ends_with("|\n") && !text.contains("\n\n\n"));
}

#[test]
fn an_id_is_the_name_of_a_file_and_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let of = |section: &str, figures: &[&str]| Section {
        id: section.to_owned(),
        figures: figures.iter().map(|id| figure(id, vec![], false)).collect(),
        ..Section::default()
    };
    let written = |sections| write(&Report { sections, ..Report::default() }, folder.path());
    for bad in ["", "../x", "a b", "A", "x.svg", &"a".repeat(LONGEST_ID + 1)] {
        assert!(matches!(written(vec![of("a", &[bad])]), Err(ReportError::Id(_))), "{bad}");
        assert!(matches!(written(vec![of(bad, &[])]), Err(ReportError::Id(_))), "{bad}");
    }
    assert!(matches!(written(vec![of("a", &["f"]), of("b", &["f"])]), Err(ReportError::Twice(_))));
    assert!(matches!(written(vec![of("a", &[]), of("a", &[])]), Err(ReportError::Twice(_))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
    assert!(written(vec![of("a", &["a"]), of("b", &["b"])]).is_ok());
    fs::remove_dir_all(folder.path().join("figures")).unwrap();
    fs::write(folder.path().join("figures"), "in the way").unwrap();
    assert!(matches!(written(vec![of("a", &[])]), Err(ReportError::Write { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_figure_is_drawn(
        x_log: bool,
        y_log: bool,
        from in proptest::option::of(proptest::num::f64::ANY),
        to in proptest::option::of(proptest::num::f64::ANY),
        lines in proptest::collection::vec(
            ("(?s).{0,8}", proptest::collection::vec(proptest::array::uniform4(proptest::num::f64::ANY), 0..20)),
            0..10,
        ),
    ) {
        let lines = lines.into_iter().map(|(name, points)| {
            let point = |[x, y, low, high]: [f64; 4]| Point { x, y, low: Some(low), high: Some(high) };
            Line { name, points: points.into_iter().map(point).collect() }
        });
        let svg = drawn(Figure {
            id: "f".to_owned(),
            title: String::new(),
            x: Axis { label: "x".to_owned(), log: x_log, from, to },
            y: Axis { label: "y".to_owned(), log: y_log, from: to, to: from },
            lines: lines.collect(),
        });
        well_formed(&svg);
        prop_assert!(!svg.contains("2147483647") && !svg.contains("-2147483648"), "{svg}");
    }
}
