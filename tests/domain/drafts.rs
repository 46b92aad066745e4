//! The drafts of real agreements, which stand in a folder `shared` beside the checkout, are read whole.

use crate::support::files_in;
use apportion::domain::contract::folder::read_folder;
use std::path::Path;

#[test]
fn every_draft_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/contracts-draft");
    if !folder.is_dir() {
        println!("skipped: no folder {}", folder.display());
        return;
    }
    let mut files = files_in(&folder);
    // What drafts say that the engine could not compute is refused, and left out here.
    let unsaid = [
        ("over = \"12 months\"\n", "", "unknown field `over`"),
        ("read = \"window_start\"", "read = \"at_item\"", "a window begins with nothing of what is counted in it"),
        (", as = \"received\"", "", "what is paid of a term is not recorded"),
        (", valued_at = \"Fair Price\"", "", "valued_at is the price of what charges count when they occur"),
    ];
    for (written, instead, refusal) in unsaid {
        let error = read_folder(&files).expect_err("refused").to_string();
        assert!(error.contains(refusal), "{error}");
        for file in &mut files {
            file.text = file.text.replace(written, instead);
        }
    }
    let read = read_folder(&files).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.contracts.len(), 22);
    let examples: usize = read.examples.iter().map(|it| it.examples.len()).sum();
    assert_eq!(examples, 11);
    serde_json::to_string(&read.contracts).expect("what people and programs may look at");
}
