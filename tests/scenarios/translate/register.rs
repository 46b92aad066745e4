//! The register, the price book and the exchange rates of a scenario.

use super::names::Names;
use crate::json::{Fault, Object};
use crate::toml_text::{Block, fenced, list, quoted};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::period::start_of_day;
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// Parties, clouds, products, deployments.
pub fn register(names: &Names, scenario: &Object<'_>) -> Result<SourceFile, Fault> {
    let mut blocks = Vec::new();
    let mut maker = None;
    for party in scenario.objects("parties")? {
        let id = party.text("id")?;
        // The product knows no roles: who is what stands in the contracts.
        if party.opt("role")?.as_deref() == Some("lab") {
            maker.get_or_insert(id.clone());
        }
        let mut block = Block::new("party", &id);
        block.set_text("name", &party.opt("name")?.unwrap_or_else(|| id.clone()));
        party.finish()?;
        blocks.push(block);
    }
    let first = names.reporter().to_owned();
    let deployments = scenario.objects("deployments")?;
    if names.parties.is_empty() && !(names.products.is_empty() && deployments.is_empty()) {
        let mut block = Block::new("party", &first);
        block.set_text("name", &first);
        blocks.push(block);
    }
    let mut clouds: BTreeMap<String, String> = BTreeMap::new();
    let mut placed = Vec::new();
    for deployment in deployments {
        let (cloud, operator) = (deployment.text("cloud")?, deployment.text("operator")?);
        let mut block = Block::new("deployment", &deployment.text("id")?);
        block.set_text("cloud", &cloud).set_text("channel", &deployment.text("channel")?);
        // The format may leave it out, the product does not.
        block.set_text("region", &deployment.opt("region")?.unwrap_or_else(|| "global".to_owned()));
        block.set_text("operator", &operator);
        block.set_if("seller", deployment.opt("seller")?.as_deref().map(quoted));
        deployment.finish()?;
        clouds.entry(cloud).or_insert(operator);
        placed.push(block);
    }
    for cloud in clouds_of_rights(scenario)? {
        clouds.entry(cloud).or_insert_with(|| first.clone());
    }
    for (cloud, operator) in clouds {
        let mut block = Block::new("cloud", &cloud);
        block.set_text("operator", &operator);
        blocks.push(block);
    }
    for product in scenario.objects("products")? {
        let mut block = Block::new("product", &product.text("id")?);
        block.set_text("maker", maker.as_deref().unwrap_or(&first));
        let capabilities = product.texts("capabilities")?;
        if !capabilities.is_empty() {
            block.set("capabilities", list(capabilities.iter().map(|it| quoted(it))));
        }
        product.finish()?;
        blocks.push(block);
    }
    if !names.products.is_empty() {
        let mut block = Block::new("group", "all-products");
        block.set("products", list(names.products.iter().map(|it| quoted(it))));
        blocks.push(block);
    }
    for unit in scenario.objects("units")? {
        unit.pass(&["id", "digits"]);
        unit.finish()?;
    }
    blocks.extend(placed);
    let text = if blocks.is_empty() { "# Register\n".to_owned() } else { format!("# Register\n\n{}", fenced(&blocks)) };
    Ok(SourceFile { path: "contracts/register.md".to_owned(), text })
}

/// Clouds that rights name without a deployment on them.
fn clouds_of_rights(scenario: &Object<'_>) -> Result<Vec<String>, Fault> {
    let mut clouds = Vec::new();
    for contract in scenario.objects("contracts")? {
        for version in contract.objects("versions")? {
            for term in version.objects("terms")? {
                if term.has("right") {
                    clouds.extend(term.opt("cloud")?);
                    clouds.extend(term.texts("only_cloud")?);
                }
            }
        }
    }
    for record in scenario.objects("records")? {
        if matches!(record.text("kind")?.as_str(), "release" | "waiver") {
            clouds.extend(record.opt("cloud")?);
        }
    }
    Ok(clouds)
}

/// An instant; a date alone begins in the zone of the first contract, as a price book is of none.
fn instant(object: &Object<'_>, key: &str, zone: Tz) -> Result<String, Fault> {
    let text = object.opt(key)?.unwrap_or_default();
    Ok(text.parse().map_or(text, |date| start_of_day(zone, date).to_rfc3339()))
}

pub fn prices(names: &Names, scenario: &Object<'_>) -> Result<SourceFile, Fault> {
    let mut text = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at\n".to_owned();
    let zones = scenario.objects("contracts")?.iter().map(|it| it.opt("zone")).collect::<Result<Vec<_>, _>>()?;
    let zone = zones.into_iter().flatten().find_map(|zone| zone.parse().ok()).unwrap_or(Tz::UTC);
    for (place, price) in scenario.objects("prices")?.into_iter().enumerate() {
        let row = [
            price.opt("id")?.unwrap_or_else(|| format!("price-{}", place + 1)),
            price.text("product")?,
            names.meter(&price.text("meter")?),
            price.opt("tier")?.unwrap_or_else(|| "default".to_owned()),
            price.opt("customer")?.unwrap_or_default(),
            price.opt("region")?.unwrap_or_default(),
            price.opt("channel")?.unwrap_or_default(),
            price.opt("context_over")?.unwrap_or_default(),
            price.text("price")?,
            price.opt("per")?.unwrap_or_else(|| "1".to_owned()),
            price.text("currency")?,
            instant(&price, "from", zone)?,
            instant(&price, "to", zone)?,
            price.opt("source")?.unwrap_or_else(|| "scenario".to_owned()),
            price.opt("recorded_at")?.unwrap_or_default(),
        ];
        price.finish()?;
        text.push_str(&csv_row(&row));
    }
    Ok(SourceFile { path: "contracts/prices.csv".to_owned(), text })
}

pub fn rates(scenario: &Object<'_>) -> Result<SourceFile, Fault> {
    let mut text = "date,from,to,rate,source,recorded_at\n".to_owned();
    for rate in scenario.objects("fx_rates")? {
        let row = [
            rate.text("date")?,
            rate.text("from")?,
            rate.text("to")?,
            rate.text("rate")?,
            rate.text("source")?,
            rate.opt("recorded_at")?.unwrap_or_default(),
        ];
        rate.finish()?;
        text.push_str(&csv_row(&row));
    }
    Ok(SourceFile { path: "fx.csv".to_owned(), text })
}

fn csv_row(fields: &[String]) -> String {
    let quoted = |text: &String| {
        if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() }
    };
    format!("{}\n", fields.iter().map(quoted).collect::<Vec<_>>().join(","))
}
