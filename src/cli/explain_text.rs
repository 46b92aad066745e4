//! How `apportion explain` prints a tree for people: an amount a line, below it what it is made of.

use super::output::{exact, instant};
use apportion::domain::contract::Confidence;
use apportion::domain::explain::node::Node;

/// A tree as indented lines. Unrounded amounts show six fractional digits; the JSON has them all.
pub fn tree(node: &Node) -> String {
    let mut lines = Vec::new();
    write(node, "", "", &mut lines);
    lines.join("\n")
}

fn write(node: &Node, first: &str, indent: &str, lines: &mut Vec<String>) {
    let mut text = format!("{first}{} {}  {}", exact(&node.amount), node.unit, node.what);
    if let Some(at) = node.at {
        text = format!("{text}, {}", instant(at));
    }
    if let Some(factor) = &node.factor {
        // A price has more digits than an amount: all are shown.
        text = format!("{text}: x {factor}");
    }
    if let Some(cap) = &node.cap {
        let (limit, before, after) = (exact(&cap.limit), exact(&cap.before), exact(&cap.after));
        text = format!("{text}: of {limit}, {before} was used before, {after} after");
    }
    lines.push(text);
    let bar = if node.parts.is_empty() { "  " } else { "│ " };
    if let Some(clause) = &node.clause {
        lines.push(format!("{indent}{bar}Clause: {}", clause.heading));
        let words = clause.text.lines().filter(|words| !words.trim().is_empty());
        lines.extend(words.map(|words| format!("{indent}{bar}  {words}")));
    }
    for assumption in &node.rests_on {
        let confidence = match assumption.confidence {
            Confidence::Official => "official",
            Confidence::Reported => "reported",
            Confidence::Assumed => "assumed",
        };
        lines.push(format!("{indent}{bar}Rests on {}: {confidence} ({})", assumption.what, assumption.source));
    }
    for (place, part) in node.parts.iter().enumerate() {
        let is_last = place.saturating_add(1) == node.parts.len();
        let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        write(part, &format!("{indent}{branch}"), &format!("{indent}{below}"), lines);
    }
}
