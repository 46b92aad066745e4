//! Contracts and their versions as documents: one file with the definitions, and one for each version.

use super::amounts::is_several_sums;
use super::declared::{Declared, length, moment};
use super::names::Names;
use super::term::{Terms, finish, is_amount, untranslated};
use crate::json::{Fault, Object};
use crate::toml_text::{Block, fenced, field, one_or_more, quoted, table};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::period::{local_date, parse_instant};
use std::collections::{BTreeMap, BTreeSet};

/// A contract as it was translated.
pub struct Contract {
    pub id: String,
    pub zone: Option<chrono_tz::Tz>,
    pub declared: Declared,
    pub files: Vec<SourceFile>,
}

/// Translates a contract with all its versions.
pub fn contract(names: &Names, contract: &Object<'_>) -> Result<Contract, Fault> {
    let id = contract.text("id")?;
    let mut declared = Declared::default();
    let mut head = Block::unnamed("contract");
    head.set_text("id", &id);
    let (zone, currency) = (contract.opt("zone")?, contract.opt("currency")?);
    head.set_if("zone", zone.as_deref().map(quoted)).set_if("currency", currency.as_deref().map(quoted));
    let versions = contract.objects("versions")?;
    let begins = versions.first().map(|first| first.opt("effective_at")).transpose()?.flatten();
    let tz: Option<chrono_tz::Tz> = zone.as_deref().and_then(|zone| zone.parse().ok());
    let mut anchor = begins.map(|at| match (parse_instant(&at), tz) {
        (Ok(at), Some(zone)) => local_date(at, zone).to_string(),
        _ => at,
    });
    let mut unit = None;
    if let Some(period) = contract.object("period")? {
        let window = declared.window(&period.text("unit")?, &period, anchor.as_deref())?;
        unit = Some(window.clone());
        anchor = period.opt("anchor")?.or(anchor);
        period.pass(&["first_day", "dates"]);
        period.finish()?;
        head.set_text("period", &window);
    }
    head.set_if("rounding", contract.opt("rounding")?.as_deref().map(quoted));
    // The format has neither; a negative total has no effect on what is booked.
    head.set_text("negative", "carry");
    head.set_if("straddling", contract.opt("straddling")?.as_deref().map(quoted));
    if let Some(fx) = contract.object("fx")? {
        declared.convert(names, &id, &fx)?;
    }
    for version in &versions {
        for term in version.objects("terms")? {
            if is_several_sums(&term).unwrap_or_default() {
                declared.sums.insert(term.text("id")?);
            }
        }
    }
    let mut files = Vec::new();
    for (place, version) in versions.into_iter().enumerate() {
        let terms = Terms {
            names,
            declared: &mut declared,
            contract: id.clone(),
            currency: currency.clone(),
            anchor: anchor.clone(),
            period: unit.clone(),
            inputs: BTreeSet::new(),
            credits: BTreeMap::new(),
            caps: BTreeMap::new(),
            notices: BTreeMap::new(),
            payer: String::new(),
            blocks: Vec::new(),
        };
        let text = self::version(terms, &version)?;
        files.push(SourceFile { path: format!("contracts/{id}/{}.md", place + 1), text });
    }
    // What the format leaves out is whole; where the loader has to refuse that, nothing is added.
    head.set_if("pro_rata", names.refusal.is_none().then(|| quoted("full")));
    finish(contract, &mut head)?;
    let mut text = format!("# {id}\n\n{}", fenced(&[head]));
    let blocks = declared.blocks(names);
    if !blocks.is_empty() {
        text.push_str(&format!("\n## Definitions\n\n{}", fenced(&blocks)));
    }
    files.insert(0, SourceFile { path: format!("contracts/{id}/contract.md"), text });
    Ok(Contract { id, zone: tz, declared, files })
}

fn version(mut terms: Terms<'_>, version: &Object<'_>) -> Result<String, Fault> {
    let mut head = Block::unnamed("version");
    let number = version.text("number")?;
    head.set_text("contract", &terms.contract).set("number", number.clone());
    head.set_if("effective", moment(version, "effective_at")?);
    head.set_if("recorded_at", moment(version, "recorded_at")?);
    let mut caps = Vec::new();
    for cap in version.objects("caps")? {
        let id = cap.text("id")?;
        for term in cap.texts("terms")? {
            if let Some(other) = terms.caps.insert(term.clone(), id.clone()) {
                let fault = cap.fault(format!("{term} is under {other} too"));
                or_passed_on(&cap, fault, || {
                    head.set("cap", quoted(&id));
                })?;
            }
        }
        caps.push((id, cap));
    }
    let written = in_order(version.objects("terms")?)?;
    for term in &written {
        or_passed_on(version, prepare(&mut terms, term), || ())?;
    }
    let ids: Vec<String> = written.iter().filter_map(|term| term.opt("id").ok().flatten()).collect();
    let unknown = terms.caps.keys().chain(terms.credits.keys()).find(|term| !ids.contains(term)).cloned();
    if let Some(unknown) = unknown.filter(|_| version.is_to_be_refused()) {
        head.set("of", quoted(&unknown));
    }
    let mut text = format!("# Version {number}\n\n");
    let mut parts = Vec::new();
    for (id, cap) in caps {
        let unit = shared_unit(&terms, &written, &id)?;
        let mut block = Block::new("cap", &id);
        if unit != terms.currency {
            block.set_if("in", unit.as_deref().map(quoted));
        }
        block.extend(terms.cap(&cap, unit.as_deref())?);
        parts.push((format!("Cap {id}"), vec![block]));
    }
    for term in &written {
        let [clause, id] = ["clause", "id"].map(|key| term.opt(key).ok().flatten().unwrap_or_default());
        let is_right = term.has("right");
        let blocks = if is_right { right(&mut terms, term).map(|it| vec![it]) } else { terms.term(term) };
        let blocks = or_passed_on(term, blocks, || untranslated(term))?;
        parts.push((format!("{clause} {id}").trim().to_owned(), blocks));
    }
    finish(version, &mut head)?;
    text.push_str(&fenced(&[head]));
    for (heading, blocks) in parts {
        text.push_str(&format!("\n## {heading}\n\n{}", fenced(&blocks)));
    }
    Ok(text)
}

