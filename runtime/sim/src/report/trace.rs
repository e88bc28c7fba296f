//! A line of a plot: its points in place, its intervals, its dashes and its markers.

use super::pen::{At, Pen};
use super::scale::{Scale, shown};
use super::{MOST_LINES, Point, ReportError};
use plotters::prelude::RGBColor;

/// Lines of more points than this have a band for their intervals, others have bars: 12.
const MOST_BARS: usize = 12;
/// The most markers of a line: 16. More would be a line of their own.
const MOST_MARKERS: usize = 16;
/// Half of a marker, in pixels.
const MARKER: f64 = 4.2;
/// The width of a line, in pixels.
const STROKE: f64 = 1.75;
/// The width of the lines of an interval and of an open marker, in pixels.
const THIN: f64 = 1.25;
/// Half the width of the ends of a bar, in pixels.
const CAP: f64 = 3.5;
/// How much a band hides of what is below it, 0 to 1.
const BAND: f64 = 0.16;

/// What all is drawn on.
pub(super) const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// The colours of lines: Okabe and Ito's, with a grey for their yellow, which is not seen on white.
const COLORS: [RGBColor; MOST_LINES] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x7a, 0x7a, 0x7a),
];

/// How lines are broken: drawn and left out in turn, in pixels.
const DASHES: [&[f64]; MOST_LINES] = [
    &[],
    &[9.0, 4.0],
    &[2.0, 3.0],
    &[11.0, 3.5, 2.0, 3.5],
    &[16.0, 5.0],
    &[5.0, 3.0],
    &[11.0, 3.0, 2.0, 3.0, 2.0, 3.0],
    &[2.0, 6.0],
];

const SHAPES: [Shape; MOST_LINES] = [
    Shape::Disc { open: false },
    Shape::Corners { count: 4, turned: 0.125, open: false },
    Shape::Corners { count: 3, turned: 0.75, open: false },
    Shape::Corners { count: 4, turned: 0.0, open: true },
    Shape::Disc { open: true },
    Shape::Corners { count: 3, turned: 0.25, open: true },
    Shape::Corners { count: 4, turned: 0.125, open: true },
    Shape::Corners { count: 4, turned: 0.0, open: false },
];

#[derive(Clone, Copy)]
enum Shape {
    Disc {
        open: bool,
    },
    /// So many corners on a circle, the first of them so much of a turn from the right, downwards.
    Corners {
        count: u8,
        turned: f64,
        open: bool,
    },
}

/// What a line is drawn with.
#[derive(Clone, Copy)]
pub(super) struct Look {
    /// The line's place among a figure's, from 0.
    place: usize,
    color: RGBColor,
    dashes: &'static [f64],
    shape: Shape,
}

/// One for each line that a figure shows, each unlike the others in colour, dashes and markers.
pub(super) fn looks() -> impl Iterator<Item = Look> {
    COLORS.into_iter().zip(DASHES).zip(SHAPES).enumerate().map(|(place, ((color, dashes), shape))| Look {
        place,
        color,
        dashes,
        shape,
    })
}

/// A point in place.
#[derive(Clone, Copy)]
struct Placed {
    at: At,
    /// Where its interval begins and ends, from top to bottom.
    ends: Option<(f64, f64)>,
    /// Whether it stands at the foot of an axis, where no line leads.
    foot: bool,
}

/// A line in place. A point that has none is a gap.
pub(super) struct Trace {
    points: Vec<Option<Placed>>,
    look: Look,
}

/// A point's interval, if it has one with two ends.
pub(super) fn interval(point: &Point) -> Option<(f64, f64)> {
    let (low, high) = (point.low?, point.high?);
    (shown(low) && shown(high)).then(|| (low.min(high), low.max(high)))
}

