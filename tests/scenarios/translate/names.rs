//! What a scenario names, looked through once: attributes, meters, figures and facts, and what each is in the product.

use crate::json::{Fault, Object};
use apportion::domain::usage::Meter;
use std::collections::{BTreeMap, BTreeSet};

/// Attributes of the language that usage can carry itself; the others are those of its deployment. The last stands in
/// first for what the language does not have; the first names parties.
pub const OWN: [&str; 4] = ["buyer", "buyer_class", "label", "country"];

/// Attributes of the language that need no translation.
const KNOWN: [&str; 13] = [
    "seller",
    "buyer",
    "buyer_class",
    "operator",
    "cloud",
    "channel",
    "region",
    "country",
    "deployment",
    "product",
    "customer",
    "service_tier",
    "label",
];

#[derive(Default)]
pub struct FigureSeen {
    pub is_level: bool,
    pub currency: Option<String>,
    pub about: BTreeSet<String>,
}

#[derive(Default)]
pub struct FactSeen {
    pub is_status: bool,
    pub about: BTreeSet<String>,
}

#[derive(Default)]
pub struct Names {
    pub parties: Vec<String>,
    pub products: Vec<String>,
    /// Digits of the declared units.
    pub units: BTreeMap<String, String>,
    pub figures: BTreeMap<String, FigureSeen>,
    pub facts: BTreeMap<String, FactSeen>,
    attributes: BTreeMap<String, String>,
    meters: BTreeMap<String, String>,
    /// What the loader has to refuse it for, if that is what is expected.
    pub refusal: Option<String>,
}

/// What a record of a fact is called, and what it is about beside its `attrs`.
pub struct FactRecord {
    pub name: String,
    pub is_status: bool,
    pub about: Vec<&'static str>,
}

/// Reads which fact a record of a kind is; none where the kind is no fact with a name.
pub fn fact_of(kind: &str, record: &Object<'_>) -> Result<Option<FactRecord>, Fault> {
    let (name, is_status) = match kind {
        "release" => ("release".to_owned(), false),
        // One name for all: the rights of the format take any waiver.
        "waiver" => ("waiver".to_owned(), true),
        "milestone" | "fact" => (record.text("name")?, false),
        "status" => (record.text("name")?, true),
        _ => return Ok(None),
    };
    let about = ["product", "capability", "cloud", "customer"].into_iter().filter(|key| record.has(key)).collect();
    Ok(Some(FactRecord { name, is_status, about }))
}

impl Names {
    pub fn of(scenario: &Object<'_>, refusal: Option<String>) -> Result<Self, Fault> {
        let mut names = Self { refusal, ..Self::default() };
        for party in scenario.objects("parties")? {
            names.parties.push(party.text("id")?);
        }
        for product in scenario.objects("products")? {
            names.products.push(product.text("id")?);
        }
        for unit in scenario.objects("units")? {
            names.units.insert(unit.text("id")?, unit.opt("digits")?.unwrap_or_else(|| "2".to_owned()));
        }
        let (mut attributes, mut meters) = (BTreeSet::new(), BTreeSet::new());
        for price in scenario.objects("prices")? {
            meters.insert(price.text("meter")?);
        }
        for record in scenario.objects("records")? {
            let kind = record.text("kind")?;
            let own: BTreeSet<String> =
                record.object("attrs")?.iter().flat_map(|it| it.keys()).map(str::to_owned).collect();
            match kind.as_str() {
                "usage" | "correction" => {
                    meters.extend(record.object("quantities")?.iter().flat_map(|it| it.keys()).map(str::to_owned));
                    // A correction may be one of a figure, which is about more than usage says of itself.
                    let known = |name: &String| KNOWN.contains(&name.as_str()) && !OWN.contains(&name.as_str());
                    attributes.extend(own.into_iter().filter(|name| kind == "usage" || !known(name)));
                }
                "figure" => {
                    let figure = names.figures.entry(record.text("name")?).or_default();
                    figure.is_level |= record.has("at");
                    figure.currency = record.opt("currency")?.or(figure.currency.take());
                    attributes.extend(own.iter().filter(|name| !KNOWN.contains(&name.as_str())).cloned());
                    figure.about.extend(own);
                }
                kind => {
                    if let Some(FactRecord { name, is_status, about }) = fact_of(kind, &record)? {
                        let fact = names.facts.entry(name).or_default();
                        fact.is_status |= is_status;
                        fact.about.extend(about.into_iter().map(str::to_owned).chain(own));
                    }
                }
            }
        }
        names.place_attributes(attributes)?;
        names.place_meters(meters)?;
        Ok(names)
    }

    /// Names of the scenario's own, such as `segment`, take an attribute that nothing else uses.
    fn place_attributes(&mut self, used: BTreeSet<String>) -> Result<(), Fault> {
        let mut free: Vec<&str> = OWN.into_iter().filter(|name| !used.contains(*name)).collect();
        for name in used.iter().filter(|name| !OWN.contains(&name.as_str())) {
            let Some(stand_in) = free.pop() else {
                return Err(format!("attribute \"{name}\": usage has no more than {}", OWN.join(", ")));
            };
            self.attributes.insert(name.clone(), stand_in.to_owned());
        }
        Ok(())
    }

    /// Meters that the product does not have take others that nothing uses, in the same order where that is possible:
    /// it decides on the order of the items of one event. What belongs to a context goes on doing so.
    fn place_meters(&mut self, used: BTreeSet<String>) -> Result<(), Fault> {
        let is_of_context = |name: &str| ["input", "cache", "prompt"].iter().any(|word| name.contains(word));
        let mut free: BTreeMap<&str, bool> =
            Meter::ALL.iter().map(|meter| (meter.name(), meter.is_context())).collect();
        free.retain(|name, _| !used.contains(*name));
        let mut last = String::new();
        for name in &used {
            if name.parse::<Meter>().is_ok() {
                last.clone_from(name);
                continue;
            }
            let fits = |(_, is_context): &(&&str, &bool)| **is_context == is_of_context(name);
            let later = free.iter().filter(|(meter, _)| **meter > last.as_str()).find(fits);
            let Some((stand_in, _)) = later.or_else(|| free.iter().find(fits)).map(|(meter, it)| (*meter, *it)) else {
                return Err(format!("meter \"{name}\": the product has no meter left to stand in for it"));
            };
            free.remove(stand_in);
            last = stand_in.to_owned();
            self.meters.insert(name.clone(), stand_in.to_owned());
        }
        Ok(())
    }

    pub fn attribute(&self, name: &str) -> Option<String> {
        let renamed = self.attributes.get(name).cloned();
        renamed.or_else(|| match name {
            "tier" => Some("service_tier".to_owned()),
            "meters" | "meter" => Some("meter".to_owned()),
            known => KNOWN.contains(&known).then(|| known.to_owned()),
        })
    }

    pub fn meter(&self, name: &str) -> String {
        self.meters.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Whether a refusal is expected for what an unknown name or field is.
    pub fn expects_unknown(&self, what: &str) -> bool {
        self.refusal.as_ref().is_some_and(|code| code.contains("unknown") && code.contains(what))
    }

    /// Who reports figures and facts: the format does not say.
    pub fn reporter(&self) -> &str {
        self.parties.first().map_or("nobody", String::as_str)
    }
}
