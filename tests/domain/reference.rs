//! Every example of `contracts/README.md` is read, and every line of a file that it shows.

use crate::support::{head, shipped_files};
use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::entry::{Entry, NewEntry};

/// What the examples refer to.
const DEFINITIONS: &str = concat!(
    head!("example"),
    r#"[base.Sales]
select = { charges = { seller = "openai" } }

[base.Requests]
select = { units = { meter = "requests" } }
```

```toml
"#
);

#[test]
fn every_example_of_the_reference_is_read() {
    let mut files = shipped_files();
    let readme = files.iter().find(|file| file.path == "README.md").expect("the reference").text.clone();
    let from = readme.find("## Parts, each with an example").expect("the examples");
    let to = readme.find("## Worked examples").expect("their end");
    files.retain(|file| file.path == "register.md");
    let examples: Vec<&str> =
        readme[from..to].split("```text\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 10, "{examples:?}");
    for example in examples {
        let text = format!("{DEFINITIONS}{example}```\n");
        let document = SourceFile { path: "example.md".into(), text };
        let all: Vec<SourceFile> = files.iter().cloned().chain([document]).collect();
        read_folder(&all).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

/// Every line of JSON in a part of the reference.
fn lines<'r>(readme: &'r str, from: &str, to: &str) -> Vec<&'r str> {
    let from = readme.find(from).expect("the part");
    let part = &readme[from..from + readme[from..].find(to).expect("its end")];
    part.lines().filter(|line| line.starts_with('{')).collect()
}

#[test]
fn every_line_of_a_file_that_the_reference_shows_is_read() {
    let files = shipped_files();
    let readme = &files.iter().find(|file| file.path == "README.md").expect("the reference").text;
    let records = lines(readme, "## Records", "## When something was wrong");
    assert!(records.len() > 7, "{records:?}");
    for line in records {
        NewEntry::storable(line).unwrap_or_else(|error| panic!("{error}\n{line}"));
    }
    let entries = lines(readme, "## Scenarios", "| step | asks |");
    assert!(entries.len() > 8, "{entries:?}");
    for line in entries {
        Entry::from_json(line).unwrap_or_else(|error| panic!("{error}\n{line}"));
    }
}
