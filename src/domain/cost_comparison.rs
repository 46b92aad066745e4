//! Cost comparison: what each cloud reports for usage beside what is rated of the usage at its deployments, and what cannot be compared.

use super::cloud_cost::{ChargeCategory, CostMeasure, Costs};
use super::money::{Currency, Exact};
use super::register::Register;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which cloud of the register a report means by the name of a provider.
pub type CloudByProvider = BTreeMap<String, String>;

/// What reports state of a service in a span of time.
#[derive(Clone, Debug)]
pub struct ReportedCosts {
    pub provider: String,
    pub service: String,
    pub category: ChargeCategory,
    pub currency: Currency,
    /// Whether all of it is for the span; else it reaches beyond.
    pub is_within: bool,
    pub costs: Costs,
}

/// What is rated of usage in a span of time.
#[derive(Clone, Debug)]
pub struct RatedUsage {
    pub cloud: String,
    pub product: String,
    pub meter: String,
    pub quantity: Exact,
    /// None where no price is in force.
    pub rated: Option<(Exact, Currency)>,
}

/// One of a cloud's costs beside what is rated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub measure: CostMeasure,
    pub reported: Exact,
    /// What is reported less what is rated.
    pub difference: Exact,
    /// Of what is rated; none where that is nothing.
    pub percent: Option<Exact>,
}

/// What a cloud reports for usage, and what is rated of the usage at its deployments, in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparedCloud {
    pub cloud: String,
    pub currency: Currency,
    pub reported_rows: u64,
    /// At the prices in force, unrounded.
    pub rated: Exact,
    pub compared: Vec<Compared>,
    pub services: BTreeMap<String, Costs>,
}

/// Why something is in no comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum NotCompared {
    /// Nobody has said which cloud it is.
    UnknownProvider {
        provider: String,
        currency: Currency,
        rows: u64,
        billed: Exact,
    },
    UnregisteredCloud {
        provider: String,
        cloud: String,
    },
    /// Of services that were not asked for.
    OtherService {
        provider: String,
        currency: Currency,
        rows: u64,
        billed: Exact,
    },
    NoDeployment {
        cloud: String,
        currency: Currency,
        rows: u64,
        billed: Exact,
    },
    OtherCategory {
        provider: String,
        category: ChargeCategory,
        currency: Currency,
        rows: u64,
        billed: Exact,
    },
    BeyondSpan {
        provider: String,
        service: String,
        currency: Currency,
        rows: u64,
        billed: Exact,
    },
    NoReport {
        cloud: String,
        currency: Currency,
        rated: Exact,
    },
    /// What is reported of the cloud is all left out.
    NoUsageReported {
        cloud: String,
        currency: Currency,
        rated: Exact,
    },
    ReportedInOtherCurrency {
        cloud: String,
        currency: Currency,
        billed: Exact,
    },
    RatedInOtherCurrency {
        cloud: String,
        currency: Currency,
        rated: Exact,
    },
    NoContractedCost {
        cloud: String,
        currency: Currency,
        rows: u64,
    },
    NoPrice {
        cloud: String,
        product: String,
        meter: String,
        quantity: Exact,
    },
}

/// All that could be compared, and what could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CostComparison {
    pub clouds: Vec<ComparedCloud>,
    pub not_compared: Vec<NotCompared>,
}

/// What is reported of a cloud for usage, by service.
type Services = BTreeMap<String, Costs>;

/// Compares by cloud and currency, of what is reported these services alone, or all where none is named. Usage that nobody is
/// charged for, or that is unresolved, is on neither side.
pub fn compare(
    reported: &[ReportedCosts],
    services: &BTreeSet<String>,
    usage: &[RatedUsage],
    clouds: &CloudByProvider,
    register: &Register,
) -> CostComparison {
    let mut left_out = BTreeSet::new();
    let (of_reports, of_usage) =
        (reported_by_cloud(reported, services, clouds, register, &mut left_out), rated_by_cloud(usage, &mut left_out));
    let is_reported = |cloud: &String| reported.iter().any(|it| clouds.get(&it.provider) == Some(cloud));
    let mut compared = Vec::new();
    for cloud in of_reports.keys().chain(of_usage.keys()).collect::<BTreeSet<_>>() {
        let (no_services, no_sums) = (BTreeMap::new(), BTreeMap::new());
        let services = of_reports.get(cloud).unwrap_or(&no_services);
        let rated = of_usage.get(cloud).unwrap_or(&no_sums);
        for (currency, services) in services {
            let sum = rated.get(currency).cloned();
            // Where nothing is rated at all what is reported differs from nothing.
            if sum.is_none() && !rated.is_empty() {
                let billed = services.values().map(|costs| costs.billed.clone()).sum();
                left_out.insert(NotCompared::ReportedInOtherCurrency {
                    cloud: cloud.clone(),
                    currency: *currency,
                    billed,
                });
                continue;
            }
            compared.push(beside(cloud, *currency, services, sum.unwrap_or_default(), &mut left_out));
        }
        for (currency, rated) in rated.iter().filter(|(currency, _)| !services.contains_key(currency)) {
            let (cloud, currency, rated) = (cloud.clone(), *currency, rated.clone());
            left_out.insert(match (services.is_empty(), is_reported(&cloud)) {
                (true, false) => NotCompared::NoReport { cloud, currency, rated },
                (true, true) => NotCompared::NoUsageReported { cloud, currency, rated },
                (false, _) => NotCompared::RatedInOtherCurrency { cloud, currency, rated },
            });
        }
    }
    CostComparison { clouds: compared, not_compared: left_out.into_iter().collect() }
}

