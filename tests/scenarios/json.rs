//! Objects of a scenario's JSON, of which every key has to be asked for: one that nobody knows is an error by name.

use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What is wrong with a scenario file, with the place in it.
pub type Fault = String;

pub struct Object<'a> {
    pub place: String,
    map: &'a Map<String, Value>,
    asked: RefCell<BTreeSet<&'a str>>,
    strays: Option<Strays>,
}

/// Keys that nobody asked for, of objects that are to be refused for them or for something else.
type Strays = Rc<RefCell<Map<String, Value>>>;

impl<'a> Object<'a> {
    pub fn new(place: impl Into<String>, value: &'a Value) -> Result<Self, Fault> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { place, map, asked: RefCell::default(), strays: None }),
            other => Err(format!("{place}: {other} is no object")),
        }
    }

    /// An object that is to be refused: a key that nobody asks for is kept for whoever has to refuse it.
    pub fn refusable(self) -> Self {
        Self { strays: Some(Strays::default()), ..self }
    }

    pub fn is_to_be_refused(&self) -> bool {
        self.strays.is_some()
    }

    /// The keys within that nobody asked for and that were not taken yet.
    pub fn take_strays(&self) -> Map<String, Value> {
        self.strays.as_ref().map(|strays| strays.take()).unwrap_or_default()
    }

    /// An object within, by a name for its place.
    pub fn child(&self, name: &str, value: &'a Value) -> Result<Object<'a>, Fault> {
        Ok(Object { strays: self.strays.clone(), ..Object::new(format!("{}{name}", self.place), value)? })
    }

    pub fn fault<T>(&self, what: impl std::fmt::Display) -> Result<T, Fault> {
        Err(format!("{}: {what}", self.place))
    }

    /// The value of a key; null is as good as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let (known, value) = self.map.get_key_value(key)?;
        self.asked.borrow_mut().insert(known);
        Some(value).filter(|value| !value.is_null())
    }

    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// Asks for keys that have no counterpart in the product, and that say nothing about money.
    pub fn pass(&self, keys: &[&str]) {
        for key in keys {
            self.get(key);
        }
    }

    /// A text, or a whole number as its text.
    pub fn opt(&self, key: &str) -> Result<Option<String>, Fault> {
        self.get(key)
            .map(|value| text_of(value).ok_or(()))
            .transpose()
            .or_else(|()| self.fault(format!("{key}: no text")))
    }

    pub fn text(&self, key: &str) -> Result<String, Fault> {
        match self.opt(key)? {
            Some(text) => Ok(text),
            None => self.fault(format!("no {key}")),
        }
    }

    /// Texts: one, or a list of them.
    pub fn texts(&self, key: &str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let values: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
        let texts: Option<Vec<String>> = values.into_iter().map(text_of).collect();
        texts.map_or_else(|| self.fault(format!("{key}: no texts")), Ok)
    }

    pub fn flag(&self, key: &str) -> Result<bool, Fault> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => self.fault(format!("{key}: {other} is no truth value")),
        }
    }

    pub fn object(&self, key: &str) -> Result<Option<Object<'a>>, Fault> {
        self.get(key).map(|value| self.child(&format!(".{key}"), value)).transpose()
    }

    /// Objects: one, or a list of them.
    pub fn objects(&self, key: &str) -> Result<Vec<Object<'a>>, Fault> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => {
                (list.iter().enumerate()).map(|(at, value)| self.child(&format!(".{key}[{at}]"), value)).collect()
            }
            Some(value) => Ok(vec![self.child(&format!(".{key}"), value)?]),
        }
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// The keys that nobody asked for.
    pub fn unasked(&self) -> Vec<&'a str> {
        let asked = self.asked.borrow();
        self.map.keys().map(String::as_str).filter(|key| !asked.contains(key)).collect()
    }

    /// Fails on a key that nobody asked for.
    pub fn finish(&self) -> Result<(), Fault> {
        match (self.unasked().first(), &self.strays) {
            (Some(key), None) => self.fault(format!("unknown key \"{key}\"")),
            (_, Some(strays)) => {
                strays
                    .borrow_mut()
                    .extend(self.unasked().into_iter().map(|key| (key.to_owned(), self.map[key].clone())));
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }
}

pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

#[test]
fn a_key_that_nobody_asked_for_is_named() {
    let value = serde_json::json!({"a": "1", "b": {"c": null, "d": 2}});
    let object = Object::new("x", &value).expect("an object");
    assert_eq!(object.text("a").as_deref(), Ok("1"));
    assert_eq!(object.finish(), Err("x: unknown key \"b\"".to_owned()));
    let inner = object.object("b").expect("an object").expect("given");
    assert_eq!((inner.opt("c"), inner.text("d")), (Ok(None), Ok("2".to_owned())));
    assert_eq!((object.finish(), inner.finish()), (Ok(()), Ok(())));
    assert_eq!(inner.text("e"), Err("x.b: no e".to_owned()));
}

#[test]
fn a_key_within_what_is_to_be_refused_is_kept() {
    let value = serde_json::json!({"a": {"b": 2, "c": 3}});
    let object = Object::new("x", &value).expect("an object").refusable();
    let inner = object.object("a").expect("an object").expect("given");
    assert_eq!((inner.text("b"), inner.finish()), (Ok("2".to_owned()), Ok(())));
    assert_eq!(serde_json::Value::from(object.take_strays()), serde_json::json!({"c": 3}));
    assert!(object.take_strays().is_empty());
}