impl Trace {
    /// Puts a line's points in place.
    pub(super) fn new(points: &[Point], look: Look, x: &Scale, y: &Scale) -> Trace {
        let place = |point: &Point| {
            let (along, up) = (x.place(point.x)?, y.place(point.y)?);
            let ends =
                interval(point).and_then(|(low, high)| Some((y.place(high)?.at(), y.place(low)?.at())));
            Some(Placed { at: (along.at(), up.at()), ends, foot: along.foot() || up.foot() })
        };
        Trace { points: points.iter().map(place).collect(), look }
    }

    /// How many points have no place.
    pub(super) fn lost(&self) -> usize {
        self.points.iter().filter(|point| point.is_none()).count()
    }

    /// How many points stand at the foot of an axis.
    pub(super) fn feet(&self) -> usize {
        self.points.iter().flatten().filter(|point| point.foot).count()
    }

    /// Whether it shows no point.
    pub(super) fn is_empty(&self) -> bool {
        self.points.iter().flatten().next().is_none()
    }

    /// The points between gaps and feet.
    fn runs(&self) -> impl Iterator<Item = Vec<Placed>> {
        let whole = |point: &Option<Placed>| point.is_some_and(|point| !point.foot);
        self.points
            .chunk_by(move |a, b| whole(a) && whole(b))
            .filter(move |run| run.iter().all(whole))
            .map(|run| run.iter().flatten().copied().collect())
    }

    /// Draws the intervals of its points.
    pub(super) fn intervals(&self, pen: &mut Pen<'_>) -> Result<(), ReportError> {
        let color = self.look.color;
        let with_ends = |run: &[Placed]| -> Vec<(f64, f64, f64)> {
            run.iter().filter_map(|p| p.ends.map(|(top, bottom)| (p.at.0, top, bottom))).collect()
        };
        if self.points.len() > MOST_BARS {
            for run in self.runs() {
                let ends = with_ends(&run);
                let above = ends.iter().map(|(x, top, _)| (*x, *top));
                let below = ends.iter().rev().map(|(x, _, bottom)| (*x, *bottom));
                if ends.len() > 1 {
                    pen.shape(&above.chain(below).collect::<Vec<_>>(), color, BAND)?;
                }
            }
            return Ok(());
        }
        let all: Vec<Placed> = self.points.iter().flatten().copied().collect();
        for (x, top, bottom) in with_ends(&all) {
            pen.path(&[(x, top), (x, bottom)], color, THIN)?;
            for end in [top, bottom] {
                pen.path(&[(x - CAP, end), (x + CAP, end)], color, THIN)?;
            }
        }
        Ok(())
    }

    /// Draws the line itself.
    pub(super) fn line(&self, pen: &mut Pen<'_>) -> Result<(), ReportError> {
        for run in self.runs() {
            let path: Vec<At> = run.iter().map(|point| point.at).collect();
            self.look.stroke(pen, &path)?;
        }
        Ok(())
    }

    /// Draws a marker at each point, or at some of very many: at others than the next line's, so that none hides another.
    pub(super) fn markers(&self, pen: &mut Pen<'_>) -> Result<(), ReportError> {
        let every = self.points.len().div_ceil(MOST_MARKERS).max(1);
        let first = self.look.place * every / MOST_LINES;
        let joined = |n: usize| self.points.get(n).is_some_and(|p| p.is_some_and(|p| !p.foot));
        for (n, point) in self.points.iter().enumerate() {
            // Where no line leads to a point, its marker is all there is of it.
            let alone = point.is_some_and(|p| p.foot) || !(n > 0 && joined(n - 1) || joined(n + 1));
            if let Some(point) = point.filter(|_| n % every == first || alone) {
                self.look.marker(pen, point.at)?;
            }
        }
        Ok(())
    }
}

impl Look {
    /// Draws a line through these places, with the look's dashes.
    pub(super) fn stroke(&self, pen: &mut Pen<'_>, path: &[At]) -> Result<(), ReportError> {
        if path.len() < 2 {
            return Ok(());
        }
        if self.dashes.is_empty() {
            return pen.path(path, self.color, STROKE);
        }
        for dash in dashed(path, self.dashes) {
            pen.path(&dash, self.color, STROKE)?;
        }
        Ok(())
    }

