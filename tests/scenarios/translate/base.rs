//! Bases: what is selected, less what reduces it.

use super::declared::length;
use super::term::{Terms, finish};
use crate::json::{Fault, Object};
use crate::toml_text::{Block, field, list, one_or_more, quoted, table};

/// A base as it was translated.
pub struct Written {
    pub name: String,
    /// Quantities and no money.
    pub is_units: bool,
}

type Fields = Vec<(String, String)>;

impl Terms<'_> {
    /// Translates a base under a name; `above` is a threshold beside it.
    pub fn base(&mut self, name: &str, base: &Object<'_>, above: Option<String>) -> Result<Written, Fault> {
        let mut exclude = Vec::new();
        for excluded in base.objects("exclude")? {
            exclude.push(table(&self.filter(&excluded)?));
        }
        let not = match exclude.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            more => Some(list(more.to_vec())),
        };
        let mut select = Vec::new();
        for (key, what) in [("charges", "charges"), ("billings", "billings"), ("quantities", "units")] {
            for selection in base.objects(key)? {
                let mut fields = vec![field(what, table(&self.filter(&selection)?))];
                fields.extend(not.clone().map(|not| field("not", not)));
                select.push(table(&fields));
            }
        }
        let is_units = base.objects("quantities")?.len() == select.len() && !select.is_empty();
        let (added, mut less) = self.base_figures(name, base)?;
        select.extend(added);
        for accrual in base.objects("accruals")? {
            select.push(table(&self.accrual(&accrual)?));
        }
        let place = base.opt("at")?;
        let categories = base.texts("deduct")?;
        if !categories.is_empty() {
            let categories = list(categories.iter().map(|it| quoted(it)));
            let mut fields = vec![field("deductions", categories)];
            // Where it is not written the loader has to refuse it.
            fields.extend(place.as_deref().map(|place| field("at", quoted(place))));
            less.push(table(&fields));
        }
        for accrual in base.objects("deduct_terms")? {
            let mut fields = self.accrual(&accrual)?;
            // What a term yields stands at the item behind it; where nothing says so the loader may have to refuse it.
            let has_no_place = self.names.refusal.as_ref().is_some_and(|code| code.contains("place"));
            let place = place.as_deref().or((!has_no_place).then_some("item"));
            fields.extend(place.map(|place| field("at", quoted(place))));
            less.push(table(&fields));
        }
        let mut block = Block::new("base", name);
        block.set("select", list(select));
        if !less.is_empty() {
            block.set("less", list(less));
        }
        block.set_if("basis", base.opt("basis")?.as_deref().map(quoted));
        block.set_if("below_zero", base.opt("below_zero")?.as_deref().map(quoted));
        block.set_if("above", above);
        finish(base, &mut block)?;
        self.blocks.push(block);
        Ok(Written { name: name.to_owned(), is_units })
    }

    /// Figures that are added to a base, and those that reduce it.
    fn base_figures(&mut self, of: &str, base: &Object<'_>) -> Result<(Vec<String>, Vec<String>), Fault> {
        let (mut added, mut less) = (Vec::new(), Vec::new());
        for figure in base.objects("figures")? {
            // A figure that is missing counts zero in a base, unless it says otherwise.
            let missing = figure.opt("missing")?.unwrap_or_else(|| "zero".to_owned());
            let (name, currency) = (figure.text("name")?, self.currency.clone());
            let name = self.declared.figure(self.names, &name, &missing, currency.as_deref(), false);
            let mut fields = vec![field("figure", quoted(&name))];
            if let Some(filter) = figure.object("where")? {
                fields.push(field("where", table(&self.filter(&filter)?)));
            }
            match figure.opt("sign")?.as_deref() {
                None | Some("+") => added.push(table(&fields)),
                Some("-") => {
                    if fields.len() > 1 {
                        // Only what is selected can be narrowed: it is a base of its own.
                        let own = format!("{of} less {name}");
                        let mut block = Block::new("base", &own);
                        block.set("select", table(&fields));
                        self.blocks.push(block);
                        fields = vec![field("base", quoted(&own))];
                    }
                    fields.push(field("at", quoted("own_date")));
                    less.push(table(&fields));
                }
                Some(other) => return figure.fault(format!("sign \"{other}\"")),
            }
            figure.finish()?;
        }
        Ok((added, less))
    }

    /// What another term yields; of an input of the same contract, its amount.
    fn accrual(&mut self, accrual: &Object<'_>) -> Result<Fields, Fault> {
        let (contract, term) = (accrual.opt("contract")?, accrual.text("term")?);
        let contract = contract.unwrap_or_else(|| self.contract.clone());
        let when = accrual.opt("as")?.or(accrual.opt("basis")?);
        accrual.finish()?;
        if contract == self.contract && self.inputs.contains(&term) {
            return Ok(vec![field("amount", quoted(&term))]);
        }
        let when = match when.as_deref() {
            None | Some("owed" | "occurred" | "accrued") => "owed",
            Some("received" | "paid") => "received",
            Some(other) => return accrual.fault(format!("as \"{other}\"")),
        };
        Ok(vec![field("accrual", quoted(&format!("{contract}/{term}"))), field("as", quoted(when))])
    }

    /// The attributes of a selection; all of them must match.
    pub fn filter(&mut self, selection: &Object<'_>) -> Result<Fields, Fault> {
        let (lasts, picks_last) = introduction_of(selection)?;
        let mut fields = Vec::new();
        for key in selection.keys() {
            let attribute = match key {
                "within" | "touch" => continue,
                "introduced_by" => self.declared.introduction(lasts.clone(), picks_last),
                "status" | "fact" => {
                    for name in selection.texts(key)? {
                        fields.push(field(&self.declared.fact(self.names, &name, key == "status"), "true"));
                    }
                    continue;
                }
                fact if self.names.attribute(fact).is_none() && self.names.facts.contains_key(fact) => {
                    selection.pass(&[key]);
                    fields.push(field(&self.declared.fact(self.names, key, true), "true"));
                    continue;
                }
                key => match self.names.attribute(key) {
                    Some(attribute) => attribute,
                    // The loader has to refuse it, if that is what is expected.
                    None if self.names.refusal.is_some() => key.to_owned(),
                    None => return selection.fault(format!("unknown key \"{key}\"")),
                },
            };
            let texts = selection.texts(key)?;
            let texts: Vec<String> = match attribute.as_str() {
                "meter" => texts.iter().map(|it| self.names.meter(it)).collect(),
                _ => texts,
            };
            // One name can be that of a group; "all" stands for every product.
            let texts =
                if attribute == "product" && texts == ["all"] { vec!["all-products".to_owned()] } else { texts };
            fields.push(field(&attribute, one_or_more(&texts)));
        }
        selection.finish()?;
        Ok(fields)
    }
}

/// How long an introduction of a customer holds for a selection, and whether the last one counts.
pub fn introduction_of(selection: &Object<'_>) -> Result<(Option<String>, bool), Fault> {
    let lasts = selection.object("within")?.map(|it| length(&it)).transpose()?;
    let picks_last = match selection.opt("touch")?.as_deref() {
        None | Some("first") => false,
        Some("last") => true,
        Some(other) => return selection.fault(format!("touch \"{other}\"")),
    };
    Ok((lasts, picks_last))
}
