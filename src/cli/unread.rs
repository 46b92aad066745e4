//! Files of a folder that a command does not read: told beside its answer, as one may have a wrong ending.

use std::path::{Path, PathBuf};

/// Tells on standard error which files of a folder, and of all in it, have another ending than those that are read.
/// Hidden ones and what we write there ourselves are passed over; a folder that cannot be listed is told by who reads it.
pub fn tell_unread(folder: &Path, read: &[&str]) {
    let found = unread(folder, read);
    if found.is_empty() {
        return;
    }
    let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
    let endings: Vec<String> = read.iter().map(|ending| format!(".{ending}")).collect();
    eprintln!("Not read, as what is read ends in {}: {}.", endings.join(", "), names.join(", "));
}

fn unread(folder: &Path, read: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inner) = waiting.pop() {
        for entry in std::fs::read_dir(inner).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_read =
                || path.extension().is_some_and(|ending| read.iter().any(|it| ending.eq_ignore_ascii_case(it)));
            if name.starts_with('.') || name == "schema.json" {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else if !is_read() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
