//! FOCUS cost rows: what a cloud reports that it charged, to be compared with what we rate. They are no usage.
//!
//! A file is CSV with its header. Columns are found by their names, so that versions 1.0 to 1.2 and later read
//! alike; what is not named here is not read. `NULL` and nothing are the same. Times without a zone are read in
//! the zone that the source is configured with: the specification says UTC.

use super::node::{name_node, number_node};
use super::number::exact_decimal;
use super::record::Record;
use super::source::text_of;
use super::{Context, Fault, Rejection, RejectionReason as Reason, fault, reject_shape};
use crate::domain::money::Currency;
use crate::domain::period::Instant;
use crate::sources::node::Node;
use csv::StringRecord;
use rust_decimal::Decimal;

/// One row of a cloud's own cost report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudCost {
    pub provider: String,
    pub invoice_issuer: String,
    pub invoice_id: Option<String>,
    pub billing_account: String,
    pub sub_account: Option<String>,
    pub service: String,
    pub sku_price: Option<String>,
    pub resource: Option<String>,
    pub region: Option<String>,
    /// `Usage`, `Purchase`, `Tax`, `Credit` or `Adjustment`.
    pub category: String,
    /// Whether it corrects an earlier billing period.
    pub is_correction: bool,
    pub charge_from: Instant,
    /// Exclusive.
    pub charge_to: Instant,
    pub billing_from: Instant,
    /// Exclusive.
    pub billing_to: Instant,
    pub currency: Currency,
    pub billed: Decimal,
    pub effective: Decimal,
    /// What the contract's prices make of it; some reports leave it out.
    pub contracted: Option<Decimal>,
    pub list: Decimal,
    pub consumed: Option<Decimal>,
    pub consumed_unit: Option<String>,
}

const CATEGORIES: [&str; 5] = ["Usage", "Purchase", "Tax", "Credit", "Adjustment"];

/// Decodes a file: each row a cost, or why it is none, with its line. Of what is rejected nothing is kept, as a file is
/// read again as it is.
pub fn decode_costs(bytes: &[u8], context: &Context<'_>) -> Vec<Result<CloudCost, Rejection>> {
    match rows(bytes, context) {
        Ok(rows) => rows.into_iter().map(|row| row.map_err(|fault| reject_shape(fault, b""))).collect(),
        Err(fault) => vec![Err(reject_shape(fault, b""))],
    }
}

/// Reads a file: each row a cost, or why it is none, with its line.
///
/// # Errors
/// It is no CSV with a header, or lacks a column.
fn rows(bytes: &[u8], context: &Context<'_>) -> Result<Vec<Result<CloudCost, Fault>>, Fault> {
    let text = text_of(bytes)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let no_csv = |line: u64| fault(Reason::WrongPacking, format!("line {line}: must be CSV"));
    let header = reader.headers().map_err(|_| no_csv(1))?.clone();
    let columns = Columns::find(&header)?;
    // The reader counts a line's end only at the next row where it is two signs.
    let is_late = text.split_once('\n').is_some_and(|(header, _)| header.ends_with('\r'));
    let mut rows = Vec::new();
    for row in reader.records() {
        let position = match &row {
            Ok(row) => row.position(),
            Err(error) => error.position(),
        };
        let line = position.map_or(1, csv::Position::line).saturating_add(u64::from(is_late));
        let row = row.map_err(|_| no_csv(line))?;
        rows.push(
            columns
                .cost(&row, context)
                .map_err(|Fault { reason, detail }| fault(reason, format!("line {line}, {detail}"))),
        );
    }
    Ok(rows)
}

/// Where each column that is read stands in a file.
struct Columns<'h>(&'h StringRecord);

const REQUIRED: [&str; 14] = [
    "ProviderName",
    "InvoiceIssuerName",
    "BillingAccountId",
    "ServiceName",
    "ChargeCategory",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "BillingCurrency",
    "BilledCost",
    "EffectiveCost",
    "ContractedCost",
    "ListCost",
];

impl<'h> Columns<'h> {
    fn find(header: &'h StringRecord) -> Result<Self, Fault> {
        let lacking = REQUIRED.iter().find(|name| !header.iter().any(|column| column == **name));
        match lacking {
            Some(name) => Err(fault(Reason::MissingField, format!("line 1, {name}: no such column"))),
            None => Ok(Self(header)),
        }
    }

