//! The files of a folder, and of all in it, by their endings; and those that have others, which nothing reads.

use crate::domain::contract::folder::SourceFile;
use std::io;
use std::path::{Path, PathBuf};

/// What was found in a folder.
pub struct Gathered {
    pub folder: PathBuf,
    /// By path within the folder; endings are in small letters.
    pub files: Vec<SourceFile>,
    /// What has another ending. What is hidden, and the schema that we write for editors, is passed over.
    pub unread: Vec<PathBuf>,
}

/// What cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {}", told(.problem))]
pub struct Unreadable {
    pub path: PathBuf,
    pub problem: io::Error,
}

fn told(problem: &io::Error) -> String {
    match problem.kind() {
        io::ErrorKind::NotADirectory => "it is a file; name the folder that it is in, of which all is read".to_owned(),
        _ => problem.to_string(),
    }
}

/// Reads the files of a folder, and of all in it, that have one of the endings.
///
/// # Errors
/// A file or folder that cannot be read.
pub fn gather(folder: &Path, endings: &[&str]) -> Result<Gathered, Unreadable> {
    let mut gathered = Gathered { folder: folder.to_owned(), files: Vec::new(), unread: Vec::new() };
    let mut waiting = vec![folder.to_owned()];
    while let Some(inner) = waiting.pop() {
        for entry in std::fs::read_dir(&inner).map_err(unreadable(&inner))? {
            let entry = entry.map_err(unreadable(&inner))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name.starts_with('.') {
                continue;
            }
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            if path.is_dir() {
                waiting.push(path);
            } else if let Some(ending) = ending.filter(|ending| endings.contains(&ending.as_str())) {
                let text = text(&path)?;
                let path = path.strip_prefix(folder).unwrap_or(&path).with_extension(ending);
                gathered.files.push(SourceFile { path: path.display().to_string(), text });
            } else if name != "schema.json" {
                gathered.unread.push(path);
            }
        }
    }
    gathered.files.sort_by(|a, b| a.path.cmp(&b.path));
    gathered.unread.sort();
    Ok(gathered)
}

/// The text of a file. A byte order mark and the line ends of an editor are no other words.
///
/// # Errors
/// It cannot be read.
pub fn text(path: &Path) -> Result<String, Unreadable> {
    let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Unreadable {
    let path = path.to_owned();
    move |problem| Unreadable { path, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_of_any_case_and_others_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        for inner in ["inner", ".git"] {
            std::fs::create_dir(folder.path().join(inner)).expect("a folder");
        }
        let prices = ("inner/Prices.CSV", "\u{feff}a\r\nb\r\n");
        for (name, text) in [prices, ("notes.markdown", ""), (".hidden", ""), (".git/a.md", ""), ("schema.json", "")] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let Gathered { files, unread, .. } = gather(folder.path(), &["md", "csv"]).expect("read");
        let files: Vec<(&str, &str)> = files.iter().map(|it| (it.path.as_str(), it.text.as_str())).collect();
        assert_eq!(files, [("inner/Prices.csv", "a\nb\n")]);
        assert_eq!(unread, [folder.path().join("notes.markdown")]);
        let file = folder.path().join("notes.markdown");
        let error = gather(&file, &["md"]).err().expect("a refusal").to_string();
        let expect = "it is a file; name the folder that it is in, of which all is read";
        assert_eq!(error, format!("{}: {expect}", file.display()));
    }
}
