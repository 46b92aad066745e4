//! Text and lines on pages: our two fonts, embedded, shaped with kerning, and placed by their width.

use super::pdf::PdfError;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule};
use krilla::text::{Font, GlyphId, KrillaGlyph};
use krilla::{Data, Document};
use rustybuzz::{Direction, Face, UnicodeBuffer};

/// IBM Plex Sans: its digits are equally wide, so amounts stand below each other. Its licence lies beside it.
const REGULAR: &[u8] = include_bytes!("fonts/IBMPlexSans-Regular.ttf");
const SEMI_BOLD: &[u8] = include_bytes!("fonts/IBMPlexSans-SemiBold.ttf");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Regular,
    SemiBold,
}

/// Red, green and blue.
pub type Color = [u8; 3];

/// How a text looks; the size is in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    pub weight: Weight,
    pub size: f32,
    pub color: Color,
}

struct Typeface {
    shaper: Face<'static>,
    font: Font,
    units_per_em: f32,
}

impl Typeface {
    fn new(bytes: &'static [u8]) -> Result<Self, PdfError> {
        let shaper = Face::from_slice(bytes, 0).ok_or(PdfError::Font)?;
        let font = Font::new(Data::from(bytes), 0).ok_or(PdfError::Font)?;
        let units_per_em = units(shaper.units_per_em());
        Ok(Self { shaper, font, units_per_em })
    }
}

/// Measures of a font: they have 16 bits.
fn units(value: i32) -> f32 {
    f32::from(i16::try_from(value).unwrap_or(i16::MAX))
}

pub struct Fonts {
    regular: Typeface,
    semi_bold: Typeface,
}

/// A piece of text on one line, as wide as it is.
pub struct Line {
    text: String,
    glyphs: Vec<KrillaGlyph>,
    style: Style,
    pub width: f32,
}

impl Fonts {
    pub fn new() -> Result<Self, PdfError> {
        Ok(Self { regular: Typeface::new(REGULAR)?, semi_bold: Typeface::new(SEMI_BOLD)? })
    }

    fn face(&self, weight: Weight) -> &Typeface {
        match weight {
            Weight::Regular => &self.regular,
            Weight::SemiBold => &self.semi_bold,
        }
    }

    /// Sets a text on one line.
    pub fn line(&self, text: &str, style: Style) -> Result<Line, PdfError> {
        let face = self.face(style.weight);
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        buffer.set_direction(Direction::LeftToRight);
        let shaped = rustybuzz::shape(&face.shaper, &[], buffer);
        let ends = shaped.glyph_infos().iter().skip(1).map(|info| info.cluster).map(Some).chain([None]);
        let mut glyphs: Vec<KrillaGlyph> = Vec::with_capacity(shaped.len());
        let mut width = 0.0;
        for ((info, position), end) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()).zip(ends) {
            let place = |cluster: u32| usize::try_from(cluster).unwrap_or(text.len());
            let range = place(info.cluster)..end.map_or(text.len(), place);
            if info.glyph_id == 0 {
                let character = text.get(range).unwrap_or_default().to_owned();
                return Err(PdfError::NoGlyph { character, text: text.to_owned() });
            }
            let [advance, x, y] =
                [position.x_advance, position.x_offset, position.y_offset].map(|it| units(it) / face.units_per_em);
            width += advance * style.size;
            glyphs.push(KrillaGlyph::new(GlyphId::new(info.glyph_id), advance, x, y, 0.0, range, None));
        }
        Ok(Line { text: text.to_owned(), glyphs, style, width })
    }

    /// Sets a text on as many lines as it needs to be no wider than `width`; a word that is wider is broken.
    pub fn paragraph(&self, text: &str, style: Style, width: f32) -> Result<Vec<Line>, PdfError> {
        let mut lines: Vec<Line> = Vec::new();
        let mut current = String::new();
        for word in text.split_whitespace() {
            let joined = if current.is_empty() { word.to_owned() } else { format!("{current} {word}") };
            if self.line(&joined, style)?.width <= width {
                current = joined;
                continue;
            }
            if !current.is_empty() {
                lines.push(self.line(&current, style)?);
            }
            current = String::new();
            for letter in word.chars() {
                let longer = format!("{current}{letter}");
                if !current.is_empty() && self.line(&longer, style)?.width > width {
                    lines.push(self.line(&current, style)?);
                    current = letter.to_string();
                } else {
                    current = longer;
                }
            }
        }
        if !current.is_empty() {
            lines.push(self.line(&current, style)?);
        }
        Ok(lines)
    }
}

/// What stands on a page. Points from the upper left corner; `y` of a text is its baseline.
enum Mark {
    Text { x: f32, y: f32, line: Line },
    Bar { rectangle: Rect, color: Color },
}

/// Pages that are set before any is drawn, so that each can say how many there are.
pub struct Canvas {
    pub fonts: Fonts,
    pages: Vec<Vec<Mark>>,
    current: usize,
}

impl Canvas {
    /// With one empty page.
    pub fn new() -> Result<Self, PdfError> {
        Ok(Self { fonts: Fonts::new()?, pages: vec![Vec::new()], current: 0 })
    }

    pub fn start_page(&mut self) {
        self.current = self.pages.len();
        self.pages.push(Vec::new());
    }

    /// Goes on with a page that was started before, from 0 on.
    pub fn turn_to(&mut self, page: usize) {
        self.current = page;
    }

    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.get_mut(self.current) {
            page.push(mark);
        }
    }

    pub fn put(&mut self, x: f32, y: f32, line: Line) {
        self.mark(Mark::Text { x, y, line });
    }

    pub fn put_right(&mut self, right: f32, y: f32, line: Line) {
        self.put(right - line.width, y, line);
    }

    pub fn text(&mut self, x: f32, y: f32, text: &str, style: Style) -> Result<(), PdfError> {
        let line = self.fonts.line(text, style)?;
        self.put(x, y, line);
        Ok(())
    }

    /// Text that ends at `right`.
    pub fn text_right(&mut self, right: f32, y: f32, text: &str, style: Style) -> Result<(), PdfError> {
        let line = self.fonts.line(text, style)?;
        self.put_right(right, y, line);
        Ok(())
    }

    /// A filled rectangle; a line is a flat one.
    pub fn bar(&mut self, x: f32, y: f32, width: f32, height: f32, color: Color) {
        if let Some(rectangle) = Rect::from_xywh(x, y, width, height) {
            self.mark(Mark::Bar { rectangle, color });
        }
    }

    /// Draws all pages into a document.
    pub fn draw(&self, document: &mut Document, size: &PageSettings) {
        for marks in &self.pages {
            let mut page = document.start_page_with(size.clone());
            let mut surface = page.surface();
            for mark in marks {
                match mark {
                    Mark::Text { x, y, line } => {
                        let font = self.fonts.face(line.style.weight).font.clone();
                        let start = Point::from_xy(*x, *y);
                        surface.set_fill(Some(fill(line.style.color)));
                        surface.draw_glyphs(start, &line.glyphs, font, &line.text, line.style.size, false);
                    }
                    Mark::Bar { rectangle, color } => {
                        let mut path = PathBuilder::new();
                        path.push_rect(*rectangle);
                        surface.set_fill(Some(fill(*color)));
                        path.finish().iter().for_each(|path| surface.draw_path(path));
                    }
                }
            }
            surface.finish();
            page.finish();
        }
    }
}

fn fill([red, green, blue]: Color) -> Fill {
    let paint = rgb::Color::new(red, green, blue).into();
    Fill { paint, opacity: NormalizedF32::ONE, rule: FillRule::default() }
}