    /// Draws a marker around a place.
    pub(super) fn marker(&self, pen: &mut Pen<'_>, at: At) -> Result<(), ReportError> {
        match self.shape {
            Shape::Disc { open } => {
                pen.disc(at, MARKER, self.color)?;
                if open { pen.disc(at, MARKER - THIN, PAPER) } else { Ok(()) }
            }
            Shape::Corners { count, turned, open } => {
                // As much area as a disc has.
                let radius = MARKER * if count == 3 { 1.4 } else { 1.25 };
                let corners: Vec<At> = (0..count)
                    .map(|n| {
                        let turn = (turned + f64::from(n) / f64::from(count)) * std::f64::consts::TAU;
                        (at.0 + radius * turn.cos(), at.1 + radius * turn.sin())
                    })
                    .collect();
                if !open {
                    return pen.shape(&corners, self.color, 1.0);
                }
                pen.shape(&corners, PAPER, 1.0)?;
                // Round, and over the first side again, so that no corner is left open.
                let round: Vec<At> = corners.iter().chain(corners.iter().take(2)).copied().collect();
                pen.path(&round, self.color, THIN)
            }
        }
    }
}

/// The pieces of a path that are drawn, where so much is drawn and left out in turn. The pattern goes on around corners.
fn dashed(path: &[At], pattern: &[f64]) -> Vec<Vec<At>> {
    let mut pieces = Vec::new();
    let Some((mut here, rest)) = path.split_first().map(|(first, rest)| (*first, rest)) else {
        return pieces;
    };
    let mut lengths = pattern.iter().copied().cycle();
    let mut left = lengths.next().unwrap_or(f64::INFINITY);
    let mut piece = Some(vec![here]);
    for next in rest {
        loop {
            let far = (next.0 - here.0).hypot(next.1 - here.1);
            if far <= left {
                left -= far;
                here = *next;
                if let Some(piece) = &mut piece {
                    piece.push(here);
                }
                break;
            }
            here = (here.0 + (next.0 - here.0) * left / far, here.1 + (next.1 - here.1) * left / far);
            left = lengths.next().unwrap_or(f64::INFINITY);
            match piece.take() {
                Some(mut done) => {
                    done.push(here);
                    pieces.push(done);
                }
                None => piece = Some(vec![here]),
            }
        }
    }
    pieces.extend(piece.filter(|piece| piece.len() > 1));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn length(path: &[At]) -> f64 {
        path.windows(2).map(|pair| if let [a, b] = pair { (b.0 - a.0).hypot(b.1 - a.1) } else { 0.0 }).sum()
    }

    #[test]
    fn dashes_go_around_corners() {
        let path = [(0.0, 0.0), (6.0, 0.0), (6.0, 10.0)];
        let pieces = dashed(&path, &[8.0, 4.0]);
        assert_eq!(pieces, [vec![(0.0, 0.0), (6.0, 0.0), (6.0, 2.0)], vec![(6.0, 6.0), (6.0, 10.0)]]);
    }

    proptest! {
        #[test]
        fn as_much_is_drawn_as_the_pattern_says(path in proptest::collection::vec((0.0..700.0f64, 0.0..300.0f64), 2..8)) {
            let whole = length(&path);
            for pattern in DASHES.into_iter().filter(|pattern| !pattern.is_empty()) {
                let drawn: f64 = dashed(&path, pattern).iter().map(|piece| length(piece)).sum();
                let on: f64 = pattern.iter().step_by(2).sum();
                let all: f64 = pattern.iter().sum();
                prop_assert!((drawn - whole * on / all).abs() <= all, "{drawn} of {whole}");
            }
        }
    }
}
