//! Worked examples of agreements: those that ship, those of real contracts, and wrong ones.

use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::simulate::examples::{Figure, run_examples};
use std::path::Path;

/// The files of a folder of the repository, and of the folders in it.
fn files_in(folder: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("a text");
                files.push(SourceFile { path: path.strip_prefix(&root).expect("a path").display().to_string(), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read(folder: &str) -> Folder {
    read_folder(&files_in(folder)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs all examples of a folder, and tells which are wrong.
#[track_caller]
fn all_are_right(folder: &str) -> Vec<Figure> {
    let figures = run_examples(&read(folder));
    let wrong: Vec<String> = figures.iter().filter(|it| !it.is_right).map(ToString::to_string).collect();
    println!("{folder}: {} figures, {} wrong", figures.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    figures
}

/// `EXAMPLES=DIR` names a folder of agreements, to run its examples while they are written.
#[test]
fn examples_of_a_folder_that_somebody_names() {
    if let Ok(folder) = std::env::var("EXAMPLES") {
        all_are_right(&folder);
    }
}
