//! Small agreements with examples worked out by hand: levels that are counted, sums that are owed on a day.

use apportion::domain::contract::folder::{SourceFile, read_folder};
use apportion::domain::simulate::examples::{Figure, run_examples};

pub const REGISTER: &str = r#"# Register

```toml
[party]
lab.name = "Lab"
ms.name = "Cloud"
[cloud.azure]
operator = "ms"
[product.api]
maker = "lab"
[product.chat]
maker = "lab"
```
"#;

/// A contract with 20 % of sales under `share`.
pub fn contract(id: &str, blocks: &str, example: &str) -> SourceFile {
    let text = format!(
        r#"# Agreement

```toml
[contract]
id = "{id}"
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
select = {{ charges = {{ seller = "lab" }} }}

[fact.completed]
kind = "event"
by = "lab"

[fx]
source = "fixed by the agreement"
date = "item"
rates = [{{ from = "USD", to = "EUR", rate = "0.5" }}, {{ from = "EUR", to = "USD", rate = "2" }}]

[term.share]
payer = "lab"
payee = "ms"
rate = "20%"
of = "Sales"

{blocks}
```

{example}
"#
    );
    SourceFile { path: format!("{id}.md"), text }
}

/// Cells that a row leaves out at its end are empty.
pub fn example(given: &str, expect: &str) -> String {
    format!(
        "## Example: by hand\n\n| given | at | amount | seller | product |\n| --- | --- | --- | --- | --- |\n{given}\n\n\
         | expect | period | amount |\n| --- | --- | --- |\n{expect}\n"
    )
}

/// The rows that examples expect, as they came out.
#[track_caller]
fn figures(files: &[SourceFile]) -> Vec<Figure> {
    let register = SourceFile { path: "register.md".to_owned(), text: REGISTER.to_owned() };
    let files: Vec<SourceFile> = [register].into_iter().chain(files.to_vec()).collect();
    let figures = run_examples(&read_folder(&files).unwrap_or_else(|errors| panic!("{errors}")));
    assert!(!figures.is_empty());
    figures
}

/// What is told of the rows that are wrong.
fn told(figures: &[Figure]) -> Vec<String> {
    figures.iter().filter(|it| !it.is_right).map(ToString::to_string).collect()
}

#[track_caller]
fn wrong(others: &[SourceFile], blocks: &str, given: &str, expect: &str) -> Vec<String> {
    let example = example(given, expect);
    let files: Vec<SourceFile> = [contract("main", blocks, &example)].into_iter().chain(others.to_vec()).collect();
    let figures = figures(&files);
    assert_eq!(figures.len(), expect.trim().lines().count(), "rows that are compared");
    told(&figures)
}

#[track_caller]
pub fn run(files: &[SourceFile]) -> Vec<String> {
    told(&figures(files))
}