    /// What stands in a column of a row.
    fn get<'r>(&self, row: &'r StringRecord, name: &str) -> Option<&'r str> {
        let place = self.0.iter().position(|column| column == name)?;
        row.get(place).map(str::trim).filter(|text| !text.is_empty() && *text != "NULL")
    }

    fn name(&self, row: &StringRecord, name: &'static str) -> Result<Option<String>, Fault> {
        match self.get(row, name).map(|text| name_node(text.to_owned())) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => Err(fault(Reason::NameTooLong, format!("{name}: must be a name of at most 256 bytes"))),
        }
    }

    fn need_name(&self, row: &StringRecord, name: &'static str) -> Result<String, Fault> {
        self.name(row, name)?.ok_or_else(|| fault(Reason::MissingField, format!("{name}: missing")))
    }

    fn number(&self, row: &StringRecord, name: &'static str) -> Result<Option<Decimal>, Fault> {
        let Some(text) = self.get(row, name) else { return Ok(None) };
        let number = exact_decimal(text).filter(|_| matches!(number_node(text), Node::Number(_)));
        let wrong = || fault(Reason::WrongQuantity, format!("{name}: must be a decimal number of at most 28 digits"));
        number.map(Some).ok_or_else(wrong)
    }

    fn amount(&self, row: &StringRecord, name: &'static str) -> Result<Decimal, Fault> {
        self.number(row, name)?.ok_or_else(|| fault(Reason::MissingField, format!("{name}: missing")))
    }

    fn instant(&self, row: &StringRecord, name: &'static str, context: &Context<'_>) -> Result<Instant, Fault> {
        let node = Node::object([(name, self.get(row, name).map_or(Node::Null, |text| Node::Time(text.to_owned())))]);
        let record = Record::new(&node);
        record.instant(name, context)?.ok_or_else(|| record.missing(name))
    }

    fn cost(&self, row: &StringRecord, context: &Context<'_>) -> Result<CloudCost, Fault> {
        let category = self.need_name(row, "ChargeCategory")?;
        if !CATEGORIES.contains(&&*category) {
            let detail = format!("ChargeCategory: must be {}", CATEGORIES.join(", "));
            return Err(fault(Reason::WrongField, detail));
        }
        let is_correction = match self.get(row, "ChargeClass") {
            None => false,
            Some("Correction") => true,
            Some(_) => return Err(fault(Reason::WrongField, "ChargeClass: must be Correction or nothing")),
        };
        let currency = self.get(row, "BillingCurrency").and_then(|code| code.parse::<Currency>().ok());
        let wrong = |name: &str| fault(Reason::WrongField, format!("{name}: must be an ISO 4217 currency"));
        let cost = CloudCost {
            provider: self.need_name(row, "ProviderName")?,
            invoice_issuer: self.need_name(row, "InvoiceIssuerName")?,
            invoice_id: self.name(row, "InvoiceId")?,
            billing_account: self.need_name(row, "BillingAccountId")?,
            sub_account: self.name(row, "SubAccountId")?,
            service: self.need_name(row, "ServiceName")?,
            sku_price: self.name(row, "SkuPriceId")?,
            resource: self.name(row, "ResourceId")?,
            region: self.name(row, "RegionId")?,
            category,
            is_correction,
            charge_from: self.instant(row, "ChargePeriodStart", context)?,
            charge_to: self.instant(row, "ChargePeriodEnd", context)?,
            billing_from: self.instant(row, "BillingPeriodStart", context)?,
            billing_to: self.instant(row, "BillingPeriodEnd", context)?,
            currency: currency.ok_or_else(|| wrong("BillingCurrency"))?,
            billed: self.amount(row, "BilledCost")?,
            effective: self.amount(row, "EffectiveCost")?,
            contracted: self.number(row, "ContractedCost")?,
            list: self.amount(row, "ListCost")?,
            consumed: self.number(row, "ConsumedQuantity")?,
            consumed_unit: self.name(row, "ConsumedUnit")?,
        };
        for (name, from, to) in [
            ("ChargePeriodEnd", cost.charge_from, cost.charge_to),
            ("BillingPeriodEnd", cost.billing_from, cost.billing_to),
        ] {
            if from >= to {
                return Err(fault(Reason::BrokenIdentity, format!("{name}: must lie after its start")));
            }
        }
        Ok(cost)
    }
}
