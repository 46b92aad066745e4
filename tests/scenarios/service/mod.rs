//! What the service answers: a scenario is told to an empty database in the order of recording, then asked.

mod books;
mod database;
mod history;
mod known;

use crate::answers::Answers;
use crate::simulated::told;
use crate::translate::Translated;
use apportion::domain::calendar::Period;
use apportion::domain::contract::Contract;
use apportion::domain::contract::folder::{Folder, read_folder};
use apportion::domain::engine::stretches::Grain;
use apportion::domain::ids::{ContractId, TermId};
use apportion::domain::money::Exact;
use apportion::domain::period::Instant;
use apportion::domain::settlement::SettlementError;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::answer::{self, Answer};
use apportion::domain::simulate::breaches::findings;
use apportion::domain::simulate::charges::charges;
use apportion::domain::simulate::run::{StepError, contract_named, period_named};
use apportion::domain::simulate::step::Step;
use apportion::jobs::entitlement::entitlement_as_known;
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::StatementError;
use apportion::store::StoreError;
use database::{Database, Template};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many scenarios play at once.
const AT_ONCE: usize = 4;

/// Plays scenarios, each in an empty database; the answers stand in their order.
pub fn through_the_service(scenarios: Vec<Translated>) -> Vec<(Translated, Answers)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let template = Template::new().await;
        let (scenarios, next) = (Arc::new(scenarios), Arc::new(AtomicUsize::new(0)));
        let mut players = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (scenarios, next, template) = (Arc::clone(&scenarios), Arc::clone(&next), template.clone());
            players.spawn(async move {
                let (database, mut played) = (template.copy().await, Vec::new());
                while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    played.push((scenario.name.clone(), play(&database, scenario).await));
                    database.begin_anew().await;
                }
                database.drop_it().await;
                played
            });
        }
        let mut played: BTreeMap<String, Answers> = players.join_all().await.into_iter().flatten().collect();
        template.drop_it().await;
        let scenarios = Arc::into_inner(scenarios).expect("nobody plays any more");
        let answered = |scenario: Translated| played.remove(&scenario.name).map(|answers| (scenario, answers));
        scenarios.into_iter().filter_map(answered).collect()
    })
}

/// Plays one scenario in a database that nothing was told.
async fn play(database: &Database, scenario: &Translated) -> Answers {
    let refused = |message: String| Answers { refused: Some(message), ..Answers::default() };
    let read = match Scenario::read(&scenario.files) {
        Ok(read) => read,
        Err(errors) => return refused(errors.to_string()),
    };
    let folder = match read_folder(&read.documents) {
        Ok(folder) => folder,
        Err(errors) => return refused(errors.to_string()),
    };
    match database.tell(&read).await {
        Ok(stamps) => {
            let desk = Desk { pool: database.pool.clone(), folder, stamps, not_agreed: Mutex::default() };
            told(scenario, desk.answers(&read.steps).await)
        }
        Err(message) => refused(message),
    }
}

/// Asks the service.
struct Desk {
    pool: PgPool,
    /// All agreements, to know contracts and periods by their names.
    folder: Folder,
    /// When something was stamped, and when it was told, which is some microseconds later.
    stamps: BTreeMap<Instant, Instant>,
    /// What was settled as known before anything was agreed of it: nothing is booked, and nothing is there to be closed.
    not_agreed: Mutex<BTreeSet<(ContractId, Period)>>,
}

/// Why a step has no answer.
enum Failure {
    /// As simulate would say it.
    Step(StepError),
    Code(&'static str, String),
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        let message = error.to_string();
        match error {
            SettleError::Settlement(SettlementError::Engine(error)) => Self::Step(StepError::Engine(error)),
            SettleError::Settlement(SettlementError::PeriodClosed { .. }) => Self::Code("period_closed", message),
            SettleError::Settlement(SettlementError::OutOfOrder { .. }) | SettleError::CutoffBeforeLast { .. } => {
                Self::Code("out_of_order", message)
            }
            SettleError::Settlement(SettlementError::UnknownContract { .. }) | SettleError::NotLoadedYet { .. } => {
                Self::Code("unknown_contract", message)
            }
            _ => Self::Code("refused_by_the_service", message),
        }
    }
}

/// Whether nothing was agreed of a period yet, as known at the cutoff: then nothing is owed.
fn is_not_agreed(error: &SettleError) -> bool {
    matches!(
        error,
        SettleError::NotLoadedYet { .. }
            | SettleError::Settlement(SettlementError::UnknownContract { .. } | SettlementError::BeforeContract { .. })
    )
}

