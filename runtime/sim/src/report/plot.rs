//! A figure as SVG, as a paper would print it: white, with a legend above, and lines that can be told apart without colour.

use super::pen::{Anchor, At, Pen, cut, width};
use super::scale::{Extent, Scale, shown};
use super::text::{escape, number, seen};
use super::trace::{Look, PAPER, Trace, interval, looks};
use super::{Drawn, Figure, Line, MOST_LINES, ReportError};
use plotters::prelude::RGBColor;

/// How wide a figure is, in pixels.
const WIDTH: f64 = 720.0;
/// How high its plot is, in pixels.
const PLOT: f64 = 340.0;
/// Room at the right, where the last mark's label may reach beyond the plot, in pixels.
const RIGHT: f64 = 28.0;
/// Room above all, in pixels.
const TOP: f64 = 12.0;
/// Room below the plot for marks, their labels and the axis's label, in pixels.
const BELOW: f64 = 54.0;
/// From the left to the middle of the upright axis's label, in pixels.
const LABEL: f64 = 14.0;
/// How long a mark is, in pixels. One without a label is half as long.
const TICK: f64 = 6.0;
/// The width of axes and marks, in pixels.
const STROKE: f64 = 1.0;
/// How long the piece of line in the legend is, in pixels.
const SAMPLE: f64 = 44.0;
/// From a piece of line to its name, in pixels.
const NAME: f64 = 8.0;
/// From a name in the legend to the next piece of line, in pixels.
const APART: f64 = 22.0;
/// How high a row of the legend is, in pixels.
const ROW: f64 = 21.0;
/// Labels on the level axis are at least so far apart, in pixels.
const BETWEEN: f64 = 8.0;

/// What text and axes are drawn with.
const INK: RGBColor = RGBColor(0x1d, 0x1e, 0x20);
/// What the lines behind the data are drawn with.
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// Draws a figure.
pub(super) fn draw(figure: &Figure) -> Result<Drawn, ReportError> {
    let lines: Vec<(&Line, Look)> = figure.lines.iter().zip(looks()).collect();
    let (mut of_x, mut of_y) = (Extent::default(), Extent::default());
    for point in lines.iter().flat_map(|(line, _)| &line.points).filter(|p| shown(p.x) && shown(p.y)) {
        of_x.point(point.x, figure.x.log);
        of_y.point(point.y, figure.y.log);
        for end in interval(point).into_iter().flat_map(|(low, high)| [low, high]) {
            of_y.end(end, figure.y.log);
        }
    }
    // The labels of the upright axis say how wide the plot is, that how high the legend is, and that where the plot begins.
    let labels = Scale::new(&figure.y, &of_y, true, PLOT, 0.0).ticks();
    let widest = labels.iter().filter_map(|tick| tick.label.as_deref()).map(width).fold(0.0, f64::max);
    let (left, right) = (LABEL + 16.0 + widest + TICK, WIDTH - RIGHT);
    let legend = legend(&lines, right - left);
    let rows = legend.last().map_or(0.0, |entry| entry.row + 1.0);
    let top = TOP + rows * ROW + if rows > 0.0 { 6.0 } else { 0.0 };
    let frame = Frame { left, right, top, bottom: top + PLOT };
    let x = Scale::new(&figure.x, &of_x, false, frame.left, frame.right);
    let y = Scale::new(&figure.y, &of_y, true, frame.bottom, frame.top);
    let traces: Vec<Trace> =
        lines.iter().map(|(line, look)| Trace::new(&line.points, *look, &x, &y)).collect();

    let (mut body, height) = (String::new(), frame.bottom + BELOW);
    let mut pen = Pen::new(&mut body, (WIDTH, height));
    pen.shape(&[(0.0, 0.0), (WIDTH, 0.0), (WIDTH, height), (0.0, height)], PAPER, 1.0)?;
    frame.draw(&mut pen, figure, &x, &y)?;
    for trace in &traces {
        trace.intervals(&mut pen)?;
    }
    for trace in &traces {
        trace.line(&mut pen)?;
    }
    for trace in &traces {
        trace.markers(&mut pen)?;
    }
    if traces.iter().all(Trace::is_empty) {
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        pen.text("nothing to show", middle, Anchor::Middle, INK)?;
    }
    for entry in &legend {
        entry.draw(&mut pen, (left, TOP))?;
    }
    pen.done()?;
    let notes = notes(figure, &traces);
    Ok(Drawn { svg: headed(&body, figure, &notes, height), notes })
}

/// A line's name in the legend.
struct Entry {
    name: String,
    look: Look,
    /// From the left, in pixels.
    left: f64,
    /// The row, from 0.
    row: f64,
}

/// The legend, in as many rows as it takes. A line without a name is not in it.
fn legend(lines: &[(&Line, Look)], wide: f64) -> Vec<Entry> {
    let (mut left, mut row) = (0.0, 0.0);
    let mut entries = Vec::new();
    for (line, look) in lines.iter().filter(|(line, _)| !line.name.is_empty()) {
        let name = cut(&seen(&line.name), wide - SAMPLE - NAME);
        let takes = SAMPLE + NAME + width(&name);
        if left > 0.0 && left + takes > wide {
            (left, row) = (0.0, row + 1.0);
        }
        entries.push(Entry { name, look: *look, left, row });
        left += takes + APART;
    }
    entries
}