fn beside(
    cloud: &str,
    currency: Currency,
    services: &Services,
    rated: Exact,
    left_out: &mut BTreeSet<NotCompared>,
) -> ComparedCloud {
    let mut all = Costs::default();
    services.values().for_each(|costs| all.add(costs));
    if all.rows_without_contracted > 0 {
        let (cloud, rows) = (cloud.to_owned(), all.rows_without_contracted);
        left_out.insert(NotCompared::NoContractedCost { cloud, currency, rows });
    }
    let compared = CostMeasure::ALL.iter().filter_map(|measure| {
        let reported = all.of(*measure)?.clone();
        let difference = &reported - &rated;
        let percent = (&difference * &Exact::from_integer(100)).checked_div(&rated);
        Some(Compared { measure: *measure, reported, difference, percent })
    });
    let (compared, cloud) = (compared.collect(), cloud.to_owned());
    ComparedCloud { cloud, currency, reported_rows: all.rows, rated, compared, services: services.clone() }
}

/// What is for usage within the span, by cloud, currency and service.
fn reported_by_cloud(
    reported: &[ReportedCosts],
    services: &BTreeSet<String>,
    clouds: &CloudByProvider,
    register: &Register,
    left_out: &mut BTreeSet<NotCompared>,
) -> BTreeMap<String, BTreeMap<Currency, Services>> {
    let mut by_cloud: BTreeMap<String, BTreeMap<Currency, Services>> = BTreeMap::new();
    // What is left out is summed first: of a provider, category and currency there are many services.
    let mut others: BTreeMap<(&str, ChargeCategory, Currency), Costs> = BTreeMap::new();
    let mut of_unknown: BTreeMap<(&str, Currency), Costs> = BTreeMap::new();
    let mut of_other_services: BTreeMap<(&str, Currency), Costs> = BTreeMap::new();
    let mut without_deployment: BTreeMap<(&str, Currency), Costs> = BTreeMap::new();
    for ReportedCosts { provider, service, category, currency, is_within, costs } in reported {
        let Some(cloud) = clouds.get(provider) else {
            of_unknown.entry((provider, *currency)).or_default().add(costs);
            continue;
        };
        if !register.clouds.contains_key(cloud) {
            left_out.insert(NotCompared::UnregisteredCloud { provider: provider.clone(), cloud: cloud.clone() });
        } else if !services.is_empty() && !services.contains(service) {
            of_other_services.entry((provider, *currency)).or_default().add(costs);
        } else if *category != ChargeCategory::Usage {
            others.entry((provider, *category, *currency)).or_default().add(costs);
        } else if !is_within {
            let (provider, service, billed) = (provider.clone(), service.clone(), costs.billed.clone());
            left_out.insert(NotCompared::BeyondSpan {
                provider,
                service,
                currency: *currency,
                rows: costs.rows,
                billed,
            });
        } else if !register.deployments.values().any(|deployment| deployment.cloud == *cloud) {
            without_deployment.entry((cloud, *currency)).or_default().add(costs);
        } else {
            let services = by_cloud.entry(cloud.clone()).or_default().entry(*currency).or_default();
            services.entry(service.clone()).or_default().add(costs);
        }
    }
    left_out.extend(of_unknown.into_iter().map(|((provider, currency), Costs { rows, billed, .. })| {
        NotCompared::UnknownProvider { provider: provider.to_owned(), currency, rows, billed }
    }));
    left_out.extend(of_other_services.into_iter().map(|((provider, currency), Costs { rows, billed, .. })| {
        NotCompared::OtherService { provider: provider.to_owned(), currency, rows, billed }
    }));
    left_out.extend(others.into_iter().map(|((provider, category, currency), Costs { rows, billed, .. })| {
        NotCompared::OtherCategory { provider: provider.to_owned(), category, currency, rows, billed }
    }));
    left_out.extend(without_deployment.into_iter().map(|((cloud, currency), Costs { rows, billed, .. })| {
        NotCompared::NoDeployment { cloud: cloud.to_owned(), currency, rows, billed }
    }));
    by_cloud
}

