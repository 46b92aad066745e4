//! Loads what a settlement is decided from: usage in sums, opened as far down as the engine asks for.

use super::contracts::{Known, load};
use super::held::{Holdings, facts};
use super::settle::{SettleError, WaitingRecord};
use crate::domain::calendar::Period;
use crate::domain::contract::Contract;
use crate::domain::engine::EngineError;
use crate::domain::engine::feed::Sum;
use crate::domain::engine::owed::drawn_on;
use crate::domain::engine::stretches::{Grain, Stretches};
use crate::domain::hex::hex;
use crate::domain::ids::{ContractId, EventId, ProductId};
use crate::domain::period::{Instant, Span};
use crate::domain::record::Record;
use crate::domain::settlement::{
    Books, Settled, SettlementError, SettlementInput, SettlementOutcome, Usage, check_period, find_contract, settle,
    waiting,
};
use crate::domain::usage::{UsageContent, UsageEvent};
use crate::store::StoreError;
use crate::store::books::load_books;
use crate::store::contracts::{first_recorded, load_rates};
use crate::store::records::load_records;
use crate::store::rollups::{UnresolvedUsage, load_unresolved};
use crate::store::span_sums::load_span_sums;
use crate::store::usage_events::{load_events, load_interval_events, load_named_events};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

/// A contract as known at an instant; of one that was loaded later it is told when.
pub(super) async fn find_known<'k>(
    conn: &mut PgConnection,
    contracts: &'k [Contract],
    id: &ContractId,
    known_at: Instant,
) -> Result<&'k Contract, SettleError> {
    match find_contract(contracts, id) {
        Ok(contract) => Ok(contract),
        Err(unknown) => match first_recorded(conn, id).await? {
            Some(first) => Err(SettleError::NotLoadedYet { contract: id.clone(), known_at, first }),
            None => Err(unknown.into()),
        },
    }
}

/// What a settlement is decided from, and what of it counts nowhere yet.
pub(super) struct InputSource {
    pub input: SettlementInput,
    pub unresolved: Vec<UnresolvedUsage>,
    /// As many of the events that records name as are known.
    named: Vec<UsageEvent>,
}

impl InputSource {
    /// Loads everything but the usage that is in no record, to settle a period, with the books of now or
    /// before a settlement.
    pub async fn load(
        conn: &mut PgConnection,
        of: (&ContractId, Period),
        cutoff: Instant,
        before: Option<i64>,
    ) -> Result<Self, SettleError> {
        let known = load(&mut *conn, cutoff).await?;
        let books = load_books(&mut *conn, of.0, before).await?;
        Self::load_beside(conn, known, of, cutoff, books).await
    }

    /// Loads the same for a period as if the books were others.
    pub async fn load_beside(
        conn: &mut PgConnection,
        Known { register, prices, contracts }: Known,
        (id, period): (&ContractId, Period),
        cutoff: Instant,
        books: Books,
    ) -> Result<Self, SettleError> {
        let contract = find_known(&mut *conn, &contracts, id, cutoff).await?;
        let end = period.span(contract.head.zone).end;
        check_period(contract, period, &books)?;
        let contracts = drawn_on(&contracts, id);
        let records = load_records(&mut *conn, cutoff).await?;
        let rates = load_rates(&mut *conn, cutoff).await?;
        let unresolved = load_unresolved(&mut *conn, end, cutoff).await?;
        let names: BTreeSet<&EventId> = records.iter().flat_map(Record::names).collect();
        let named = load_named_events(conn, names, cutoff).await?;
        let input = SettlementInput {
            contract: id.clone(),
            period,
            cutoff,
            contracts,
            register,
            prices,
            rates,
            records,
            usage: Usage::default(),
            unresolved_events: unresolved.iter().map(|usage| usage.events).sum(),
            books,
        };
        Ok(Self { input, unresolved, named })
    }

    /// Decides: item by item, or on sums where they can stand for their items, which the engine tells.
    pub async fn settle(&mut self, conn: &mut PgConnection, grain: Grain) -> Result<Settled, SettleError> {
        let edges = self.input.edges()?;
        let mut stretches = Stretches::between(&edges);
        if grain == Grain::Items {
            stretches = Stretches { opened: stretches.summed, summed: Vec::new() };
        }
        let (contracts, facts) = (self.input.contracts.clone(), facts(&self.input.records));
        let holdings = Holdings::load(&mut *conn, &contracts, &self.input.register, &facts, self.input.cutoff).await?;
        self.input.usage.held_events = holdings.events(&mut *conn, self.input.span()?.end).await?;
        if let (Some(start), Some(end)) = (edges.first(), edges.last()) {
            let all = Span { start: *start, end: *end };
            let mut events = load_interval_events(&mut *conn, all, self.input.cutoff).await?;
            // Of later periods too: what reduces a sale, or was paid for it, may come first.
            let known: BTreeSet<&EventId> = events.iter().map(|event| &event.id).collect();
            let is_new = |named: &&UsageEvent| !known.contains(&named.id);
            let named: Vec<UsageEvent> = self.named.iter().filter(is_new).cloned().collect();
            events.extend(named);
            self.input.usage.events = events;
        }
        let mut finer = stretches.clone();
        loop {
            self.load_usage(&mut *conn, &holdings, &finer).await?;
            let unsure = match settle(&self.input) {
                Ok(SettlementOutcome::Settled(settled)) => return Ok(*settled),
                Ok(SettlementOutcome::Open(unsure)) => unsure,
                Err(error) => match self.unpriced(&error) {
                    unpriced if unpriced.is_empty() => return Err(error.into()),
                    unpriced => unpriced,
                },
            };
            finer = stretches.open(&unsure);
            self.input.usage.sums.retain(|sum| !unsure.contains(&sum.usage.span));
        }
    }