impl Entry {
    fn draw(&self, pen: &mut Pen<'_>, corner: At) -> Result<(), ReportError> {
        let (left, middle) = (corner.0 + self.left, corner.1 + (self.row + 0.5) * ROW);
        self.look.stroke(pen, &[(left, middle), (left + SAMPLE, middle)])?;
        self.look.marker(pen, (left + SAMPLE / 2.0, middle))?;
        pen.text(&self.name, (left + SAMPLE + NAME, middle), Anchor::Start, INK)
    }
}

/// Where the plot is, in pixels.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    /// Draws the axes with their marks and labels, and the lines behind the data.
    fn draw(&self, pen: &mut Pen<'_>, figure: &Figure, x: &Scale, y: &Scale) -> Result<(), ReportError> {
        let Frame { left, right, top, bottom } = *self;
        let (x_ticks, y_ticks) = (x.ticks(), y.ticks());
        for tick in y_ticks.iter().filter(|tick| tick.label.is_some()) {
            pen.path(&[(left, tick.at), (right, tick.at)], GRID, STROKE)?;
        }
        for tick in x_ticks.iter().filter(|tick| tick.label.is_some()) {
            pen.path(&[(tick.at, top), (tick.at, bottom)], GRID, STROKE)?;
        }
        pen.path(&[(left, top), (left, bottom), (right, bottom)], INK, STROKE)?;
        for tick in &y_ticks {
            let long = if tick.label.is_some() { TICK } else { TICK / 2.0 };
            pen.path(&[(left - long, tick.at), (left, tick.at)], INK, STROKE)?;
            if let Some(label) = &tick.label {
                pen.text(label, (left - TICK - 4.0, tick.at), Anchor::End, INK)?;
            }
        }
        let mut free = f64::NEG_INFINITY;
        for tick in &x_ticks {
            let long = if tick.label.is_some() { TICK } else { TICK / 2.0 };
            pen.path(&[(tick.at, bottom), (tick.at, bottom + long)], INK, STROKE)?;
            let Some(label) = &tick.label else { continue };
            let half = width(label) / 2.0;
            // One that would run into the one before is left out.
            if tick.at - half >= free {
                pen.text(label, (tick.at, bottom + TICK + 4.0), Anchor::Below, INK)?;
                free = tick.at + half + BETWEEN;
            }
        }
        if let Some(at) = y.broken() {
            broken(pen, |along, across| (left + across, at + along))?;
        }
        if let Some(at) = x.broken() {
            broken(pen, |along, across| (at + along, bottom + across))?;
        }
        let along = cut(&seen(&figure.x.label), right - left);
        pen.text(&along, ((left + right) / 2.0, bottom + BELOW - 14.0), Anchor::Middle, INK)?;
        let up = cut(&seen(&figure.y.label), PLOT);
        pen.text(&up, (LABEL, (top + bottom) / 2.0), Anchor::Upwards, INK)
    }
}

/// Draws the two strokes that break an axis; where they are is given by how far along the axis and across it.
fn broken(pen: &mut Pen<'_>, place: impl Fn(f64, f64) -> At) -> Result<(), ReportError> {
    let strokes = [-2.0, 2.0].map(|along| [place(along + 2.0, -TICK), place(along - 2.0, TICK)]);
    let [[a, b], [d, c]] = strokes;
    pen.shape(&[a, b, c, d], PAPER, 1.0)?;
    for stroke in strokes {
        pen.path(&stroke, INK, STROKE)?;
    }
    Ok(())
}

/// The drawing with a head that says how large it is and, for who does not see it, what it shows.
fn headed(body: &str, figure: &Figure, notes: &[String], height: f64) -> String {
    let (head, rest) = body.split_once('\n').unwrap_or_default();
    let view = head.split('"').find(|part| part.starts_with("0 0 ")).unwrap_or_default();
    let axes = format!("{} against {}.", figure.y.label, figure.x.label);
    let lines = figure.lines.iter().filter(|line| !line.name.is_empty()).map(said);
    let says: Vec<String> = std::iter::once(axes).chain(lines).chain(notes.iter().cloned()).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"{view}\" \
         role=\"img\" stroke-linejoin=\"round\">\n<title>{}</title>\n<desc>{}</desc>\n{rest}",
        escape(&figure.title),
        escape(&says.join(" ")),
    )
}

/// A line in words: where it begins and where it ends.
fn said(line: &Line) -> String {
    match (line.points.first(), line.points.last()) {
        (Some(first), Some(last)) => format!(
            "{}: {} at {}, {} at {}.",
            line.name,
            number(first.y),
            number(first.x),
            number(last.y),
            number(last.x)
        ),
        _ => format!("{}: no points.", line.name),
    }
}

/// What the figure does not show as it is.
fn notes(figure: &Figure, traces: &[Trace]) -> Vec<String> {
    let mut notes = Vec::new();
    let points = |count| if count == 1 { "point" } else { "points" };
    let lost: usize = traces.iter().map(Trace::lost).sum();
    if lost > 0 {
        notes.push(format!("Not shown, having no finite place: {lost} {}.", points(lost)));
    }
    let feet: usize = traces.iter().map(Trace::feet).sum();
    if feet > 0 {
        let stand = if feet == 1 { "is no more than 0 and stands" } else { "are no more than 0 and stand" };
        notes.push(format!("{feet} {} {stand} at the foot of a logarithmic axis.", points(feet)));
    }
    let names: Vec<&str> = figure.lines.iter().skip(MOST_LINES).map(|line| line.name.as_str()).collect();
    if !names.is_empty() {
        notes.push(format!("Not shown, beyond {MOST_LINES} lines: {}.", names.join(", ")));
    }
    notes
}
