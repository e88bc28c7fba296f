//! `actum:qr-code`: a text as a QR code, drawn as SVG, PNG or text.

actum_guest::capability! {
    wit: "../../wit/qr-code",
    implement: QrCodes,
}

use std::fmt::Write;

use bindings::exports::actum::qr_code::qr_code::{Code, Correction, Failure, Format, Guest, Image};
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, as the standard asks.
const QUIET: usize = 4;

const MAX_SCALE: u8 = 64;

struct QrCodes;

impl Guest for QrCodes {
    fn draw(text: String, format: Format, correction: Option<Correction>) -> Result<Code, Failure> {
        if let Format::Png(scale) = format
            && !(1..=MAX_SCALE).contains(&scale)
        {
            return Err(Failure::BadScale(scale));
        }
        let correction = correction.unwrap_or(Correction::Medium);
        let level = match correction {
            Correction::Low => EcLevel::L,
            Correction::Medium => EcLevel::M,
            Correction::Quartile => EcLevel::Q,
            Correction::High => EcLevel::H,
        };
        // The version is the smallest that fits and every byte can be encoded: only the length can be wrong.
        let too_long = || Failure::TooLong(u32::try_from(text.len()).unwrap_or(u32::MAX));
        let code = QrCode::with_error_correction_level(&text, level).map_err(|_| too_long())?;
        let grid = Grid {
            width: code.width(),
            dark: code.to_colors().into_iter().map(|color| color == Color::Dark).collect(),
        };
        let image = match format {
            Format::Svg => Image::Svg(svg(&grid)),
            Format::Png(scale) => Image::Png(png(&grid, scale.into()).ok_or_else(too_long)?),
            Format::Text => Image::Text(blocks(&grid)),
        };
        Ok(Code { image, modules: code.width() as u16, correction })
    }
}

/// The modules, row by row.
struct Grid {
    width: usize,
    dark: Vec<bool>,
}

impl Grid {
    /// The side of the drawing in modules, quiet zone and all.
    fn side(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// Whether a module of the drawing is dark; the quiet zone and all beyond it is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        match (x.checked_sub(QUIET), y.checked_sub(QUIET)) {
            (Some(x), Some(y)) if x < self.width => {
                self.dark.get(y * self.width + x).copied().unwrap_or(false)
            }
            _ => false,
        }
    }
}

/// One path, a horizontal run of dark modules a stroke.
fn svg(grid: &Grid) -> String {
    let side = grid.side();
    let mut path = String::new();
    for y in 0..side {
        let mut x = 0;
        while x < side {
            let run = (x..side).take_while(|&x| grid.is_dark(x, y)).count();
            if run > 0 {
                // Writing to a string cannot fail.
                let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
            }
            x += run + 1;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>\n"
    )
}

/// One bit a pixel; none if the encoder refuses, which it has no reason to.
fn png(grid: &Grid, scale: usize) -> Option<Vec<u8>> {
    let pixels = grid.side() * scale;
    let mut rows = Vec::with_capacity(pixels * pixels.div_ceil(8));
    for y in 0..pixels {
        for first in (0..pixels).step_by(8) {
            let byte = (first..first + 8).fold(0_u8, |byte, x| {
                let light = !grid.is_dark(x / scale, y / scale);
                byte << 1 | u8::from(light)
            });
            rows.push(byte);
        }
    }
    let mut file = Vec::new();
    let side = u32::try_from(pixels).ok()?;
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&rows).ok()?;
    writer.finish().ok()?;
    Some(file)
}

/// Half blocks: light modules are drawn, so that it can be read on a dark terminal.
fn blocks(grid: &Grid) -> String {
    let side = grid.side();
    let mut text = String::new();
    for y in (0..side).step_by(2) {
        for x in 0..side {
            let below = y + 1 < side && !grid.is_dark(x, y + 1);
            text.push(match (!grid.is_dark(x, y), below) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "https://example.org/";

    fn draw(format: Format) -> Code {
        QrCodes::draw(TEXT.into(), format, None).unwrap()
    }

    /// The finder pattern in the upper left corner, quiet zone taken off.
    const FINDER: [&str; 7] = ["#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######"];

    #[test]
    fn png_shows_the_finder_pattern() {
        let Image::Png(file) = draw(Format::Png(3)).image else { panic!("no png") };
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), ((25 + 8) * 3, (25 + 8) * 3));
        let dark = |x: usize, y: usize| pixels[y * info.line_size + x / 8] >> (7 - x % 8) & 1 == 0;
        for (y, row) in FINDER.iter().enumerate() {
            for (x, module) in row.chars().enumerate() {
                assert_eq!(dark((x + QUIET) * 3 + 1, (y + QUIET) * 3 + 1), module == '#', "{x} {y}");
            }
        }
    }

    #[test]
    fn svg_is_one_path_of_runs() {
        let code = draw(Format::Svg);
        let Image::Svg(svg) = code.image else { panic!("no svg") };
        assert_eq!(code.modules, 25);
        assert!(svg.contains("viewBox=\"0 0 33 33\"") && svg.contains("d=\"M4 4h7v1h-7z"), "{svg}");
    }

    #[test]
    fn text_has_two_rows_to_a_line() {
        let Image::Text(text) = draw(Format::Text).image else { panic!("no text") };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 17);
        assert!(lines.iter().all(|line| line.chars().count() == 33));
        assert!(lines[2].starts_with("████ ▄▄▄▄▄ "), "{}", lines[2]);
    }

    #[test]
    fn more_correction_takes_more_modules() {
        let high = QrCodes::draw(TEXT.into(), Format::Svg, Some(Correction::High)).unwrap();
        assert!(high.modules > 25);
    }

    #[test]
    fn too_long_a_text_is_an_error() {
        let long = "x".repeat(3000);
        assert!(matches!(QrCodes::draw(long, Format::Svg, None), Err(Failure::TooLong(3000))));
        assert!(matches!(QrCodes::draw(TEXT.into(), Format::Png(0), None), Err(Failure::BadScale(0))));
    }
}
