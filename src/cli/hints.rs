//! Which command helps after an error: what went wrong is said where it does, for the API as well.

use apportion::domain::cloud_cost::CostFigureError;
use apportion::domain::engine::{EngineError, MISSING_PRICES_TOLD};
use apportion::domain::settlement::{PeriodClosed, SettlementError};
use apportion::domain::statement::StatementStatus;
use apportion::ingest::backfill::BackfillError;
use apportion::ingest::costs::CostImportError;
use apportion::jobs::costs::CostFigureFault;
use apportion::jobs::findings::FindingError;
use apportion::jobs::invoices::InvoiceError;
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::StatementError;

/// What to do next; none where the error says it, or nothing helps.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    let of_statement = error.downcast_ref().and_then(statement);
    let of_settlement = error.downcast_ref().and_then(settle);
    let of_invoice = error.downcast_ref().and_then(invoice);
    let of_finding = error.downcast_ref().and_then(finding);
    let of_backfill = error.downcast_ref().and_then(backfill);
    let of_import = matches!(error.downcast_ref(), Some(CostImportError::SamePeriod { .. }));
    let of_import = of_import.then(|| "--as-one makes them one report".to_owned());
    let of_figure = error.downcast_ref().and_then(cost_figure);
    of_statement.or(of_settlement).or(of_invoice).or(of_finding).or(of_backfill).or(of_import).or(of_figure)
}

fn cost_figure(error: &CostFigureFault) -> Option<String> {
    match error {
        CostFigureFault::Figure(CostFigureError::Nothing { .. } | CostFigureError::Beyond { .. }) => {
            Some("`apportion cost list` shows what is held".to_owned())
        }
        CostFigureFault::Figure(CostFigureError::Currencies { .. }) => Some("--currency names it".to_owned()),
        _ => None,
    }
}

fn backfill(error: &BackfillError) -> Option<String> {
    match error {
        BackfillError::Unknown { .. } => Some("`apportion backfill list` shows those there are".to_owned()),
        BackfillError::OtherFile { name, .. } => Some(format!("`apportion backfill show {name}` tells of it")),
        _ => None,
    }
}

fn statement(error: &StatementError) -> Option<String> {
    match error {
        StatementError::Unknown { .. } => Some("`apportion statement list` shows those there are".to_owned()),
        StatementError::Unresolved { id, .. } => {
            Some(format!("`apportion contracts apply FOLDER` registers, {} waives", waive(*id)))
        }
        StatementError::WrongStatus { id, status, .. } => next_step(*id, *status).map(|step| format!("next: {step}")),
        _ => None,
    }
}

/// What people may do next to a statement; none once it is settled.
pub fn next_step(id: i64, status: StatementStatus) -> Option<String> {
    let command = |step: &str| {
        let reason = if ["approve", "issue"].contains(&step) { "" } else { " --reason WHY" };
        format!("`apportion statement {step} {id} --by NAME{reason}`")
    };
    let steps: Vec<String> = status.next_steps().map(command).collect();
    (!steps.is_empty()).then(|| steps.join(" or "))
}

/// How to waive what the issue of a statement waits for.
pub fn waive(id: i64) -> String {
    format!("`apportion statement waive {id} --by NAME --reason WHY`")
}

fn settle(error: &SettleError) -> Option<String> {
    match error {
        SettleError::Approved { contract, period, .. } => {
            Some(format!("`apportion settle {contract} {period} --by NAME` drafts it anew"))
        }
        SettleError::Settlement(error) => settlement(error),
        _ => None,
    }
}

fn settlement(error: &SettlementError) -> Option<String> {
    match error {
        SettlementError::UnknownContract { .. } => Some("`apportion contracts apply FOLDER` loads them".to_owned()),
        SettlementError::PeriodClosed(PeriodClosed { contract, open, .. }) => {
            Some(format!("`apportion settle {contract} {open} --by NAME` does"))
        }
        SettlementError::Engine(EngineError::MissingFigure { .. }) => {
            Some("`apportion record FILE` takes it".to_owned())
        }
        SettlementError::Engine(EngineError::MissingPrices { missing }) => {
            let load = "`apportion contracts apply FOLDER` loads it";
            let all: String = missing.iter().map(|missing| format!("\n  {missing}")).collect();
            let is_told = missing.len() <= MISSING_PRICES_TOLD;
            Some(if is_told { load.to_owned() } else { format!("{load}. All that is missing:{all}") })
        }
        _ => None,
    }
}

fn invoice(error: &InvoiceError) -> Option<String> {
    match error {
        InvoiceError::UnknownStatement { .. } => Some("`apportion statement list` shows those there are".to_owned()),
        InvoiceError::Unknown { .. } => Some("`apportion invoice list` shows those there are".to_owned()),
        InvoiceError::NotIssued { id, .. } => next_step(*id, StatementStatus::Approved),
        InvoiceError::EarlierFirst { earlier, .. } => Some(format!("`apportion invoice draw {earlier} --by NAME`")),
        _ => None,
    }
}

fn finding(error: &FindingError) -> Option<String> {
    match error {
        FindingError::Unknown { .. } => Some("`apportion finding list` shows those there are".to_owned()),
        FindingError::Contract(SettleError::Settlement(error)) => settlement(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::explain;

    #[test]
    fn a_settled_statement_has_no_next_step() {
        assert_eq!(next_step(7, StatementStatus::Settled), None);
        assert_eq!(
            next_step(7, StatementStatus::Agreed).as_deref(),
            Some(
                "`apportion statement dispute 7 --by NAME --reason WHY` or \
                 `apportion statement pay 7 --by NAME --reason WHY`"
            )
        );
    }

    #[test]
    fn an_error_of_a_job_names_the_command_that_helps_at_the_command_line_alone() {
        let unknown = SettlementError::UnknownContract { contract: "x".into(), known: Vec::new() };
        let wrong = |status| StatementError::WrongStatus { id: 7, status, wanted: StatementStatus::Settled };
        let errors: [(anyhow::Error, &str); 6] = [
            (wrong(StatementStatus::Draft).into(), "; next: `apportion statement approve 7 --by NAME`"),
            (
                wrong(StatementStatus::Issued).into(),
                "; next: `apportion statement agree 7 --by NAME --reason WHY` or `apportion statement dispute 7 --by",
            ),
            (StatementError::Unknown { id: 7 }.into(), "no statement 7; `apportion statement list`"),
            (SettleError::Settlement(unknown.clone()).into(), "`apportion contracts apply FOLDER`"),
            (
                FindingError::Unknown { id: "a".to_owned(), known_at: chrono::Utc::now() }.into(),
                "`apportion finding list`",
            ),
            (FindingError::Contract(unknown.into()).into(), "`apportion contracts apply FOLDER`"),
        ];
        for (error, expected) in errors {
            assert!(!error.to_string().contains("`apportion"), "{error}");
            assert!(explain(&error).contains(expected), "{}", explain(&error));
        }
    }
}
