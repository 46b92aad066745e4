//! FOCUS cost rows: what a cloud reports that it charged, to be compared with what we rate. They are no usage.
//!
//! A file is CSV with its header. Columns are found by their names, so that versions 1.0 to 1.2 and later read
//! alike; what is not named here is not read. `NULL` and nothing are the same. Times without a zone are UTC, as the
//! specification has them.

use super::node::{Node, name_node, number_node};
use super::number::exact_decimal;
use super::record::Record;
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::cloud_cost::{ChargeCategory, CloudCost};
use crate::domain::money::Currency;
use crate::domain::period::{Instant, Span};
use csv::StringRecord;
use rust_decimal::Decimal;

/// The longest id of a resource that is read, in bytes.
const MAX_RESOURCE_BYTES: usize = 2048;

/// What is wrong with a row, or with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct WrongCost {
    /// The column, and what would be right; what stands there is not quoted.
    pub detail: String,
}

impl From<Fault> for WrongCost {
    fn from(Fault { detail, .. }: Fault) -> Self {
        Self { detail }
    }
}

/// Where each column that is read stands in a file.
#[derive(Clone, Debug)]
pub struct CostColumns {
    header: StringRecord,
}

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

const OPTIONAL: [&str; 8] = [
    "InvoiceId",
    "SubAccountId",
    "SkuPriceId",
    "ResourceId",
    "RegionId",
    "ChargeClass",
    "ConsumedQuantity",
    "ConsumedUnit",
];

impl CostColumns {
    /// Finds the columns by a file's header.
    ///
    /// # Errors
    /// One is missing, or stands there twice.
    pub fn find(header: &StringRecord) -> Result<Self, WrongCost> {
        let count = |name: &str| header.iter().filter(|column| *column == name).count();
        if let Some(name) = REQUIRED.iter().find(|name| count(name) == 0) {
            return Err(WrongCost { detail: format!("{name}: no such column") });
        }
        match REQUIRED.iter().chain(&OPTIONAL).find(|name| count(name) > 1) {
            Some(name) => Err(WrongCost { detail: format!("{name}: must be one column") }),
            None => Ok(Self { header: header.clone() }),
        }
    }

    /// Reads a row.
    ///
    /// # Errors
    /// The first column of it that is wrong.
    pub fn cost(&self, row: &StringRecord) -> Result<CloudCost, WrongCost> {
        let (found, expected) = (row.len(), self.header.len());
        if found != expected {
            return Err(WrongCost { detail: format!("must have {expected} columns as the header has, not {found}") });
        }
        Ok(self.read(row)?)
    }

    /// What stands in a column of a row.
    fn get<'r>(&self, row: &'r StringRecord, name: &str) -> Option<&'r str> {
        let place = self.header.iter().position(|column| column == name)?;
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

    fn resource(&self, row: &StringRecord) -> Result<Option<String>, Fault> {
        let Some(text) = self.get(row, "ResourceId") else { return Ok(None) };
        let is_wrong = text.len() > MAX_RESOURCE_BYTES || text.contains('\0');
        let wrong =
            || fault(Reason::NameTooLong, format!("ResourceId: must be an id of at most {MAX_RESOURCE_BYTES} bytes"));
        if is_wrong { Err(wrong()) } else { Ok(Some(text.to_owned())) }
    }

    /// The span from one column to another. FOCUS says that times are UTC; some reports leave that out.
    fn span(&self, row: &StringRecord, [start, end]: [&'static str; 2]) -> Result<Span, Fault> {
        let context = Context { zone: Some(chrono_tz::UTC), ..Context::default() };
        let span = Span { start: self.instant(row, start, &context)?, end: self.instant(row, end, &context)? };
        if span.start >= span.end {
            return Err(fault(Reason::BrokenIdentity, format!("{end}: must lie after its start")));
        }
        Ok(span)
    }

    fn instant(&self, row: &StringRecord, name: &'static str, context: &Context<'_>) -> Result<Instant, Fault> {
        let node = Node::object([(name, self.get(row, name).map_or(Node::Null, |text| Node::Time(text.to_owned())))]);
        let record = Record::new(&node);
        record.instant(name, context)?.ok_or_else(|| record.missing(name))
    }

    fn read(&self, row: &StringRecord) -> Result<CloudCost, Fault> {
        let category = self.need_name(row, "ChargeCategory")?.parse::<ChargeCategory>();
        let categories = || ChargeCategory::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
        let is_correction = match self.get(row, "ChargeClass") {
            None => false,
            Some("Correction") => true,
            Some(_) => return Err(fault(Reason::WrongField, "ChargeClass: must be Correction or nothing")),
        };
        let currency = self.get(row, "BillingCurrency").and_then(|code| code.parse::<Currency>().ok());
        let wrong = |name: &str| fault(Reason::WrongField, format!("{name}: must be an ISO 4217 currency"));
        Ok(CloudCost {
            provider: self.need_name(row, "ProviderName")?,
            invoice_issuer: self.need_name(row, "InvoiceIssuerName")?,
            invoice_id: self.name(row, "InvoiceId")?,
            billing_account: self.need_name(row, "BillingAccountId")?,
            sub_account: self.name(row, "SubAccountId")?,
            service: self.need_name(row, "ServiceName")?,
            sku_price: self.name(row, "SkuPriceId")?,
            resource: self.resource(row)?,
            region: self.name(row, "RegionId")?,
            category: category
                .map_err(|_| fault(Reason::WrongField, format!("ChargeCategory: must be {}", categories())))?,
            is_correction,
            charge: self.span(row, ["ChargePeriodStart", "ChargePeriodEnd"])?,
            billing: self.span(row, ["BillingPeriodStart", "BillingPeriodEnd"])?,
            currency: currency.ok_or_else(|| wrong("BillingCurrency"))?,
            billed: self.amount(row, "BilledCost")?,
            effective: self.amount(row, "EffectiveCost")?,
            contracted: self.number(row, "ContractedCost")?,
            list: self.amount(row, "ListCost")?,
            consumed: self.number(row, "ConsumedQuantity")?,
            consumed_unit: self.name(row, "ConsumedUnit")?,
        })
    }
}
