//! Mappings: from the names that sources report to those of ours, by rules that configuration states.
//!
//! ARNs, inference profiles, regional ids and tags are names like others here. A name that no rule knows stays as
//! it was reported, and whether it is known is asked of the register, so it stays visible until it is mapped.

use crate::domain::usage::UsageContent;
use serde::Deserialize;

/// Names under which usage stands; those that are not given say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    pub source: Option<String>,
    pub deployment: Option<String>,
    pub product: Option<String>,
    pub customer: Option<String>,
    pub service_tier: Option<String>,
}

/// One rule: usage that is reported under these names has those.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Patterns of what is reported, in which `*` stands for any text; all that are given must match.
    pub when: Names,
    pub then: Names,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {number}: {problem}")]
pub struct WrongRule {
    /// Counted from 1.
    pub number: usize,
    pub problem: RuleProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    #[error("names nothing under `when`; a rule for all usage says `source = \"*\"`")]
    NoCondition,
    #[error("names nothing under `then`; say what the usage is to stand under")]
    NoName,
    #[error("`then` names a source; that is part of an event's identity and never mapped")]
    Source,
    #[error("`then` holds a name that is empty or has a `*`; write the name of ours")]
    NotAName,
}

/// Rules in their order: for each name the first that matches and states it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(Vec<Rule>);

/// Names of ours, or as reported where no rule states any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    pub deployment: &'a str,
    pub product: &'a str,
    pub customer: &'a str,
    pub service_tier: &'a str,
}

impl Mapping {
    /// # Errors
    /// The first rule that says nothing, or something that cannot be.
    pub fn new(rules: Vec<Rule>) -> Result<Self, WrongRule> {
        for (place, Rule { when, then }) in rules.iter().enumerate() {
            let fail = |problem| Err(WrongRule { number: place.saturating_add(1), problem });
            let names = [&then.deployment, &then.product, &then.customer, &then.service_tier];
            if *when == Names::default() {
                return fail(RuleProblem::NoCondition);
            }
            if then.source.is_some() {
                return fail(RuleProblem::Source);
            }
            if *then == Names::default() {
                return fail(RuleProblem::NoName);
            }
            if names.into_iter().flatten().any(|name| name.is_empty() || name.contains('*')) {
                return fail(RuleProblem::NotAName);
            }
        }
        Ok(Self(rules))
    }

    /// What usage of a source stands under.
    pub fn resolve<'a>(&'a self, source: &str, reported: &'a UsageContent) -> Resolved<'a> {
        let matching: Vec<&Names> =
            self.0.iter().filter(|rule| matches(&rule.when, source, reported)).map(|rule| &rule.then).collect();
        let first = |name: fn(&Names) -> Option<&str>, reported: &'a str| {
            matching.iter().find_map(|names| name(names)).unwrap_or(reported)
        };
        Resolved {
            deployment: first(|names| names.deployment.as_deref(), &reported.deployment),
            product: first(|names| names.product.as_deref(), &reported.product),
            customer: first(|names| names.customer.as_deref(), &reported.customer),
            service_tier: first(|names| names.service_tier.as_deref(), &reported.service_tier),
        }
    }
}

fn matches(when: &Names, source: &str, reported: &UsageContent) -> bool {
    let pairs = [
        (&when.source, source),
        (&when.deployment, &*reported.deployment),
        (&when.product, &*reported.product),
        (&when.customer, &*reported.customer),
        (&when.service_tier, &*reported.service_tier),
    ];
    pairs.into_iter().all(|(pattern, text)| pattern.as_deref().is_none_or(|pattern| is_like(text, pattern)))
}

/// Whether a text is of a pattern in which `*` stands for any text. Each part between the stars is looked for once,
/// so no pattern is slow.
fn is_like(text: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        // An empty part, as between two stars, is found at once.
        let Some((_, after)) = text.split_once(part) else { return false };
        text = after;
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage(deployment: &str, product: &str) -> UsageContent {
        UsageContent {
            occurred_at: chrono::DateTime::UNIX_EPOCH,
            ended_at: None,
            deployment: deployment.into(),
            product: product.into(),
            customer: "654654377904".into(),
            service_tier: "default".into(),
            outcome: None,
            attributes: Default::default(),
            quantities: Default::default(),
        }
    }

    fn mapping(text: &str) -> Result<Mapping, WrongRule> {
        #[derive(Deserialize)]
        struct Rules {
            rule: Vec<Rule>,
        }
        Mapping::new(toml::from_str::<Rules>(text).expect("rules").rule)
    }

    const RULES: &str = r#"
        [[rule]]
        when.product = "arn:aws:bedrock:*:*:application-inference-profile/abc123"
        then.product = "gpt-5.5"
        then.customer = "tenant-7"

        [[rule]]
        when.source = "aws"
        when.product = "*us.openai.gpt-5.5*"
        then.product = "gpt-5.5"
        then.deployment = "bedrock-us"

        [[rule]]
        when.deployment = "us-*"
        then.deployment = "bedrock-other"
    "#;

    #[test]
    fn profiles_and_regional_ids_become_names_of_ours() {
        let mapping = mapping(RULES).expect("rules");
        let resolve = |source: &str, deployment: &str, product: &str| {
            let reported = usage(deployment, product);
            let resolved = mapping.resolve(source, &reported);
            [resolved.deployment, resolved.product, resolved.customer].map(str::to_owned)
        };
        let profile = "arn:aws:bedrock:us-east-1:654654377904:application-inference-profile/abc123";
        assert_eq!(resolve("aws", "us-east-1", profile), ["bedrock-other", "gpt-5.5", "tenant-7"]);
        let regional = "arn:aws:bedrock:us-east-1:654654377904:inference-profile/us.openai.gpt-5.5-v1:0";
        assert_eq!(resolve("aws", "us-east-1", regional), ["bedrock-us", "gpt-5.5", "654654377904"]);
        // Of another source, and what no rule knows, stays as it was reported.
        assert_eq!(resolve("other", "eu-west-1", regional), ["eu-west-1", regional, "654654377904"]);
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        let problem = |text: &str| mapping(text).map_err(|wrong| (wrong.number, wrong.problem));
        let rules = |second: &str| format!("[[rule]]\nwhen.product = \"a\"\nthen.product = \"b\"\n[[rule]]\n{second}");
        for (second, expected) in [
            ("when = {}\nthen.product = \"b\"", RuleProblem::NoCondition),
            ("when.product = \"a\"\nthen = {}", RuleProblem::NoName),
            ("when.product = \"a\"\nthen.source = \"b\"", RuleProblem::Source),
            ("when.product = \"a\"\nthen.product = \"b*\"", RuleProblem::NotAName),
        ] {
            assert_eq!(problem(&rules(second)), Err((2, expected)), "{second}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "*", true),
            ("", "*", true),
            ("abc", "a*c", true),
            ("ac", "a*c", true),
            ("abcd", "a*c", false),
            ("a", "a*a", false),
            ("abab", "*ab", true),
            ("xabyabz", "*ab*ab*", true),
            ("xabz", "*ab*ab*", false),
            ("abc", "**c", true),
            ("abc", "b*", false),
        ] {
            assert_eq!(is_like(text, pattern), expected, "{text} {pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_like_itself_with_any_part_starred(before in "[ab]{0,4}", part in "[ab]{0,4}", after in "[ab]{0,4}") {
            let text = format!("{before}{part}{after}");
            let starred = format!("{before}*{after}");
            prop_assert!(is_like(&text, &text) && is_like(&text, &starred));
        }
    }
}