/// What is rated, by cloud and currency.
fn rated_by_cloud(
    usage: &[RatedUsage],
    left_out: &mut BTreeSet<NotCompared>,
) -> BTreeMap<String, BTreeMap<Currency, Exact>> {
    let mut by_cloud: BTreeMap<String, BTreeMap<Currency, Exact>> = BTreeMap::new();
    let mut unpriced: BTreeMap<[&str; 3], Exact> = BTreeMap::new();
    for RatedUsage { cloud, product, meter, quantity, rated } in usage {
        match rated {
            Some((amount, currency)) => {
                *by_cloud.entry(cloud.clone()).or_default().entry(*currency).or_default() += amount;
            }
            None => *unpriced.entry([cloud, product, meter]).or_default() += quantity,
        }
    }
    left_out.extend(unpriced.into_iter().map(|([cloud, product, meter], quantity)| {
        let [cloud, product, meter] = [cloud, product, meter].map(str::to_owned);
        NotCompared::NoPrice { cloud, product, meter, quantity }
    }));
    by_cloud
}

#[cfg(test)]
mod tests {
    use super::super::ids::{DeploymentId, PartyId};
    use super::super::register::{Cloud, Deployment};
    use super::*;

    fn number(text: &str) -> Exact {
        text.parse().expect("a number")
    }

    fn currency(code: &str) -> Currency {
        code.parse().expect("a currency")
    }

    /// The clouds azure, aws and oracle; oracle without a deployment.
    fn register() -> Register {
        let operator = PartyId::from("p");
        let clouds = ["azure", "aws", "oracle"].map(|id| (id.to_owned(), Cloud { operator: operator.clone() }));
        let deployment = |cloud: &str| Deployment {
            cloud: cloud.to_owned(),
            channel: "api".to_owned(),
            region: "r".to_owned(),
            operator: operator.clone(),
            seller: Some(operator.clone()),
        };
        let deployments = ["azure", "aws"].map(|cloud| (DeploymentId::from(cloud), deployment(cloud)));
        Register { clouds: clouds.into(), deployments: deployments.into(), ..Register::default() }
    }

    fn reported(provider: &str, service: &str, of: &str, [billed, effective, contracted]: [&str; 3]) -> ReportedCosts {
        let (category, code) = of.split_once(' ').expect("a category and a currency");
        let costs = Costs {
            rows: 1,
            billed: number(billed),
            effective: number(effective),
            contracted: number(if contracted.is_empty() { "0" } else { contracted }),
            rows_without_contracted: u64::from(contracted.is_empty()),
            list: Exact::zero(),
        };
        let (provider, service) = (provider.to_owned(), service.to_owned());
        let category = category.parse().expect("a category");
        ReportedCosts { provider, service, category, currency: currency(code), is_within: true, costs }
    }

    fn rated(cloud: &str, amount: &str, code: &str) -> RatedUsage {
        RatedUsage {
            cloud: cloud.to_owned(),
            product: "gpt".to_owned(),
            meter: "input_tokens".to_owned(),
            quantity: number("1000"),
            rated: (!code.is_empty()).then(|| (number(amount), currency(code))),
        }
    }