#[track_caller]
pub fn right(others: &[SourceFile], blocks: &str, given: &str, expect: &str) {
    let wrong = wrong(others, blocks, given, expect);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

const COMPLETED: &str = "| charge a | 2026-01-05 | 100 USD | lab |
| charge b | 2026-02-03 | 50 USD | lab |
| fact completed | 2026-02-10 | | |
| charge c | 2026-02-20 | 200 USD | lab |";

/// By 10 February sales are 100 + 50: what is sold later is not in it.
#[test]
fn what_is_owed_at_a_fact_is_of_all_that_a_base_has_come_to() {
    let fee = "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Sales\"\non = \"completed\"";
    right(&[], fee, COMPLETED, "| fee | 2026-01 | 0 USD |\n| fee | 2026-02 | 15 USD |");
}

/// By then 20 % of 150, 30 USD, have accrued: half of them are 15 USD, at 0.5 EUR 7.50.
#[test]
fn what_is_owed_at_a_fact_is_converted() {
    let fee =
        "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nin = \"EUR\"\nrate = \"50%\"\nof = \"share\"\non = \"completed\"";
    right(&[], fee, COMPLETED, "| fee | 2026-02 | 7.50 EUR |");
    let of_base =
        "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nin = \"EUR\"\nrate = \"10%\"\nof = \"Sales\"\non = 2026-02-10";
    right(&[], of_base, COMPLETED, "| fee | 2026-02 | 7.50 EUR |");
}

/// `share` of the other contract is 20 % of 150, and its namesake here is not asked.
#[test]
fn what_is_owed_on_a_day_is_of_the_contract_that_it_names() {
    let fee = "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"50%\"\nof = \"other/share\"\non = 2026-02-10\n\n[term.other-fee]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"50%\"\nof = \"other/twice\"\non = 2026-02-10\n\n[term.twice]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"1%\"\nof = \"Sales\"";
    let twice = contract("other", "[term.twice]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"40%\"\nof = \"Sales\"", "");
    right(&[twice], fee, COMPLETED, "| fee | 2026-02 | 15 USD |\n| other-fee | 2026-02 | 30 USD |");
}

fn leveled(tiers: &str) -> String {
    format!(
        "[term.level]\npayer = \"lab\"\npayee = \"ms\"\nof = \"Sales\"\n\
         rate = [{{ up_to = \"100 USD\", is = \"10%\" }}, {{ otherwise = \"20%\" }}]\n\
         tiers = {{ apply = \"level\", of = \"Sales\", {tiers} }}"
    )
}

const MONTHS: &str = "| charge a | 2026-01-05 | 100 USD | lab |
| charge b | 2026-01-06 | 50 USD | lab |
| charge c | 2026-02-20 | 40 USD | lab |
| charge d | 2026-04-20 | 10 USD | lab |";

/// January: at the first sale 100, 10 %; at the second 150, 20 %: 10 + 10. Each month begins anew.
#[test]
fn a_level_of_a_base_is_read_at_the_item() {
    let expect = "| level | 2026-01 | 20 USD |\n| level | 2026-02 | 4 USD |\n| level | 2026-04 | 1 USD |";
    right(&[], &leveled("read = \"at_item\", each = \"month\""), MONTHS, expect);
}

/// Of all since it began: at 190 and 200 it is 20 %.
#[test]
fn a_level_of_a_base_goes_on_through_the_term() {
    let expect = "| level | 2026-01 | 20 USD |\n| level | 2026-02 | 8 USD |\n| level | 2026-04 | 2 USD |";
    right(&[], &leveled("read = \"at_item\", each = \"term\""), MONTHS, expect);
}

/// Before January and in March nothing was sold: 10 %. February is at the rate of January's 150.
#[test]
fn a_level_of_a_base_is_that_of_the_window_before() {
    let expect = "| level | 2026-01 | 15 USD |\n| level | 2026-02 | 8 USD |\n| level | 2026-04 | 1 USD |";
    right(&[], &leveled("read = \"previous_window\", each = \"month\""), MONTHS, expect);
}

/// 100 less 10 % through 15 January, 100 less 20 % from then on: 90 + 80, of which 10 %.
#[test]
fn what_a_base_is_less_by_changes_at_its_date() {
    let net = "[base.Net]\nselect = { base = \"Sales\" }\nless = [{ of = \"Sales\", rate = [{ through = 2026-01-15, is = \"10%\" }, { otherwise = \"20%\" }], at = \"item\" }]\n\n[term.net]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Net\"";
    let given = "| charge a | 2026-01-10 | 100 USD | lab |\n| charge b | 2026-01-20 | 100 USD | lab |";
    right(&[], net, given, "| net | 2026-01 | 17 USD |");
}

/// 10 % and 5 % of 200 are 30; 5 come off once a month, not at each sale.
#[test]
fn a_fixed_sum_comes_off_a_sum_once_a_window() {
    let sum = "[term.sum]\npayer = \"lab\"\npayee = \"ms\"\neach = \"month\"\nsum = [{ rate = \"10%\", of = \"Sales\" }, { rate = \"5%\", of = \"Sales\" }]\nless = [{ fixed = \"5 USD\" }]";
    let given = "| charge a | 2026-01-10 | 100 USD | lab |\n| charge b | 2026-01-20 | 100 USD | lab |";
    right(&[], sum, given, "| sum | 2026-01 | 25 USD |");
}

/// Of a commitment of 100 at most 70 may be of one seller: of 90 and 20 count 70 and 20, and 10 are lacking.
#[test]
fn the_most_of_a_commitment_that_may_be_of_one_kind_is_an_amount_of_each() {
    let amount = |name: &str, of: &str| {
        format!("[amount.{name}]\neach = \"month\"\nlesser_of = [{{ of = \"{of}\" }}, {{ fixed = \"70 USD\" }}]\n\n")
    };
    let blocks = format!(
        "[base.Bought]\nselect = {{ charges = {{ seller = \"ms\" }} }}\n\n{}{}[term.spend]\npayer = \"lab\"\n\
         payee = \"ms\"\nminimum = {{ is = \"100 USD\", each = \"month\", of = [\"Own\", \"Others\"] }}",
        amount("Own", "Sales"),
        amount("Others", "Bought"),
    );
    let given = "| charge a | 2026-01-10 | 90 USD | lab |\n| charge b | 2026-01-20 | 20 USD | ms |";
    right(&[], &blocks, given, "| spend | 2026-01 | 10 USD |");
}

/// 10 % of 100 are 10: of the least of 30 it lacks 20, which are told and not owed.
#[test]
fn what_is_lacking_is_right_in_its_number_and_its_unit() {
    let least = "[term.least]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Sales\"\nminimum = { is = \"30 USD\", each = \"month\", shortfall = \"report\" }";
    let given = "| charge a | 2026-01-10 | 100 USD | lab |";
    right(&[], least, given, "| least | 2026-01 | 10 USD |\n| least | 2026-01 | 20 USD short |");
    for expect in ["10 USD short", "20 EUR short"] {
        let told = wrong(&[], least, given, &format!("| least | 2026-01 | {expect} |"));
        let words = format!("expected {expect}, and what came out is 20 USD short");
        assert!(matches!(told.as_slice(), [told] if told.contains(&words)), "{told:?}");
    }
}

/// The other agreement says with its version when it was completed: 10 % of 150 there, and half of that here.
#[test]
fn what_is_recorded_with_a_version_is_told_to_every_example() {
    let fee = "[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Sales\"\non = \"completed\"";
    let other =
        contract("other", fee, "## Completion\n\n| record | at |\n| --- | --- |\n| fact completed | 2026-02-10 |");
    let half = "[term.half]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"50%\"\nof = \"other/fee\"";
    let given = "| charge a | 2026-01-05 | 100 USD | lab |\n| charge b | 2026-02-03 | 50 USD | lab |";
    right(&[other], half, given, "| half | 2026-02 | 7.50 USD |");
}

/// 10 % of 100 USD, at 0.5 EUR for one.
#[test]
fn a_figure_in_another_currency_is_converted() {
    let fee = "[figure.Cost]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"zero\"\n\n[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nin = \"EUR\"\nrate = \"10%\"\nof = \"Cost\"";
    right(&[], fee, "| figure Cost f | 2026-02 | 100 USD | |", "| fee | 2026-02 | 5 EUR |");
}

/// 10 % of what was invoiced: 100 in February, of which 40 are given back in March. The refund names the sale.
#[test]
fn a_refund_of_a_sale_comes_off_what_was_invoiced_of_it() {
    let fee = "[base.Invoiced]\nselect = { charges = { seller = \"lab\" } }\nbasis = \"invoiced\"\nless = [{ deductions = [\"refund\"], at = \"own_date\" }]\n\n[term.fee]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Invoiced\"";
    let given = "| charge a | 2026-01-05 | 100 USD | lab |\n| billing b of a | 2026-02-03 | 100 USD | |\n| refund r of a | 2026-03-10 | 40 USD | |";
    right(&[], fee, given, "| fee | 2026-01 | 0 USD |\n| fee | 2026-02 | 10 USD |\n| fee | 2026-03 | -4 USD |");
}

/// 20 % of what is left of a sale of 100 in February is owed by x, which ends with March. What is refunded in May is x's:
/// y, which has the sales since, is not less by it.
#[test]
fn what_is_refunded_of_a_once_group_is_of_the_term_that_had_the_sale() {
    let blocks = "[base.Net]\nselect = { base = \"Sales\" }\nless = [{ deductions = [\"refund\"], at = \"own_date\" }]\n\n\
                  [amount.Left]\nof = \"Net\"\nrate = \"50%\"\n\n\
                  [term.x]\npayer = \"lab\"\npayee = \"ms\"\nthrough = 2026-03-31\nonce = \"sale\"\nrate = \"20%\"\nof = \"Left\"\n\n\
                  [term.y]\npayer = \"lab\"\npayee = \"ms\"\nonce = \"sale\"\nrate = \"10%\"\nof = \"Net\"";
    let given = "| charge a | 2026-02-10 | 100 USD | lab |\n| charge b | 2026-05-05 | 200 USD | lab |\n\
                 | refund r of a | 2026-05-10 | 50 USD | |";
    right(&[], blocks, given, "| x | 2026-02 | 10 USD |\n| y | 2026-02 | 0 USD |\n| y | 2026-05 | 20 USD |");
}

/// Sales of 100 in each month, less a cost of 150 in January.
const NET: &str = "[figure.Cost]\nunit = \"USD\"\nkind = \"flow\"\nmissing = \"zero\"\n\n\
                   [base.Net]\nselect = { base = \"Sales\" }\nless = [{ figure = \"Cost\", at = \"own_date\" }]";

const SOLD: &str = "| charge a | 2026-01-05 | 100 USD | lab |\n| figure Cost k | 2026-01 | 150 USD | |\n\
                    | charge b | 2026-02-05 | 100 USD | lab |\n| charge c | 2026-02-20 | 100 USD | lab |";

fn of_net(below_zero: &str, terms: &[(&str, &str)]) -> String {
    let term = |(name, life): &(&str, &str)| {
        format!("\n\n[term.{name}]\npayer = \"lab\"\npayee = \"ms\"\n{life}\nrate = \"10%\"\nof = \"Net\"")
    };
    format!("{NET}\nbelow_zero = \"{below_zero}\"{}", terms.iter().map(term).collect::<String>())
}

/// A loss of 50 in January is carried into the 200 of February for whoever drew on the base then; it lapses with x.
#[test]
fn a_loss_is_carried_for_the_terms_that_had_it() {
    let both = of_net("carried", &[("x", ""), ("y", "")]);
    right(&[], &both, SOLD, "| x | 2026-02 | 15 USD |\n| y | 2026-02 | 15 USD |");
    let one_after_the_other = of_net("carried", &[("x", "through = 2026-01-31"), ("y", "from = 2026-02-01")]);
    right(&[], &one_after_the_other, SOLD, "| y | 2026-02 | 20 USD |");
    let within_a_month = of_net("zero", &[("x", "through = 2026-02-10"), ("y", "from = 2026-02-11")]);
    right(&[], &within_a_month, SOLD, "| x | 2026-02 | 10 USD |\n| y | 2026-02 | 10 USD |");
    let ends_without = of_net("carried", &[("x", "through = 2026-01-31"), ("y", "")]);
    right(&[], &ends_without, SOLD, "| x | 2026-01 | 0 USD |\n| y | 2026-02 | 15 USD |");
}

/// x ends with half of February's 200 while y goes on to its end: one total cannot be decided for both.
#[test]
fn one_total_is_not_of_terms_that_begin_or_end_within_it() {
    let torn = |below_zero, terms: &[(&str, &str)], at: &str| {
        let told = wrong(&[], &of_net(below_zero, terms), SOLD, "| y | 2026-02 | 20 USD |");
        let words =
            format!("base Net of main is decided on its total in each period, and at {at} 00:00:00 UTC x begins");
        assert!(matches!(told.as_slice(), [told] if told.contains(&words)), "{told:?}");
    };
    torn("zero", &[("x", "through = 2026-02-10"), ("y", "")], "2026-02-11");
    torn("zero", &[("x", "from = 2026-02-11"), ("y", "")], "2026-02-11");
    torn("carried", &[("x", "from = 2026-02-01"), ("y", "")], "2026-02-01");
}

/// What is refunded of a sale reduces what is made of it through another base: in May at its own date, in April at the
/// sale's. A refund of the seller's that neither counts reduces nothing.
#[test]
fn a_refund_reduces_a_base_that_selects_the_sale_through_another() {
    let net = |at: &str| {
        format!(
            "[base.Net]\nselect = {{ base = \"Sales\" }}\nless = [{{ deductions = [\"refund\"], at = \"{at}\" }}]\n\n\
             [term.net]\npayer = \"lab\"\npayee = \"ms\"\nrate = \"10%\"\nof = \"Net\""
        )
    };
    let given = "| charge a | 2026-04-10 | 100 USD | lab |\n| charge z | 2026-04-10 | 70 USD | ms |\n\
                 | refund r of a | 2026-05-10 | 30 USD | |\n| refund s of z | 2026-05-10 | 70 USD | |";
    right(&[], &net("own_date"), given, "| net | 2026-04 | 10 USD |\n| net | 2026-05 | -3 USD |");
    right(&[], &net("item"), given, "| net | 2026-04 | 7 USD |\n| net | 2026-05 | 0 USD |");
}

pub const TERM: &str = "payer = \"lab\"\npayee = \"ms\"";

/// Half of 300 was used of rows x and y, which are one party's: it has 200 of the pool's 300, whatever its rows.
#[test]
fn a_pool_is_shared_by_party_however_many_rows_one_has() {
    let pool = "[term.pool]\npayer = \"lab\"\nrate = \"10%\"\nof = \"Sales\"\npayee = { by = \"Sales\", if_none = \"equal\", parts = [{ party = \"ms\", where = { label = \"x\" } }, { party = \"ms\", where = { label = \"y\" } }, { party = \"other\", where = { label = \"z\" } }] }";
    let party =
        SourceFile { path: "other.md".to_owned(), text: "# O\n```toml\n[party.other]\nname = \"O\"\n```\n".to_owned() };
    let example = "## Example: by hand\n\n| given | at | amount | seller | label |\n| --- | --- | --- | --- | --- |\n| charge a | 2026-01-05 | 1000 USD | lab | x |\n| charge b | 2026-01-05 | 1000 USD | lab | y |\n| charge c | 2026-01-05 | 1000 USD | lab | z |\n\n| expect | payee | period | amount |\n| --- | --- | --- | --- |\n| pool | ms | 2026-01 | 200 USD |\n| pool | other | 2026-01 | 100 USD |\n";
    let wrong = run(&[party, contract("main", pool, example)]);
    assert_eq!(wrong, [""; 0]);
}

/// Version 2 of June lets refunds stand at the sale, where they stood at their own date before: one of June that names a
/// sale of May is governed by what held in May, and comes off in June.
#[test]
fn a_refund_stands_where_the_version_of_the_sale_says() {
    let version = |at: &str| {
        format!(
            "[base.Net]\nselect = {{ charges = {{ seller = \"lab\" }} }}\nless = [{{ deductions = [\"refund\"], at = \"{at}\" }}]\n\n[term.net]\n{TERM}\nrate = \"10%\"\nof = \"Net\""
        )
    };
    let amended = |from: &str, to: &str, expect: &str| {
        let later = format!(
            "# Two\n\n```toml\n[version]\ncontract = \"main\"\nnumber = 2\neffective = 2026-06-01\n\n{}\n```\n",
            version(to)
        );
        let later = SourceFile { path: "main-2.md".to_owned(), text: later };
        let given = "| charge a | 2026-05-01 | 1000 USD | lab |\n| refund r of a | 2026-06-03 | 100 USD | |";
        right(&[later], &version(from), given, expect);
    };
    amended("own_date", "item", "| net | 2026-05 | 100 USD |\n| net | 2026-06 | -10 USD |");
    amended("item", "own_date", "| net | 2026-05 | 90 USD |\n| net | 2026-06 | 0 USD |");
}

/// 10 % of 1000 and 1 for each of 7 units are 107, of which half is passed on.
#[test]
fn what_terms_yield_of_one_item_adds_up() {
    let both = format!(
        "[base.Use]\nselect = {{ units = {{ seller = \"lab\" }} }}\n\n[term.b]\n{TERM}\nprice = \"1 USD\"\nof = \"Use\"\n\n\
         [base.Both]\nselect = [{{ accrual = \"share\" }}, {{ accrual = \"b\" }}]\n\n[term.c]\n{TERM}\nrate = \"50%\"\nof = \"Both\""
    );
    let example = "## Example: by hand\n\n| given | at | amount | seller | quantity |\n| --- | --- | --- | --- | --- |\n| charge a | 2026-01-05 | 1000 USD | lab | 7 |\n\n| expect | period | amount |\n| --- | --- | --- |\n| c | 2026-01 | 103.50 USD |\n";
    assert_eq!(run(&[contract("main", &both, example)]), [""; 0]);
}

/// A charge of 1000 and the line that invoices it count once; a subscription of 50 that is only invoiced counts too, less
/// what is refunded of each.
#[test]
fn a_charge_and_its_own_invoice_line_count_once() {
    let both = format!(
        "[base.Both]\nselect = [{{ charges = {{ seller = \"lab\" }} }}, {{ billings = {{ seller = \"lab\" }} }}]\n\
         less = [{{ deductions = [\"refund\"], at = \"own_date\" }}]\n\n[term.c]\n{TERM}\nrate = \"10%\"\nof = \"Both\""
    );
    let sold = "| charge a | 2026-02-02 | 1000 USD | lab |\n| billing b of a | 2026-02-03 | 1000 USD | |\n| billing s | 2026-02-04 | 50 USD | lab |";
    right(&[], &both, sold, "| c | 2026-02 | 105 USD |");
    let refunded =
        format!("{sold}\n| refund r of a | 2026-03-03 | 100 USD | |\n| refund t of s | 2026-03-03 | 10 USD | |");
    right(&[], &both, &refunded, "| c | 2026-03 | -11 USD |");
}

/// What is invoiced is less what is refunded of it, whether the refund names the line or the charge; of a charge that is not
/// invoiced yet nothing comes off.
#[test]
fn a_refund_of_an_invoice_line_reduces_what_is_invoiced() {
    let invoiced = format!(
        "[base.Lines]\nselect = {{ billings = {{ seller = \"lab\" }} }}\nless = [{{ deductions = [\"refund\"], at = \"own_date\" }}]\n\n\
         [term.c]\n{TERM}\nrate = \"10%\"\nof = \"Lines\""
    );
    let billed = "| charge a | 2026-05-01 | 1000 USD | lab |\n| billing b of a | 2026-05-02 | 1000 USD | |";
    for named in ["a", "b"] {
        let refund = format!("{billed}\n| refund r of {named} | 2026-05-03 | 100 USD | |");
        right(&[], &invoiced, &refund, "| c | 2026-05 | 90 USD |");
    }
    let unbilled = "| charge a | 2026-05-01 | 1000 USD | lab |\n| refund r of a | 2026-05-03 | 100 USD | |";
    right(&[], &invoiced, unbilled, "| c | 2026-05 | 0 USD |");
}

/// Of bands the one holds that what is sold has reached, in sums and factors as in rates: 1000 are over 500.
#[test]
fn a_fixed_sum_and_a_factor_are_of_the_band_that_is_reached() {
    let given = "| charge a | 2026-01-05 | 1000 USD | lab |\n| charge b | 2026-02-05 | 400 USD | lab |";
    let tiers = "tiers = { apply = \"whole\", of = \"Sales\", each = \"month\", from = 2026-01-01 }";
    let fixed = format!(
        "[term.fee]\n{TERM}\neach = \"month\"\nfixed = [{{ up_to = \"500 USD\", is = \"10 USD\" }}, {{ otherwise = \"20 USD\" }}]\npro_rata = \"full\"\n{tiers}"
    );
    right(&[], &fixed, given, "| fee | 2026-01 | 20 USD |\n| fee | 2026-02 | 10 USD |");
    let times = format!(
        "[term.fee]\n{TERM}\nrate = \"10%\"\nof = \"Sales\"\ntimes = [[{{ up_to = \"500 USD\", is = \"1\" }}, {{ otherwise = \"2\" }}]]\n{tiers}"
    );
    right(&[], &times, given, "| fee | 2026-01 | 200 USD |\n| fee | 2026-02 | 40 USD |");
    let level = format!(
        "[figure.Availability]\nunit = \"%\"\nkind = \"flow\"\nmissing = \"zero\"\n\n[term.fee]\n{TERM}\neach = \"month\"\nfixed = [{{ below = \"99%\", is = \"10 USD\" }}, {{ otherwise = \"20 USD\" }}]\npro_rata = \"full\"\ntiers = {{ apply = \"level\", of = \"Availability\", read = \"window_end\" }}"
    );
    right(
        &[],
        &level,
        "| figure Availability f | 2026-01 | 99.5% | |\n| figure Availability g | 2026-02 | 98% | |",
        "| fee | 2026-01 | 20 USD |\n| fee | 2026-02 | 10 USD |",
    );
}

/// Of 100 EUR 10 % are 10 EUR, or 20 dollars at 2 for one; and 100 units at 2 dollars are 200, or 100 EUR at a half.
#[test]
fn a_figure_that_is_looked_up_is_converted() {
    let dollars = format!(
        "[figure.P]\nunit = \"EUR\"\nkind = \"level\"\nmissing = \"stop\"\n\n[term.fee]\n{TERM}\nin = \"USD\"\neach = \"month\"\ngreater_of = [{{ rate = \"10%\", of = \"P\" }}, {{ fixed = \"1 USD\" }}]\npro_rata = \"full\""
    );
    right(&[], &dollars, "| figure P f | 2026-01-01 | 100 EUR | |", "| fee | 2026-02 | 20 USD |");
    let valued = format!(
        "[figure.P]\nunit = \"USD\"\nkind = \"level\"\nmissing = \"stop\"\n\n[base.Valued]\nselect = {{ charges = {{ seller = \"lab\" }}, valued_at = \"P\" }}\n\n[term.fee]\n{TERM}\nin = \"EUR\"\nrate = \"100%\"\nof = \"Valued\""
    );
    let example = "## Example: by hand\n\n| given | at | amount | seller | quantity |\n| --- | --- | --- | --- | --- |\n| figure P f | 2026-01-01 | 2 USD | | |\n| charge a | 2026-05-01 | 1000 USD | lab | 100 |\n\n| expect | period | amount |\n| --- | --- | --- |\n| fee | 2026-05 | 100 EUR |\n";
    assert_eq!(run(&[contract("main", &valued, example)]), [""; 0]);
}

/// 10 % of 1000 in January and February and the least of 1 in March, 201 in all by April; a fee at the fact by its country.
#[test]
fn what_is_owed_at_a_time_is_of_every_window_and_of_what_the_fact_is_about() {
    let all = format!(
        "[amount.Monthly]\neach = \"month\"\ngreater_of = [{{ rate = \"10%\", of = \"Sales\" }}, {{ fixed = \"1 USD\" }}]\n\n[term.all]\n{TERM}\nof = \"Monthly\"\non = 2026-04-01"
    );
    let sold = "| charge a | 2026-01-02 | 1000 USD | lab |\n| charge b | 2026-02-02 | 1000 USD | lab |";
    right(&[], &all, sold, "| all | 2026-04 | 201 USD |");
    let fee = format!(
        "[fact.signed]\nkind = \"event\"\nabout = [\"country\"]\n\n[term.fee]\n{TERM}\nfixed = [{{ where = {{ country = \"DE\" }}, is = \"200 USD\" }}, {{ otherwise = \"100 USD\" }}]\non = \"signed\""
    );
    let example = "## Example: by hand\n\n| given | at | country |\n| --- | --- | --- |\n| fact signed | 2026-05-02 | DE |\n| fact signed | 2026-06-02 | CH |\n\n| expect | period | amount |\n| --- | --- | --- |\n| fee | 2026-05 | 200 USD |\n| fee | 2026-06 | 100 USD |\n";
    assert_eq!(run(&[contract("main", &fee, example)]), [""; 0]);
}
