//! `actum:thumbnail`: PNG and JPEG images, scaled down.

actum_guest::capability! {
    wit: "../../wit/thumbnail",
    implement: Thumbnails,
}

use std::io::Cursor;

use bindings::exports::actum::thumbnail::thumbnail::{Failure, Format, Guest, Size, Thumbnail};
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

/// Most pixels an image may have: 128 MiB once decoded. A header of a few bytes can claim billions.
const MAX_PIXELS: u64 = 32_000_000;

/// Longest side of a thumbnail, in pixels.
const MAX_SIDE: u32 = 4096;

const DEFAULT_QUALITY: u8 = 80;

struct Thumbnails;

impl Guest for Thumbnails {
    fn make(image: Vec<u8>, fit: Size, format: Option<Format>) -> Result<Thumbnail, Failure> {
        if ![fit.width, fit.height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(Failure::BadSize);
        }
        let format = format.unwrap_or(Format::Png);
        if let Format::Jpeg(Some(quality)) = format
            && !(1..=100).contains(&quality)
        {
            return Err(Failure::BadQuality(quality));
        }

        let (decoder, orientation, original) = open(&image)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        picture.apply_orientation(orientation);
        if picture.width() > fit.width || picture.height() > fit.height {
            picture = picture.thumbnail(fit.width, fit.height);
        }
        Ok(Thumbnail {
            data: encode(&picture, format)?,
            size: Size { width: picture.width(), height: picture.height() },
            original,
        })
    }

    fn measure(image: Vec<u8>) -> Result<Size, Failure> {
        open(&image).map(|(_, _, size)| size)
    }
}

/// Reads the header only, and refuses what would be too large to decode.
fn open(image: &[u8]) -> Result<(impl ImageDecoder + '_, Orientation, Size), Failure> {
    let mut reader = ImageReader::new(Cursor::new(image))
        .with_guessed_format()
        .map_err(|error| Failure::Damaged(error.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(Failure::Unsupported);
    }
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let size = match orientation {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => Size { width, height },
        _ => Size { width: height, height: width },
    };
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Failure::TooLarge(size));
    }
    Ok((decoder, orientation, size))
}

fn encode(picture: &DynamicImage, format: Format) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    match format {
        Format::Png => picture.write_to(&mut Cursor::new(&mut data), ImageFormat::Png),
        Format::Jpeg(quality) => JpegEncoder::new_with_quality(&mut data, quality.unwrap_or(DEFAULT_QUALITY))
            .encode_image(&on_white(picture)),
    }
    .map_err(damaged)?;
    Ok(data)
}

/// JPEG has no transparency.
fn on_white(picture: &DynamicImage) -> RgbImage {
    let source = picture.to_rgba8();
    let mut target = RgbImage::new(source.width(), source.height());
    for (from, to) in source.pixels().zip(target.pixels_mut()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        to.0 = [red, green, blue].map(|channel| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    target
}

fn damaged(error: ImageError) -> Failure {
    Failure::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let picture =
            RgbaImage::from_fn(width, height, |x, y| Rgba([(x % 256) as u8, (y % 256) as u8, 7, 255]));
        encode(&picture.into(), Format::Png).unwrap()
    }

    fn make(image: Vec<u8>, width: u32, height: u32, format: Option<Format>) -> Result<Thumbnail, Failure> {
        Thumbnails::make(image, Size { width, height }, format)
    }

    #[test]
    fn fits_the_box_and_keeps_proportions() {
        let made = make(png(400, 200), 100, 100, None).unwrap();
        assert_eq!((made.size.width, made.size.height), (100, 50));
        assert_eq!((made.original.width, made.original.height), (400, 200));
        let size = Thumbnails::measure(made.data).unwrap();
        assert_eq!((size.width, size.height), (100, 50));
    }

    #[test]
    fn never_enlarges() {
        let made = make(png(10, 5), 100, 100, None).unwrap();
        assert_eq!((made.size.width, made.size.height), (10, 5));
    }

    #[test]
    fn jpeg_quality_matters_and_transparency_turns_white() {
        let image = png(300, 300);
        let fine = make(image.clone(), 200, 200, Some(Format::Jpeg(Some(95)))).unwrap();
        let coarse = make(image, 200, 200, Some(Format::Jpeg(Some(5)))).unwrap();
        assert!(coarse.data.len() * 2 < fine.data.len());

        let clear: DynamicImage = RgbaImage::from_pixel(8, 8, Rgba([0, 0, 0, 0])).into();
        let clear = encode(&clear, Format::Png).unwrap();
        let made = make(clear, 8, 8, Some(Format::Jpeg(None))).unwrap();
        let shown = image::load_from_memory(&made.data).unwrap().to_rgb8();
        assert!(shown.pixels().all(|pixel| pixel.0.iter().all(|&channel| channel > 250)));
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        assert!(matches!(make(b"GIF89a\x01\0\x01\0".to_vec(), 9, 9, None), Err(Failure::Unsupported)));
        assert!(matches!(make(Vec::new(), 9, 9, None), Err(Failure::Unsupported)));
        let mut cut = png(50, 50);
        cut.truncate(cut.len() / 2);
        assert!(matches!(make(cut, 9, 9, None), Err(Failure::Damaged(_))));
    }

    #[test]
    fn a_claim_of_billions_of_pixels_is_refused_before_decoding() {
        let mut huge = png(1, 1);
        huge[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let crc = crc_of_header(&huge[12..29]);
        huge[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(make(huge, 9, 9, None), Err(Failure::TooLarge(Size { width: 32768, .. }))));
    }

    fn crc_of_header(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(
                crc ^ u32::from(byte),
                |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 },
            )
        })
    }

    #[test]
    fn bad_wishes_are_errors() {
        assert!(matches!(make(png(9, 9), 0, 9, None), Err(Failure::BadSize)));
        assert!(matches!(make(png(9, 9), 9, 5000, None), Err(Failure::BadSize)));
        assert!(matches!(make(png(9, 9), 9, 9, Some(Format::Jpeg(Some(0)))), Err(Failure::BadQuality(0))));
    }
}
