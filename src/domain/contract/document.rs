//! A contract document: Markdown with fenced TOML blocks. Finds the blocks, headings and clause texts.

use super::Clause;
use crate::domain::names::is_near;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::fmt;
use std::ops::Range;

/// A place in a document, for people: lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Location {
    /// The line alone.
    pub fn of_line(&self) -> FileLine {
        FileLine { path: self.file.clone(), line: self.line }
    }
}

/// A line of a file, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct FileLine {
    pub path: String,
    pub line: usize,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// A document taken apart, its text kept.
#[derive(Clone, Debug)]
pub struct Document {
    pub file: String,
    pub text: String,
    /// The first heading of the document.
    pub title: String,
    /// The TOML of all blocks at the very offsets that they have in the document, all else blanked, so that
    /// a position in it is a position in the document.
    pub toml: String,
    /// The first code that would be passed over although it looks like a block, and its position: a fence of a language
    /// such as `TOML` or `tml`, or tables in a fence of another language than `text`, in indented code or within HTML.
    pub almost_toml: Option<(usize, &'static str)>,
    /// The tables of the text, in order.
    pub tables: Vec<TextTable>,
    clauses: Vec<(usize, Clause)>,
}

/// A table of the text: its cells with their positions, the first row the heads of its columns.
#[derive(Clone, Debug, Default)]
pub struct TextTable {
    pub rows: Vec<Vec<TextCell>>,
}

#[derive(Clone, Debug)]
pub struct TextCell {
    pub at: usize,
    pub text: String,
}

impl Document {
    /// Takes a document apart. Fences of other languages than `toml` are text like any other.
    pub fn parse(file: &str, text: &str) -> Self {
        let mut toml: Vec<u8> = text.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect();
        let mut clauses: Vec<(usize, Clause)> = Vec::new();
        let (mut in_heading, mut in_toml) = (false, false);
        let mut paragraph: Option<String> = None;
        let mut almost_toml = None;
        let mut tables: Vec<TextTable> = Vec::new();
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            if let Event::Start(tag) = &event
                && let Some(found) = passed_over(tag, text.get(range.clone()).unwrap_or_default())
            {
                almost_toml.get_or_insert((range.start, found));
            }
            match event {
                Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell) => {
                    gather_cell(&mut tables, &event, range.start, text.get(range.clone()).unwrap_or_default());
                }
                Event::Start(Tag::Heading { .. }) => {
                    in_heading = true;
                    clauses.push((range.start, Clause { heading: String::new(), text: String::new() }));
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    in_toml = &*language == "toml";
                }
                Event::End(TagEnd::CodeBlock) => in_toml = false,
                Event::Start(Tag::Paragraph) => paragraph = Some(String::new()),
                Event::End(TagEnd::Paragraph) => {
                    if let (Some((_, clause)), Some(words)) = (clauses.last_mut(), paragraph.take()) {
                        let separator = if clause.text.is_empty() { "" } else { "\n" };
                        clause.text.push_str(separator);
                        clause.text.push_str(&words);
                    }
                }
                Event::Text(_) if in_toml => {
                    if let (Some(to), Some(from)) = (toml.get_mut(range.clone()), text.as_bytes().get(range)) {
                        to.copy_from_slice(from);
                    }
                }
                Event::Text(words) | Event::Code(words) if in_heading => {
                    if let Some((_, clause)) = clauses.last_mut() {
                        clause.heading.push_str(&words);
                    }
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(paragraph) = &mut paragraph {
                        paragraph.push_str(&words);
                    }
                }
                Event::SoftBreak | Event::HardBreak => {
                    if let Some(paragraph) = &mut paragraph {
                        paragraph.push(' ');
                    }
                }
                _ => {}
            }
        }
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            title: clauses.first().map(|(_, clause)| clause.heading.clone()).unwrap_or_default(),
            // Blanking writes ASCII and copies whole lines of valid text, so this never fails.
            toml: String::from_utf8(toml).unwrap_or_default(),
            almost_toml,
            tables,
            clauses,
        }
    }

    /// The clause that a position belongs to: that of the nearest heading above it.
    pub fn clause_at(&self, offset: usize) -> Clause {
        let above = self.clauses.iter().rev().find(|(start, _)| *start <= offset);
        above.map(|(_, clause)| clause.clone()).unwrap_or(Clause { heading: String::new(), text: String::new() })
    }

    /// The block in which a position lies: `term revenue-share`; empty where it lies in none.
    pub fn block_at(&self, offset: usize) -> String {
        let start =
            self.toml.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |end| end.saturating_add(1));
        let before = self.toml.get(..start).unwrap_or_default();
        let line = self.toml.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let in_block = !line.trim().is_empty() || before.lines().next_back().is_some_and(|it| !it.trim().is_empty());
        let mut heads = [line].into_iter().chain(before.lines().rev()).filter_map(table_head);
        let head = heads.find(|head| !head.contains(['=', '{', ',']));
        let name = head.filter(|_| in_block).map(|head| head.trim_matches(['[', ']']).replacen('.', " ", 1));
        name.map(|name| name.replace('"', "")).unwrap_or_default()
    }

    /// The text at a place with the key before it: `of = "Revenu"`; empty for what is a whole block.
    pub fn fault_at(&self, at: &Range<usize>) -> String {
        let found = self.toml.get(at.clone()).unwrap_or_default();
        let first = found.lines().next().unwrap_or_default().trim_end();
        let before = self.toml.get(..at.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        if first.is_empty() || line.is_empty() && table_head(first).is_some() {
            return String::new();
        }
        let shown: String = first.chars().take(100).collect();
        let dots = if shown.len() < found.trim_end().len() { " .." } else { "" };
        let key = line.trim_end().strip_suffix('=').map(|key| {
            let key = key.trim_end();
            let start = key.rfind([' ', '{', ',', '[']).map_or(0, |space| space.saturating_add(1));
            key.get(start..).unwrap_or_default()
        });
        key.map_or_else(|| format!("{shown}{dots}"), |key| format!("{key} = {shown}{dots}"))
    }

    /// Where the block that begins at a place names something first, in quotes.
    pub fn naming(&self, block: usize, name: &str) -> Option<Range<usize>> {
        let text = self.toml.get(block..)?;
        let mut lines = text.split_inclusive('\n');
        let head = lines.next()?;
        let of_block = head.trim().trim_end_matches(']');
        let is_own = |line: &&str| table_head(line).is_none() || line.trim().starts_with(&format!("{of_block}."));
        let end = lines.take_while(is_own).map(str::len).fold(head.len(), usize::saturating_add);
        let quoted = format!("\"{name}\"");
        let found = text.get(head.len()..end)?.find(&quoted)?;
        let start = block.saturating_add(head.len()).saturating_add(found);
        Some(start..start.saturating_add(quoted.len()))
    }

    /// The position of a line and column.
    pub fn offset_of(&self, at: &Location) -> usize {
        let before = self.text.split_inclusive('\n').take(at.line.saturating_sub(1)).map(str::len).sum::<usize>();
        let line = self.text.get(before..).unwrap_or_default();
        let column = line.char_indices().nth(at.column.saturating_sub(1)).map_or(0, |(column, _)| column);
        before.saturating_add(column)
    }

    /// The line and column of a position.
    pub fn location_at(&self, offset: usize) -> Location {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
        Location {
            file: self.file.clone(),
            line: before.matches('\n').count().saturating_add(1),
            column: before.get(line_start..).map_or(0, |line| line.chars().count()).saturating_add(1),
        }
    }
}

