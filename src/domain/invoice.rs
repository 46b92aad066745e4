//! Invoices and credit notes: requests for payment and their corrections, drawn from issued statements.
//!
//! A direction of a statement with an amount to pay gives an invoice of its payee (the issuer) to its payer; one
//! with a credit that is paid back, a credit note. Amounts keep the statement's sign: what the payer owes is
//! positive, so the total of a credit note is negative, and documents add up to what is owed.
//!
//! A credit that the contract carries gives no document: the next invoice asks for less, and says so.

use super::calendar::Period;
use super::ids::{ContractId, InvoiceNumber, PartyId, TermId};
use super::money::{Currency, Exact, Unit};
use super::names::names;
use super::period::Instant;
use super::register::Register;
use super::statement::{DirectionTotal, LineDetail, Statement, StatementLine};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// A document as it is stored for ever. Amounts are decimal strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Invoice {
    pub number: InvoiceNumber,
    pub kind: InvoiceKind,
    pub issuer: InvoiceParty,
    pub payer: InvoiceParty,
    /// The date of `issued_at` in the contract's zone.
    pub issued_on: NaiveDate,
    #[cfg_attr(feature = "service", schema(value_type = String, format = DateTime))]
    pub issued_at: Instant,
    /// The contract's date, which counts from the period's end; none where no term says when. It may lie before
    /// `issued_on`: then the document is to be paid on receipt, and the date stays the one from which payment is late.
    pub due_on: Option<NaiveDate>,
    pub contract: ContractId,
    pub title: String,
    pub period: Period,
    pub zone: String,
    pub currency: Currency,
    /// What it was drawn from.
    pub statement: StatementReference,
    /// Of a credit note: the documents that asked for what it takes back.
    pub corrects: Vec<CorrectedDocument>,
    pub lines: Vec<InvoiceLine>,
    /// A credit of earlier periods, zero or less.
    pub carried_in: Exact,
    /// The sum of the lines and of what is carried in, exactly: what the statement says is to be paid.
    pub total: Exact,
}

/// When a document is to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payable {
    /// By the contract's date.
    By(NaiveDate),
    /// At once: the contract's date was over when the document was issued. A late issue does not move that date.
    OnReceipt { was_due_on: NaiveDate },
    /// No term says when.
    Unstated,
}

impl Payable {
    pub fn of(issued_on: NaiveDate, due_on: Option<NaiveDate>) -> Self {
        match due_on {
            None => Self::Unstated,
            Some(was_due_on) if was_due_on < issued_on => Self::OnReceipt { was_due_on },
            Some(due_on) => Self::By(due_on),
        }
    }
}

names! {
    /// What kind of document it is.
    InvoiceKind as "kind of document" {
        Invoice = "invoice",
        CreditNote = "credit_note",
    }
}

impl Invoice {
    pub fn payable(&self) -> Payable {
        Payable::of(self.issued_on, self.due_on)
    }
}

/// Issuer or payer as the register knew them when the document was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct InvoiceParty {
    pub party: PartyId,
    pub name: String,
    pub address: Vec<String>,
    pub tax_id: Option<String>,
    pub bank: Vec<String>,
}

/// The revision of a statement that was issued, and the digest of its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct StatementReference {
    pub statement_id: i64,
    pub revision: i32,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct CorrectedDocument {
    pub number: InvoiceNumber,
    pub issued_on: NaiveDate,
}

/// One term's amount of one origin period, as the statement booked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct InvoiceLine {
    pub term: TermId,
    /// The heading of the clause.
    pub clause: String,
    pub origin_period: Period,
    /// How the term's amount of the origin period came about, by version; empty where nothing of it is left.
    pub details: Vec<LineDetail>,
    /// What the term's other payees are owed for the origin period, rounded.
    #[serde(default, skip_serializing_if = "Exact::is_zero")]
    pub owed_to_others: Exact,
    /// Booked for the same origin period in periods before this one.
    pub booked_before: Exact,
    pub amount: Exact,
}

/// What one direction of a statement comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawing {
    Document(Unnumbered),
    None(NotDrawn),
}

/// A document before it has its number and date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnumbered {
    pub kind: InvoiceKind,
    pub currency: Currency,
    pub issuer: PartyId,
    pub payer: PartyId,
    pub due_on: Option<NaiveDate>,
    pub lines: Vec<InvoiceLine>,
    pub carried_in: Exact,
    pub total: Exact,
}

/// A direction without a document, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct NotDrawn {
    pub payer: PartyId,
    pub payee: PartyId,
    #[serde(flatten)]
    pub reason: NotDrawnReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum NotDrawnReason {
    NothingToPay,
    /// It is owed in a unit that is no currency.
    NotMoney {
        #[serde(flatten)]
        unit: Unit,
    },
    /// The credit is taken off later periods, zero or less.
    CreditCarried {
        credit: Exact,
    },
}

/// A statement that no document can be drawn from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawingError {
    #[error("the statement says that {payer} is to pay {payee} {payable}, but its lines and credits sum to {sum}")]
    DoesNotAddUp { payer: PartyId, payee: PartyId, payable: Exact, sum: Exact },
    #[error("no register knows the party \"{party}\"")]
    UnknownParty { party: PartyId },
    #[error("no zone is called \"{zone}\"")]
    UnknownZone { zone: String },
}

