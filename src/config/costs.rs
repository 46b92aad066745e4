//! The settings of cost reports: which cloud each provider is that they name.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Costs {
    /// The cloud of each provider: its name in cost reports, and what the register calls the cloud.
    #[serde(rename = "providers", deserialize_with = "each_once")]
    pub cloud_by_provider: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    cloud: String,
}

fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut clouds = BTreeMap::new();
    for Provider { name, cloud } in Vec::<Provider>::deserialize(deserializer)? {
        if clouds.insert(name.clone(), cloud).is_some() {
            return Err(D::Error::custom(format!("provider \"{name}\" must stand there once")));
        }
    }
    Ok(clouds)
}