    /// The stretches that begin where prices are missing: which event needs one is told once they are opened.
    fn unpriced(&self, error: &SettlementError) -> Vec<Span> {
        let SettlementError::Engine(EngineError::MissingPrices { missing }) = error else { return Vec::new() };
        let starts: BTreeSet<Instant> = missing.iter().filter(|it| it.event.is_none()).map(|it| it.at).collect();
        let spans = self.input.usage.sums.iter().map(|sum| sum.usage.span);
        // In the order of time, each once: many sums are of one stretch.
        let spans: BTreeMap<Instant, Span> = spans.map(|span| (span.start, span)).collect();
        spans.into_values().filter(|span| starts.contains(&span.start)).collect()
    }

    /// Tells the usage of spans event by event, where it is summed.
    pub async fn open(&mut self, conn: &mut PgConnection, spans: &[Span]) -> Result<(), SettleError> {
        let (contracts, facts) = (self.input.contracts.clone(), facts(&self.input.records));
        let register = self.input.register.clone();
        let holdings = Holdings::load(&mut *conn, &contracts, &register, &facts, self.input.cutoff).await?;
        let is_within = |sum: &Sum| spans.iter().any(|span| span.intersection(sum.usage.span).is_some());
        let (opened, summed) = std::mem::take(&mut self.input.usage.sums).into_iter().partition(is_within);
        let opened: Vec<Sum> = opened;
        self.input.usage.sums = summed;
        let mut opened: Vec<Span> = opened.into_iter().map(|sum| sum.usage.span).collect();
        opened.sort_by_key(|span| span.start);
        opened.dedup();
        let finer = Stretches { summed: Vec::new(), opened };
        Ok(self.load_usage(conn, &holdings, &finer).await?)
    }

    /// The digest of all of it.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        Ok(hex(&Sha256::digest(serde_json::to_vec(&self.input)?)))
    }

    /// Adds the usage of stretches that are new.
    async fn load_usage(
        &mut self,
        conn: &mut PgConnection,
        holdings: &Holdings<'_>,
        new: &Stretches,
    ) -> Result<(), StoreError> {
        let cutoff = self.input.cutoff;
        let thresholds = self.input.prices.thresholds();
        let sums = load_span_sums(&mut *conn, &new.summed, &thresholds, cutoff).await?;
        let mut sums: Vec<Sum> = sums.into_iter().map(Sum::from).collect();
        holdings.note(&mut *conn, &mut sums, &thresholds).await?;
        let names: BTreeSet<&EventId> = self.named.iter().map(|event| &event.id).collect();
        let opened = load_events(&mut *conn, &new.opened, cutoff).await?;
        let is_new = |event: &UsageEvent| !event.content.is_interval() && !names.contains(&event.id);
        let usage = &mut self.input.usage;
        usage.events.extend(opened.into_iter().filter(is_new));
        let ids: Vec<&EventId> = usage.events.iter().map(|event| &event.id).collect();
        usage.held = holdings.of(conn, &ids).await?;
        let none = BTreeSet::new();
        for event in self.named.iter().filter(|event| !event.content.is_interval()) {
            let of_product = thresholds.get(&ProductId::from(event.content.product.as_str())).unwrap_or(&none);
            if let Some(sum) = sums.iter_mut().find(|sum| sum.usage.holds(&event.content, of_product)) {
                sum.take_out(&event.content, usage.held.get(&event.id).into_iter().flatten());
            }
        }
        usage.sums.extend(sums);
        Ok(())
    }

    /// The records that have no effect yet, each with what it waits for.
    pub fn waiting(&self) -> Vec<WaitingRecord> {
        let named: BTreeMap<&EventId, &UsageContent> =
            self.named.iter().map(|event| (&event.id, &event.content)).collect();
        waiting(&self.input.records, &named, &self.input.register)
            .into_iter()
            .map(|(id, waits_for)| WaitingRecord { id: id.clone(), waits_for: waits_for.to_string() })
            .collect()
    }
}
