//! What draws: lines, shapes and text as SVG, in pixels of a picture on a screen.

use super::ReportError;
use plotters::prelude::{
    Color, DrawingBackend, FontTransform, IntoFont, RGBColor, SVGBackend, ShapeStyle, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::fmt::Display;

/// Steps within a pixel: a drawing is made of whole numbers, and a quarter of a pixel is finer than print.
const FINE: f64 = 4.0;
/// The size of text, in pixels.
pub(super) const TEXT: f64 = 13.0;
/// What text is set in: what there is of these, as in papers.
const FONT: &str = "Helvetica, Arial, sans-serif";
/// What the backend divides sizes of text by.
const BACKEND_SIZE: f64 = 1.24;

/// A place, in pixels from the left and from the top.
pub(super) type At = (f64, f64);

/// How a text stands to the place it is given.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    /// It begins there, and is level with it.
    Start,
    /// It is around it.
    Middle,
    /// It ends there, and is level with it.
    End,
    /// It hangs from it.
    Below,
    /// It is around it and reads upwards.
    Upwards,
}

/// Draws into a string.
pub(super) struct Pen<'a> {
    backend: SVGBackend<'a>,
}

fn drawn<E: Display>(result: Result<(), E>) -> Result<(), ReportError> {
    result.map_err(|e| ReportError::Draw(e.to_string()))
}

fn fine(at: At) -> (i32, i32) {
    let whole = |pixels: f64| (pixels * FINE).round() as i32;
    (whole(at.0), whole(at.1))
}

fn stroke(color: RGBColor, width: f64) -> ShapeStyle {
    ShapeStyle { color: color.to_rgba(), filled: false, stroke_width: (width * FINE).round() as u32 }
}

impl<'a> Pen<'a> {
    /// Draws into this, so many pixels wide and high.
    pub(super) fn new(into: &'a mut String, (width, height): At) -> Pen<'a> {
        let (width, height) = ((width * FINE).round() as u32, (height * FINE).round() as u32);
        Pen { backend: SVGBackend::with_string(into, (width, height)) }
    }

    /// A line through these places.
    pub(super) fn path(&mut self, path: &[At], color: RGBColor, width: f64) -> Result<(), ReportError> {
        drawn(self.backend.draw_path(path.iter().copied().map(fine), &stroke(color, width)))
    }

    /// A shape, filled; so much of what is below is hidden, 0 to 1.
    pub(super) fn shape(&mut self, path: &[At], color: RGBColor, hides: f64) -> Result<(), ReportError> {
        drawn(self.backend.fill_polygon(path.iter().copied().map(fine), &color.mix(hides)))
    }

    /// A disc.
    pub(super) fn disc(&mut self, at: At, radius: f64, color: RGBColor) -> Result<(), ReportError> {
        let radius = (radius * FINE).round() as u32;
        drawn(self.backend.draw_circle(fine(at), radius, &stroke(color, 0.0), true))
    }

    /// A text of one line.
    pub(super) fn text(
        &mut self,
        text: &str,
        at: At,
        anchor: Anchor,
        color: RGBColor,
    ) -> Result<(), ReportError> {
        let (level, upright) = match anchor {
            Anchor::Start => (HPos::Left, VPos::Center),
            Anchor::Middle | Anchor::Upwards => (HPos::Center, VPos::Center),
            Anchor::End => (HPos::Right, VPos::Center),
            Anchor::Below => (HPos::Center, VPos::Top),
        };
        let turned = match anchor {
            Anchor::Upwards => FontTransform::Rotate270,
            _ => FontTransform::None,
        };
        let font = (FONT, TEXT * FINE * BACKEND_SIZE).into_font();
        let style = TextStyle::from(font).transform(turned).color(&color).pos(Pos::new(level, upright));
        drawn(self.backend.draw_text(text, &style, fine(at)))
    }

    /// Ends the drawing.
    pub(super) fn done(mut self) -> Result<(), ReportError> {
        drawn(self.backend.present())
    }
}

/// About how wide a text is, in pixels, in a font like Helvetica: a little too much rather than too little.
pub(super) fn width(text: &str) -> f64 {
    let ems = text.chars().map(|c| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.28,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '-' | '/' | '"' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '—' | '…' => 0.92,
        c if c.is_ascii_uppercase() => 0.72,
        c if c.is_ascii() || (c as u32) < 0x2e80 => 0.57,
        _ => 1.0,
    });
    ems.sum::<f64>() * TEXT
}

/// As much of a text as is so wide, in pixels.
pub(super) fn cut(text: &str, most: f64) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most - width("…");
    let mut kept = String::new();
    let mut taken = 0.0;
    for c in text.chars() {
        taken += width(c.encode_utf8(&mut [0; 4]));
        if taken > room {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}