/// What the translation has no way to say is a fault, or is said in another way where the loader has to refuse it.
fn or_passed_on<T>(object: &Object<'_>, said: Result<T, Fault>, otherwise: impl FnOnce() -> T) -> Result<T, Fault> {
    said.or_else(|fault| if object.is_to_be_refused() { Ok(otherwise()) } else { Err(fault) })
}

/// The terms in the order of the file, those of one `once` group in the order that the group states.
fn in_order(terms: Vec<Object<'_>>) -> Result<Vec<Object<'_>>, Fault> {
    let mut groups: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
    for (place, term) in terms.iter().enumerate() {
        if let Some(once) = term.object("once")? {
            let order = once.opt("order")?.unwrap_or_else(|| "0".to_owned());
            let Ok(order) = order.parse() else { return once.fault(format!("order {order}")) };
            groups.entry(once.text("group")?).or_default().push((order, place));
        }
    }
    let mut from: Vec<usize> = (0..terms.len()).collect();
    for members in groups.values() {
        let mut ordered = members.clone();
        ordered.sort();
        for ((_, slot), (_, member)) in members.iter().zip(ordered) {
            from[*slot] = member;
        }
    }
    let mut terms: Vec<Option<Object<'_>>> = terms.into_iter().map(Some).collect();
    Ok(from.into_iter().filter_map(|place| terms[place].take()).collect())
}

/// What other terms have to know of one: whether it is only an input, and what pays it back.
fn prepare(terms: &mut Terms<'_>, term: &Object<'_>) -> Result<(), Fault> {
    let id = term.text("id")?;
    if term.flag("input_only")? && is_amount(term) {
        terms.inputs.insert(id.clone());
    }
    let (advance, set_off) = (term.object("advance")?, term.object("set_off")?);
    let unit = term.opt("currency")?.or(terms.currency.clone());
    let is_set_off = advance.is_none();
    let Some(advance) = advance.or(set_off) else { return Ok(()) };
    for from in [advance.texts("recoup_from")?, advance.texts("against")?].concat() {
        let rest = advance.opt("rest")?.unwrap_or_else(|| "carried".to_owned());
        let mut fields = vec![field("of", quoted(&id)), field("rest", quoted(&rest))];
        let limit = advance.opt("limit")?.map(|text| super::rate::amount(&text, unit.as_deref()));
        fields.extend(limit.map(|limit| field("limit", quoted(&limit))));
        let credits = terms.credits.entry(from).or_default();
        let kind = if is_set_off { &mut credits.set_off } else { &mut credits.recouped };
        kind.push(table(&fields));
    }
    Ok(())
}

/// What the terms under a shared cap are owed in.
fn shared_unit(terms: &Terms<'_>, written: &[Object<'_>], cap: &str) -> Result<Option<String>, Fault> {
    for term in written {
        if terms.caps.get(&term.text("id")?).is_some_and(|shared| shared == cap) {
            return Ok(term.opt("currency")?.or(terms.currency.clone()));
        }
    }
    Ok(terms.currency.clone())
}

/// A right; its releases and waivers have one name each, as the format's have.
fn right(terms: &mut Terms<'_>, right: &Object<'_>) -> Result<Block, Fault> {
    let mut block = Block::new("right", &right.text("id")?);
    match right.text("right")?.as_str() {
        "first_availability" => {
            block.set_text("first", &right.text("cloud")?);
            let lead = right.object("lead_time")?;
            let text = lead.as_ref().map(length).transpose()?.unwrap_or_else(|| "0 days".to_owned());
            lead.map_or(Ok(()), |lead| lead.finish())?;
            block.set_text("lead", &text);
            let release = terms.declared.subject_fact("release", false, &["product", "cloud"]);
            let waiver = terms.declared.subject_fact("waiver", true, &["product", "capability"]);
            block.set_text("release", &release).set("waivers", format!("[{}]", quoted(&waiver)));
        }
        "exclusivity" => {
            let mut only = Vec::new();
            for (key, attribute) in [("only_cloud", "cloud"), ("only_channel", "channel")] {
                let texts = right.texts(key)?;
                if !texts.is_empty() {
                    only.push(field(attribute, one_or_more(&texts)));
                }
            }
            block.set("only", table(&only));
        }
        "licence" => {
            block.set_text("licensor", &right.text("licensor")?).set_text("licensee", &right.text("licensee")?);
            block.set("exclusive", right.flag("exclusive")?.to_string());
        }
        other => return right.fault(format!("right \"{other}\"")),
    }
    let products = right.texts("products")?;
    let products = if products == ["all"] { vec!["all-products".to_owned()] } else { products };
    block.set("products", one_or_more(&products));
    terms.life(right, &mut block)?;
    block.set_if("on_breach", right.opt("consequence")?.as_deref().map(quoted));
    right.pass(&["clause"]);
    finish(right, &mut block)?;
    Ok(block)
}