/// Takes in the beginning of a table, of a row of it, or a cell.
fn gather_cell(tables: &mut Vec<TextTable>, event: &Event<'_>, at: usize, text: &str) {
    match event {
        Event::Start(Tag::Table(_)) => tables.push(TextTable::default()),
        Event::Start(Tag::TableCell) => {
            let begun = text.trim_start_matches(['|', ' ', '`']);
            let at = at.saturating_add(text.len().saturating_sub(begun.len()));
            let words = begun.trim_end_matches(['|', ' ', '`']).to_owned();
            let row = tables.last_mut().and_then(|table| table.rows.last_mut());
            row.into_iter().for_each(|row| row.push(TextCell { at, text: words.clone() }));
        }
        _ => tables.last_mut().into_iter().for_each(|table| table.rows.push(Vec::new())),
    }
}

/// What a piece of a document is that looks like a block and is none.
fn passed_over(tag: &Tag<'_>, text: &str) -> Option<&'static str> {
    match tag {
        Tag::CodeBlock(CodeBlockKind::Fenced(language)) if &**language == "toml" => None,
        Tag::CodeBlock(CodeBlockKind::Fenced(language)) if is_toml_misspelt(language) => {
            Some("a fence of another language than toml")
        }
        Tag::CodeBlock(CodeBlockKind::Fenced(language)) if language.is_empty() && has_table(text) => {
            Some("a fence without a language")
        }
        // Whatever its language is: `text` says that it is none.
        Tag::CodeBlock(CodeBlockKind::Fenced(language))
            if !language.is_empty() && &**language != "text" && has_block(text) =>
        {
            Some("a block in a fence of another language than toml")
        }
        Tag::CodeBlock(CodeBlockKind::Indented) if has_table(text) => Some("indented code"),
        Tag::HtmlBlock if text.contains("```") || text.contains("~~~") || has_table(text) => {
            Some("a block within HTML")
        }
        _ => None,
    }
}

fn has_table(code: &str) -> bool {
    code.lines().any(|line| table_head(line).is_some())
}

/// Whether code has the head of a table with a name: a line of JSON may stand in brackets too.
fn has_block(code: &str) -> bool {
    let is_named = |line: &str| line.trim_start_matches('[').starts_with(|first: char| first.is_ascii_alphabetic());
    code.lines().filter_map(table_head).any(|head| is_named(head) && !head.contains(','))
}

/// The head of a TOML table, such as `[term.share]`, without what is said of it in a comment; none where a line is no head.
pub fn table_head(line: &str) -> Option<&str> {
    let mut is_quoted = false;
    let is_comment = |sign: char| {
        is_quoted ^= sign == '"';
        sign == '#' && !is_quoted
    };
    let head = line.split(is_comment).next().unwrap_or_default().trim();
    (head.starts_with('[') && head.ends_with(']')).then_some(head)
}

/// Whether the first word of a fence's language is `toml` or looks like it, in whatever case and braces.
fn is_toml_misspelt(language: &str) -> bool {
    let mut words = language.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.next().is_some_and(|word| is_near(word, "toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Title\n\n## Share, 2.1\n\nThe lab pays\na share.\n\n```toml\n[term.é]\nrate = \"20%\"\n```\n\n```text\n[no.toml]\n```\n";

    #[test]
    fn a_block_in_no_fence_of_toml_is_told_and_other_code_is_text() {
        let found = |fence: &str, code: &str| {
            let text = format!("# Title\n\n```{fence}\n{code}\n```\n");
            Document::parse("a.md", &text).almost_toml.map(|(at, _)| at)
        };
        for (fence, code) in [
            ("tml", "rate = 1"),
            ("tom", ""),
            ("tolm", "[term.share]"),
            ("ini", "[term.share]\nrate = 1"),
            ("json", "[[term]]"),
            ("", "[version]"),
        ] {
            assert_eq!(found(fence, code), Some(9), "{fence}: {code}");
        }
        for (fence, code) in
            [("text", "[term.share]"), ("json", "[1, 2]\n[\"a\"]"), ("sh", "[ -f x ]"), ("html", ""), ("yaml", "a: 1")]
        {
            assert_eq!(found(fence, code), None, "{fence}: {code}");
        }
    }

    #[test]
    fn blocks_keep_their_place_and_their_clause() {
        let document = Document::parse("a.md", TEXT);
        assert_eq!(document.title, "Title");
        assert_eq!(document.toml.trim(), "[term.é]\nrate = \"20%\"");
        let offset = document.toml.find("rate").expect("the block");
        assert_eq!(document.location_at(offset).to_string(), "a.md:10:1");
        let clause = document.clause_at(offset);
        assert_eq!((clause.heading.as_str(), clause.text.as_str()), ("Share, 2.1", "The lab pays a share."));
    }
}