impl From<StatementError> for Failure {
    fn from(error: StatementError) -> Self {
        Self::Code("refused_by_the_service", error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Code("store", error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl Desk {
    async fn answers(&self, steps: &[Step]) -> answer::Answers {
        let mut answers = answer::Answers::default();
        for step in steps {
            answers.steps.push(self.answer(step).await.unwrap_or_else(|failure| match failure {
                Failure::Step(error) => error.into(),
                Failure::Code(code, message) => Answer::Failed { code, is_waiting: false, message },
            }));
        }
        for contract in &self.folder.contracts {
            answers.booked_in_all.extend(self.booked_in_all(&contract.head.id).await);
        }
        answers
    }

    fn contract(&self, id: &ContractId) -> Result<&Contract, StepError> {
        contract_named(&self.folder.contracts, id)
    }

    fn period(&self, id: &ContractId, name: &str) -> Result<(&Contract, Period), StepError> {
        let contract = self.contract(id)?;
        Ok((contract, period_named(contract, name)?))
    }

    async fn answer(&self, step: &Step) -> Result<Answer, Failure> {
        match step {
            Step::Settle { contract, period, cutoff } => {
                let (contract, period) = self.period(contract, period)?;
                let settlements = self.settle(contract, period, *cutoff).await?;
                let findings = self.findings(contract, period, *cutoff).await?;
                Ok(Answer::Settled { settlements, terms: BTreeMap::new(), findings, not_agreed: None })
            }
            Step::Close { contract, period } => {
                let (contract, period) = self.period(contract, period)?;
                self.close(contract, period).await?;
                Ok(Answer::Closed)
            }
            Step::Entitlement { contract, through, known_at } => {
                let (contract, through) = self.period(contract, through)?;
                let terms = self.entitled(contract, through, *known_at).await?;
                Ok(Answer::Entitled { terms })
            }
            Step::Findings { contract, through, known_at } => {
                let (contract, through) = self.period(contract, through)?;
                Ok(Answer::Findings { findings: self.findings(contract, through, *known_at).await? })
            }
            Step::Charges { known_at } => {
                let (agreements, known) = self.known(*known_at).await?;
                let charges = charges(&known, &agreements.register);
                let (conflicts, rejected, waiting) = (known.conflicts, known.rejected, known.waiting);
                Ok(Answer::Charges(answer::Charges { charges, conflicts, rejected, waiting }))
            }
            Step::Period { contract, period } => {
                let (contract, period) = self.period(contract, period)?;
                let span = period.span(contract.head.zone);
                Ok(Answer::Period { start: span.start, end: span.end, hours: Exact::default() })
            }
        }
    }

    /// What terms yield: on sums the same as item by item, but for which items found no room.
    async fn entitled(
        &self,
        contract: &Contract,
        through: Period,
        known_at: Instant,
    ) -> Result<BTreeMap<TermId, answer::Entitled>, Failure> {
        let mut conn = self.pool.acquire().await?;
        let of = (&contract.head.id, through);
        let first = contract.first_period();
        let items = match entitlement_as_known(&mut conn, of, known_at, first, Grain::Items).await {
            Err(error) if is_not_agreed(&error) => return Ok(BTreeMap::new()),
            answered => answered?.terms,
        };
        let sums = entitlement_as_known(&mut conn, of, known_at, first, Grain::Sums).await?.terms;
        let told = |mut terms: BTreeMap<TermId, answer::Entitled>| {
            terms.values_mut().for_each(|it| it.without_room.clear());
            serde_json::to_string(&terms).unwrap_or_default()
        };
        let (by_item, by_sum) = (told(items.clone()), told(sums));
        let differ = || Failure::Code("sums_differ", format!("item by item {by_item}, on sums {by_sum}"));
        (by_item == by_sum).then_some(items).ok_or_else(differ)
    }

    /// What breaks the rights of a contract, of what the database knows.
    async fn findings(
        &self,
        contract: &Contract,
        through: Period,
        known_at: Instant,
    ) -> Result<Vec<answer::Finding>, Failure> {
        let (agreements, known) = self.known(known_at).await?;
        let end = through.span(contract.head.zone).end;
        let known_then = agreements.contracts.iter().find(|it| it.head.id == contract.head.id);
        Ok(known_then.map(|it| findings(it, &agreements.register, &known, end)).unwrap_or_default())
    }
}