    /// The values of what was left out, in the order of its fields.
    fn told(it: &NotCompared) -> String {
        let json = serde_json::to_string(it).expect("JSON");
        let pairs = json.trim_matches(['{', '}']).split(',');
        pairs
            .filter_map(|pair| pair.split_once(':'))
            .map(|(_, value)| value.trim_matches('"'))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn compared(reported: &[ReportedCosts], usage: &[RatedUsage]) -> (Vec<String>, Vec<String>) {
        compared_of(&[], reported, usage)
    }

    fn compared_of(services: &[&str], reported: &[ReportedCosts], usage: &[RatedUsage]) -> (Vec<String>, Vec<String>) {
        let names = [("Microsoft", "azure"), ("AWS", "aws"), ("Oracle", "oracle"), ("Moon", "moon")];
        let names = names.into_iter().map(|(provider, cloud)| (provider.to_owned(), cloud.to_owned())).collect();
        let CostComparison { clouds, not_compared } =
            compare(reported, &services.iter().map(|it| (*it).to_owned()).collect(), usage, &names, &register());
        let line = |it: &ComparedCloud| {
            let measure = |it: &Compared| {
                let percent = it.percent.as_ref().map_or("-".to_owned(), ToString::to_string);
                format!("{} {} {} {percent}", it.measure, it.reported, it.difference)
            };
            let measures: Vec<String> = it.compared.iter().map(measure).collect();
            format!("{} {} rated {}: {}", it.cloud, it.currency, it.rated, measures.join(", "))
        };
        (clouds.iter().map(line).collect(), not_compared.iter().map(told).collect())
    }

    #[test]
    fn what_is_reported_stands_beside_what_is_rated() {
        // 60 + 45 billed less 100 rated is 5, which is 5% of 100; effective 50 + 40 is 10 less; contracted 57 + 43 is equal.
        let reports = [
            reported("Microsoft", "OpenAI", "Usage USD", ["60", "50", "57"]),
            reported("Microsoft", "Storage", "Usage USD", ["45", "40", "43"]),
        ];
        let (lines, left_out) = compared(&reports, &[rated("azure", "70", "USD"), rated("azure", "30", "USD")]);
        assert_eq!(lines, ["azure USD rated 100: billed 105 5 5, effective 90 -10 -10, contracted 100 0 0"]);
        assert!(left_out.is_empty(), "{left_out:?}");
        // A third has no end; nothing rated at all is a difference, of which there is no share.
        let (lines, _) = compared(&reports[..1], &[rated("azure", "3", "USD")]);
        assert_eq!(lines, ["azure USD rated 3: billed 60 57 1900, effective 50 47 4700/3, contracted 57 54 1800"]);
        let (lines, left_out) = compared(&reports[..1], &[]);
        assert_eq!(lines, ["azure USD rated 0: billed 60 60 -, effective 50 50 -, contracted 57 57 -"]);
        assert!(left_out.is_empty(), "{left_out:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_told_with_its_reason() {
        let reports = [
            reported("AWS", "Bedrock", "Usage EUR", ["7", "7", "7"]),
            reported("AWS", "Bedrock", "Tax EUR", ["1", "1", "1"]),
            reported("Oracle", "Compute", "Usage USD", ["2", "2", ""]),
            reported("Moon", "Dust", "Usage USD", ["3", "3", "3"]),
            reported("Acme", "Things", "Usage USD", ["4", "4", "4"]),
            reported("Acme", "Others", "Tax USD", ["5", "5", "5"]),
            ReportedCosts { is_within: false, ..reported("Microsoft", "OpenAI", "Usage USD", ["6", "6", "6"]) },
        ];
        let usage = [rated("aws", "8", "USD"), rated("azure", "9", "USD"), rated("azure", "", "")];
        let (lines, left_out) = compared(&reports, &usage);
        assert!(lines.is_empty(), "{lines:?}");
        let expected = [
            "unknown_provider Acme USD 2 9",
            "unregistered_cloud Moon moon",
            "no_deployment oracle USD 1 2",
            "other_category AWS Tax EUR 1 1",
            "beyond_span Microsoft OpenAI USD 1 6",
            "no_usage_reported azure USD 9",
            "reported_in_other_currency aws EUR 7",
            "rated_in_other_currency aws USD 8",
            "no_price azure gpt input_tokens 1000",
        ];
        assert_eq!(left_out, expected);
    }

    #[test]
    fn services_that_were_not_asked_for_are_left_out_and_are_a_report_all_the_same() {
        let reports = [
            reported("AWS", "Bedrock", "Usage USD", ["7", "7", "7"]),
            reported("AWS", "S3", "Usage USD", ["2", "2", "2"]),
            reported("AWS", "S3", "Tax USD", ["1", "1", "1"]),
            reported("Microsoft", "Storage", "Usage USD", ["5", "5", "5"]),
        ];
        let usage = [rated("aws", "8", "USD"), rated("azure", "9", "USD")];
        let (lines, left_out) = compared_of(&["Bedrock"], &reports, &usage);
        assert_eq!(lines, ["aws USD rated 8: billed 7 -1 -12.5, effective 7 -1 -12.5, contracted 7 -1 -12.5"]);
        let of_azure =
            ["other_service AWS USD 2 3", "other_service Microsoft USD 1 5", "no_usage_reported azure USD 9"];
        assert_eq!(left_out, of_azure);
        let (_, left_out) = compared_of(&["Bedrock"], &reports[..1], &usage);
        assert_eq!(left_out, ["no_report azure USD 9"]);
    }

    #[test]
    fn a_measure_that_rows_leave_out_is_not_compared() {
        let reports = [
            reported("AWS", "Bedrock", "Usage USD", ["7", "6", "5"]),
            reported("AWS", "Bedrock", "Usage USD", ["1", "1", ""]),
        ];
        let (lines, left_out) = compared(&reports, &[rated("aws", "8", "USD")]);
        assert_eq!(lines, ["aws USD rated 8: billed 8 0 0, effective 7 -1 -12.5"]);
        assert_eq!(left_out, ["no_contracted_cost aws USD 1"]);
    }
}