/// The number of an issuer's document: the issuer's name in capitals and a running number, which invoices and
/// credit notes share and which goes on through the years.
pub fn number(issuer: &PartyId, sequence: u32) -> InvoiceNumber {
    InvoiceNumber::new(format!("{}-{sequence:06}", issuer.in_capitals()))
}

/// What each direction of a statement comes to, in the order of its totals.
///
/// # Errors
/// Totals that are not the sums of their lines and credits.
pub fn drawings(statement: &Statement) -> Result<Vec<Drawing>, DrawingError> {
    let of_total = |total: &DirectionTotal| match &statement.unit {
        Unit::Currency(currency) => drawing(statement, total, *currency),
        Unit::Declared { .. } => {
            let reason = NotDrawnReason::NotMoney { unit: statement.unit.clone() };
            Ok(Drawing::None(NotDrawn { payer: total.payer.clone(), payee: total.payee.clone(), reason }))
        }
    };
    statement.totals.iter().map(of_total).collect()
}

fn drawing(statement: &Statement, total: &DirectionTotal, currency: Currency) -> Result<Drawing, DrawingError> {
    let (payer, payee) = (total.payer.clone(), total.payee.clone());
    let of_direction = statement.lines.iter().filter(|line| (&line.payer, &line.payee) == (&payer, &payee));
    // What is nothing is no line of a request for payment; the statement shows it.
    let lines: Vec<InvoiceLine> = of_direction.filter(|line| !line.amount.is_zero()).map(line).collect();
    let amount: Exact = lines.iter().map(|line| line.amount.clone()).sum();
    let sum = &amount + &total.carried_in;
    let is_carried_on = !total.carried_out.is_zero();
    if &sum - &total.carried_out != total.payable || (is_carried_on && !total.payable.is_zero()) {
        return Err(DrawingError::DoesNotAddUp { payer, payee, payable: total.payable.clone(), sum });
    }
    if total.payable.is_zero() {
        let credit = total.carried_out.clone();
        let reason =
            if is_carried_on { NotDrawnReason::CreditCarried { credit } } else { NotDrawnReason::NothingToPay };
        return Ok(Drawing::None(NotDrawn { payer, payee, reason }));
    }
    let kind = if total.payable.is_negative() { InvoiceKind::CreditNote } else { InvoiceKind::Invoice };
    Ok(Drawing::Document(Unnumbered {
        kind,
        currency,
        issuer: payee,
        payer,
        due_on: total.due_on,
        lines,
        carried_in: total.carried_in.clone(),
        total: total.payable.clone(),
    }))
}

fn line(line: &StatementLine) -> InvoiceLine {
    InvoiceLine {
        term: line.term.clone(),
        clause: line.clause.heading.clone(),
        origin_period: line.origin_period,
        details: line.details.clone(),
        owed_to_others: line.owed_to_others.clone(),
        booked_before: line.booked_before.clone(),
        amount: line.amount.clone(),
    }
}

/// What a document is given besides its direction of the statement.
pub struct Circumstances<'a> {
    /// Which of its issuer's documents it is, from 1 on.
    pub sequence: u32,
    pub issued_at: Instant,
    pub statement: StatementReference,
    pub register: &'a Register,
    /// What its issuer asked of its payer before, under the same contract.
    pub earlier: &'a [Invoice],
}

impl Unnumbered {
    /// The document, complete.
    ///
    /// # Errors
    /// A party or a zone that is not known.
    pub fn numbered(self, statement: &Statement, given: &Circumstances<'_>) -> Result<Invoice, DrawingError> {
        let fail = || DrawingError::UnknownZone { zone: statement.zone.clone() };
        let zone: Tz = statement.zone.parse().map_err(|_| fail())?;
        let corrects = match self.kind {
            InvoiceKind::Invoice => Vec::new(),
            InvoiceKind::CreditNote => corrected(&self.lines, given.earlier),
        };
        Ok(Invoice {
            number: number(&self.issuer, given.sequence),
            kind: self.kind,
            issuer: party(self.issuer, given.register)?,
            payer: party(self.payer, given.register)?,
            issued_on: given.issued_at.with_timezone(&zone).date_naive(),
            issued_at: given.issued_at,
            due_on: self.due_on,
            contract: statement.contract.clone(),
            title: statement.title.clone(),
            period: statement.period,
            zone: statement.zone.clone(),
            currency: self.currency,
            statement: given.statement.clone(),
            corrects,
            lines: self.lines,
            carried_in: self.carried_in,
            total: self.total,
        })
    }
}

fn party(id: PartyId, register: &Register) -> Result<InvoiceParty, DrawingError> {
    let Some(known) = register.parties.get(&id).cloned() else {
        return Err(DrawingError::UnknownParty { party: id });
    };
    Ok(InvoiceParty { party: id, name: known.name, address: known.address, tax_id: known.tax_id, bank: known.bank })
}

/// The documents that asked for what some lines take back: of the same term and origin period.
///
/// That may be a credit note too, whose credit was smaller for what it asked.
fn corrected(lines: &[InvoiceLine], earlier: &[Invoice]) -> Vec<CorrectedDocument> {
    let takes_back = |asked: &InvoiceLine| {
        let same = |line: &InvoiceLine| (&line.term, line.origin_period) == (&asked.term, asked.origin_period);
        !asked.amount.is_negative() && lines.iter().any(|line| line.amount.is_negative() && same(line))
    };
    let corrected = earlier.iter().filter(|document| document.lines.iter().any(takes_back));
    corrected.map(|it| CorrectedDocument { number: it.number.clone(), issued_on: it.issued_on }).collect()
}
