//! JSON Schema, as far as the schema of our dashboards goes: a keyword that is not known here is a fault, so that
//! nothing is passed over.

use serde_json::{Map, Value};

pub struct Schema<'a> {
    /// The document with the definitions.
    pub root: &'a Value,
}

impl Schema<'_> {
    /// What `schema` finds in `value`, which stands at `at`.
    pub fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let Some(rules) = schema.as_object() else {
            // `true` allows everything, `false` nothing.
            return if *schema == Value::Bool(true) { Vec::new() } else { vec![format!("{at}: is not allowed")] };
        };
        let mut faults = Vec::new();
        for (keyword, rule) in rules {
            faults.extend(self.keyword(rules, keyword, rule, value, at));
        }
        faults
    }

    fn keyword(&self, rules: &Map<String, Value>, keyword: &str, rule: &Value, value: &Value, at: &str) -> Vec<String> {
        let unless =
            |holds: bool| if holds { Vec::new() } else { vec![format!("{at}: {value} is not {keyword} {rule}")] };
        let length = |items: &Value| items.as_array().and_then(|items| u64::try_from(items.len()).ok());
        match keyword {
            "$schema" | "$comment" | "definitions" => Vec::new(),
            "$ref" => self.faults(self.definition(rule), value, at),
            "type" => unless(types(rule).any(|name| is_of_type(value, name))),
            "const" => unless(value == rule),
            "enum" => unless(rule.as_array().is_some_and(|allowed| allowed.contains(value))),
            "anyOf" => self.any_of(rule, value, at),
            "minItems" => unless(length(value).is_none_or(|length| Some(length) >= rule.as_u64())),
            "maxItems" => unless(length(value).is_none_or(|length| Some(length) <= rule.as_u64())),
            "required" => {
                let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing = names.filter(|name| value.as_object().is_some_and(|fields| !fields.contains_key(*name)));
                missing.map(|name| format!("{at}: {name} is missing")).collect()
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.flat_map(|(index, item)| self.faults(rule, item, &format!("{at}/{index}"))).collect()
            }
            "properties" => {
                let fields = value.as_object().into_iter().flatten();
                let known = fields.filter_map(|(name, field)| Some((name, field, rule.get(name)?)));
                known.flat_map(|(name, field, rule)| self.faults(rule, field, &format!("{at}/{name}"))).collect()
            }
            "additionalProperties" => {
                let is_known = |name: &str| rules.get("properties").is_some_and(|known| known.get(name).is_some());
                let others = value.as_object().into_iter().flatten().filter(|(name, _)| !is_known(name));
                others.flat_map(|(name, field)| self.faults(rule, field, &format!("{at}/{name}"))).collect()
            }
            _ => vec![format!("{at}: the schema says {keyword}, which is not understood")],
        }
    }

    fn definition(&self, reference: &Value) -> &Value {
        let place = reference.as_str().and_then(|it| it.strip_prefix('#')).expect("a reference within the schema");
        self.root.pointer(place).unwrap_or_else(|| panic!("the schema has no {place}"))
    }

    /// None where one alternative fits; else what is wrong by the one that fits best.
    fn any_of(&self, alternatives: &Value, value: &Value, at: &str) -> Vec<String> {
        let all = alternatives.as_array().expect("alternatives").iter();
        let best = all.map(|alternative| self.faults(alternative, value, at)).min_by_key(Vec::len);
        best.expect("an alternative")
    }
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    rule.as_str().into_iter().chain(rule.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Schema;
    use serde_json::json;

    #[test]
    fn finds_what_is_wrong_and_nothing_else() {
        let schema = json!({
            "definitions": {"Size": {"type": "integer"}},
            "type": "object", "required": ["size"], "additionalProperties": false,
            "properties": {
                "size": {"$ref": "#/definitions/Size"},
                "list": {"type": "array", "items": {"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}]}, "maxItems": 2, "minItems": 1},
                "maybe": {"type": ["string", "null"]}, "all": true,
            },
        });
        let faults = |value| Schema { root: &schema }.faults(&schema, &value, "").len();
        assert_eq!(faults(json!({"size": 1, "list": ["a", "c"], "maybe": null, "all": {}})), 0);
        let wrong = [
            json!({}),
            json!({"size": 1.5}),
            json!({"size": 1, "list": ["d"]}),
            json!({"size": 1, "list": []}),
            json!({"size": 1, "list": ["a", "a", "a"]}),
            json!({"size": 1, "maybe": 1}),
            json!({"size": 1, "other": 1}),
        ];
        for value in wrong {
            assert_eq!(faults(value.clone()), 1, "{value}");
        }
        let unknown = json!({"pattern": "x"});
        assert_eq!(Schema { root: &unknown }.faults(&unknown, &json!("x"), "").len(), 1);
    }
}
