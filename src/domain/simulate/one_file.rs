//! A scenario as one Markdown document: each fenced block with a path after its language is the file of that path.

use super::Scenario;
use crate::domain::contract::folder::SourceFile;
use crate::domain::names::is_near;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A file of a scenario, and where people find it.
#[derive(Debug)]
pub(super) struct Part {
    pub file: SourceFile,
    /// The file that people opened, and how many lines stand above this part in it.
    pub shown: String,
    pub lines_above: usize,
}

impl Part {
    pub fn whole(file: &SourceFile) -> Self {
        Self { file: file.clone(), shown: file.path.clone(), lines_above: 0 }
    }
}

/// A block that would be passed over although it looks like a part: its line.
#[derive(Debug)]
pub(super) struct PassedOver {
    pub line: usize,
}

/// The parts of a document; none where no block has a path, so that it is a contract or register itself.
pub(super) fn parts(file: &SourceFile) -> Result<Vec<Part>, PassedOver> {
    let (mut parts, mut passed_over) = (Vec::new(), None);
    let mut open: Option<Part> = None;
    for (event, range) in Parser::new(&file.text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let above = file.text.get(..range.start).unwrap_or_default().matches('\n').count();
                let mut words = info.split_whitespace();
                match (words.next(), words.next()) {
                    (Some(_), Some(path)) => {
                        let file = SourceFile { path: path.to_owned(), text: String::new() };
                        let lines_above = above.saturating_add(1);
                        open = Some(Part { file, shown: String::new(), lines_above });
                    }
                    (language, None) if language.is_none_or(is_of_part) => {
                        passed_over.get_or_insert(PassedOver { line: above.saturating_add(1) });
                    }
                    // Such as `text`.
                    _ => {}
                }
            }
            Event::Text(text) => {
                if let Some(part) = &mut open {
                    part.file.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => parts.extend(open.take()),
            _ => {}
        }
    }
    if parts.is_empty() {
        return Ok(parts);
    }
    passed_over.map_or(Ok(()), Err)?;
    for part in &mut parts {
        part.shown.clone_from(&file.path);
    }
    Ok(parts)
}

/// Whether a language is that of a part, or looks like it.
fn is_of_part(language: &str) -> bool {
    ["toml", "csv", "json", "jsonl", "markdown", "md"].iter().any(|part| is_near(part, language))
}

impl Scenario {
    /// The scenario as one document, which can be read in place of its folder.
    pub fn write_one_file(&self, title: &str) -> String {
        let mut text = format!("# {title}\n");
        for SourceFile { path, text: part } in &self.files {
            let language = match path.rsplit_once('.') {
                Some((_, "md")) => "markdown",
                Some((_, extension)) => extension,
                None => "text",
            };
            let longest = part.split(|it| it != '`').map(str::len).max().unwrap_or_default();
            let fence = "`".repeat(longest.saturating_add(1).max(3));
            let end = if part.is_empty() || part.ends_with('\n') { "" } else { "\n" };
            text.push_str(&format!("\n{fence}{language} {path}\n{part}{end}{fence}\n"));
        }
        text
    }
}
