//! What levels yield in windows, worked out by hand.

use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::simulate::examples::run_examples;

const REGISTER: &str = "# Register\n\n```toml\n[party]\nlab.name = \"Lab\"\nms.name = \"Cloud\"\n[cloud.azure]\noperator = \"ms\"\n\
                        [product.api]\nmaker = \"lab\"\n[product.chat]\nmaker = \"lab\"\n```\n";

const HEAD: &str = r#"# Agreement

```toml
[contract]
id = "main"
zone = "UTC"
currency = "USD"
period = "month"
rounding = "half_up"
negative = "carry"
pro_rata = "full"

[version]
number = 1
effective = 2026-01-01

[base.Sales]
select = { charges = { seller = "lab" } }
"#;

/// Runs a contract with an example; `fee` is a term of the lab that pays the cloud.
#[track_caller]
fn right(blocks: &str, given: &str, expect: &str) {
    let blocks = blocks.replace("[term.fee]", "[term.fee]\npayer = \"lab\"\npayee = \"ms\"");
    let text = format!(
        "{HEAD}\n{blocks}\n```\n\n## Example: by hand\n\n| given | at | amount | seller | product |\n\
         | --- | --- | --- | --- | --- |\n{given}\n\n| expect | period | amount |\n| --- | --- | --- |\n{expect}\n"
    );
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let folder = read_folder(&[file("register.md", REGISTER), file("main.md", &text)]);
    let figures = run_examples(&folder.unwrap_or_else(|errors| panic!("{errors}")));
    assert_eq!(figures.len(), expect.trim().lines().count());
    let wrong: Vec<String> = figures.iter().filter(|it| !it.is_right).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

const SEATS: &str = "[figure.Seats]\nunit = \"number\"\nkind = \"level\"\nmissing = \"zero\"\n\n";
const SEATS_GIVEN: &str = "| figure Seats f | 2026-01-01 | 5 | | |\n| figure Seats g | 2026-03-10 | 7 | | |";
const WORTH: &str = "[figure.Worth]\nunit = \"USD\"\nkind = \"level\"\nmissing = \"zero\"\n\n";

/// 5 seats at the end of January and February, 7 at the end of March.
#[test]
fn a_level_is_owed_once_for_each_window_as_it_stands_at_its_end() {
    let fee = format!("{SEATS}[term.fee]\nprice = \"20 USD\"\nof = \"Seats\"\neach = \"month\"");
    let expect = "| fee | 2026-01 | 100 USD |\n| fee | 2026-02 | 100 USD |\n| fee | 2026-03 | 140 USD |";
    right(&fee, SEATS_GIVEN, expect);
    let quarterly = fee.replace("\"month\"", "\"quarter\"\nat_window_end = true");
    right(&quarterly, SEATS_GIVEN, "| fee | 2026-02 | 0 USD |\n| fee | 2026-03 | 140 USD |");
}

/// A block of five, then two of which one is begun.
#[test]
fn blocks_of_a_level_count() {
    let blocks = "price = \"30 USD\"\nof = \"Seats\"\nper_units = \"5\"\npart_block = \"whole\"\neach = \"month\"";
    let expect = "| fee | 2026-02 | 30 USD |\n| fee | 2026-03 | 60 USD |";
    right(&format!("{SEATS}[term.fee]\n{blocks}"), SEATS_GIVEN, expect);
}

/// 10 % of two sales of 100, and 50 once.
#[test]
fn a_level_beside_sales_is_owed_once() {
    let fee = "[term.fee]\neach = \"month\"\nsum = [{ rate = \"10%\", of = \"Sales\" }, { of = \"Worth\" }]";
    let given = "| figure Worth f | 2026-01-01 | 50 USD | | |\n| charge a | 2026-01-05 | 100 USD | lab | |\n\
                 | charge b | 2026-01-06 | 100 USD | lab | |";
    right(&format!("{WORTH}{fee}"), given, "| fee | 2026-01 | 70 USD |\n| fee | 2026-02 | 50 USD |");
}

/// An amount of it counts in a base (10 % of 80), and toward a minimum (100 less 80).
#[test]
fn a_level_counts_as_an_amount_of_each_window() {
    let amount =
        "[amount.Monthly]\nof = \"Worth\"\neach = \"month\"\n\n[base.B]\nselect = { amount = \"Monthly\" }\n\n";
    let given = "| figure Worth f | 2026-05-02 | 80 USD | | |";
    let share = "[term.fee]\nrate = \"10%\"\nof = \"B\"";
    right(&format!("{WORTH}{amount}{share}"), given, "| fee | 2026-04 | 0 USD |\n| fee | 2026-05 | 8 USD |");
    let minimum = "[term.fee]\nminimum = { is = \"100 USD\", each = \"month\", of = \"Monthly\" }";
    right(&format!("{WORTH}{amount}{minimum}"), given, "| fee | 2026-04 | 100 USD |\n| fee | 2026-05 | 20 USD |");
}

/// February: 500 at 10 % and 500 at 20 %. March has no window.
#[test]
fn what_counts_stops_after_the_last_window_that_is_listed() {
    let listed = "[period.two]\nstarts = [2026-01-01, 2026-02-01, 2026-03-01]\n\n[term.fee]\nof = \"Sales\"\n";
    let given = "| charge a | 2026-02-02 | 1000 USD | lab | |\n| charge b | 2026-03-02 | 100 USD | lab | |";
    let tiers = "rate = [{ up_to = \"500 USD\", is = \"10%\" }, { otherwise = \"20%\" }]\n\
                 tiers = { apply = \"marginal\", each = \"two\", from = 2026-01-01 }";
    right(&format!("{listed}{tiers}"), given, "| fee | 2026-02 | 150 USD |\n| fee | 2026-03 | stops |");
    let ends = format!("{listed}{tiers}\nthrough = 2026-02-28");
    right(&ends, given, "| fee | 2026-02 | 150 USD |\n| fee | 2026-03 | 0 USD |");
    let cap = "rate = \"10%\"\ncap = { is = [{ period = 1, is = \"20 USD\" }, { otherwise = \"50 USD\" }], each = \"two\", \
               from = 2026-01-01, opening = \"0 USD\", excess = \"lost\" }";
    right(&format!("{listed}{cap}"), given, "| fee | 2026-02 | 50 USD |\n| fee | 2026-03 | stops |");
}
