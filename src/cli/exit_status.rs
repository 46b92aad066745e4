//! The exit status of an error, as `apportion --help` lists them.

use super::{Stop, cost};
use apportion::config::ConfigError;
use apportion::ingest::backfill::BackfillError;
use apportion::ingest::consumer::ConsumerError;
use apportion::ingest::file::FileError;
use apportion::ingest::trial::TrialError;
use apportion::jobs::archive::ArchiveError;
use apportion::jobs::contracts::ContractsError;
use apportion::jobs::findings::FindingError;
use apportion::jobs::invoices::InvoiceError;
use apportion::jobs::records::RecordsError;
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::StatementError;
use apportion::render::pdf::PdfError;
use apportion::store;
use apportion::telemetry::TelemetryError;
use rdkafka::error::KafkaError;
use std::process::ExitCode;

/// What a command that failed ends with.
pub fn exit_status(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(status(error))
}

fn status(error: &anyhow::Error) -> u8 {
    if let Some(stop) = error.downcast_ref() {
        return match stop {
            Stop::Refused { .. } => 3,
            Stop::Left { .. } => 4,
        };
    }
    let refused_setting = error.is::<ConfigError>()
        || matches!(error.downcast_ref(), Some(TelemetryError::Filter(_) | TelemetryError::Exporter(_)))
        || matches!(error.downcast_ref(), Some(ConsumerError::ReservedProperty { .. }))
        || error.chain().any(|cause| matches!(cause.downcast_ref(), Some(KafkaError::ClientConfig(..))));
    if matches!(error.downcast_ref(), Some(PdfError::NoGlyph { .. })) {
        return 3;
    }
    // What it needs is kept, and can be brought back.
    if error.chain().any(|cause| cause.is::<store::Offline>()) {
        return 4;
    }
    let refused_input = error.downcast_ref().is_some_and(is_unreadable)
        || matches!(error.downcast_ref(), Some(RecordsError::Problem { .. } | RecordsError::Misfit { .. }));
    if refused_setting || refused_input {
        return 3;
    }
    let of_contracts = error.downcast_ref().map(contracts_status);
    let of_statement = error.downcast_ref().map(statement_status);
    let of_settlement = error.downcast_ref().map(settle_status);
    let of_invoice = error.downcast_ref().map(invoice_status);
    let of_finding = error.downcast_ref().map(finding_status);
    let of_backfill = error.downcast_ref().map(backfill_status);
    let of_archive = error.downcast_ref().map(archive_status);
    let of_documents = of_contracts.or(of_statement).or(of_settlement).or(of_invoice);
    of_documents.or(of_finding).or(of_backfill).or(of_archive).or(cost::status(error)).unwrap_or(1)
}

fn is_unreadable(error: &FileError) -> bool {
    match error {
        FileError::Read { .. } | FileError::Columns { .. } => true,
        FileError::Store { .. } => false,
    }
}

fn archive_status(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::Unknown { .. }
        | ArchiveError::NotSealed { .. }
        | ArchiveError::NotArchived { .. }
        | ArchiveError::Archived { .. }
        | ArchiveError::File { .. }
        | ArchiveError::OtherFile { .. }
        | ArchiveError::Parquet { .. } => 3,
        ArchiveError::NotReadBack { .. } | ArchiveError::Store(_) => 1,
    }
}

fn backfill_status(error: &BackfillError) -> u8 {
    match error {
        BackfillError::Overtaken { .. } | BackfillError::Trial(TrialError::InTheWay) => 4,
        BackfillError::NotWhole(error) | BackfillError::File(error) | BackfillError::Trial(TrialError::File(error))
            if !is_unreadable(error) =>
        {
            1
        }
        BackfillError::Unknown { .. }
        | BackfillError::NoFile { .. }
        | BackfillError::OtherFile { .. }
        | BackfillError::NoLongerTaken { .. }
        | BackfillError::NotWhole(_)
        | BackfillError::File(_)
        | BackfillError::Trial(TrialError::TooMany { .. } | TrialError::File(_)) => 3,
        BackfillError::Store(_) | BackfillError::Trial(TrialError::Store(_)) => 1,
    }
}

fn invoice_status(error: &InvoiceError) -> u8 {
    match error {
        InvoiceError::EarlierFirst { .. } => 4,
        InvoiceError::UnknownStatement { .. } | InvoiceError::NotIssued { .. } | InvoiceError::Unknown { .. } => 3,
        InvoiceError::Drawing { .. } | InvoiceError::Document(_) | InvoiceError::Store(_) => 1,
    }
}

fn contracts_status(error: &ContractsError) -> u8 {
    if matches!(error, ContractsError::Store(_)) { 1 } else { 3 }
}

fn statement_status(error: &StatementError) -> u8 {
    match error {
        StatementError::Unresolved { .. } | StatementError::NotEnded { .. } => 4,
        StatementError::Unknown { .. }
        | StatementError::WrongStatus { .. }
        | StatementError::Changed { .. }
        | StatementError::OwnDraft { .. } => 3,
        StatementError::Document(_) | StatementError::Store(_) => 1,
    }
}

fn finding_status(error: &FindingError) -> u8 {
    match error {
        FindingError::NotKnownYet { .. }
        | FindingError::Unknown { .. }
        | FindingError::Decided { .. }
        | FindingError::Ended { .. }
        | FindingError::NotDouble { .. } => 3,
        FindingError::Contract(error) => settle_status(error),
        FindingError::Contracts(error) => contracts_status(error),
        FindingError::Store(_) => 1,
    }
}

/// 4 where something has to come first, 3 where what was asked for cannot be.
fn settle_status(error: &SettleError) -> u8 {
    if error.is_waiting() {
        return 4;
    }
    match error {
        SettleError::PeriodNotEnded { .. }
        | SettleError::Approved { .. }
        | SettleError::CutoffBeforeLast { .. }
        | SettleError::CutoffInFuture { .. }
        | SettleError::NotLoadedYet { .. }
        | SettleError::Settlement(_) => 3,
        SettleError::Contracts(error) => contracts_status(error),
        SettleError::Document(_) | SettleError::Store(_) => 1,
    }
}
