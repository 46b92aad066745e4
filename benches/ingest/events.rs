//! Usage events by their places: the same place, the same event; one in a hundred repeats an earlier one.

use serde_json::json;

/// Every so manieth event is a repeat of an earlier one.
const REPEATED: u64 = 100;

/// The event at a place: two hundred customers, eight deployments, six products, over one day.
pub fn event(place: u64) -> String {
    let place = if place % REPEATED == REPEATED - 1 { place - REPEATED / 2 } else { place };
    let mixed = mix(place);
    let id = format!("{:016x}{:016x}", mixed, mix(mixed));
    let (seconds, millis) = (place * 86 / 1_000, place * 86 % 1_000);
    let time = format!(
        "2026-05-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        4 + seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let deployment = ["us-east", "us-west", "eu-west", "eu-north", "ap-south", "ap-east", "sa-east", "us-central"]
        [usize::try_from(mixed % 8).unwrap_or_default()];
    let product = mixed / 8 % 6;
    let customer = mixed / 64 % 200;
    let (input, output) = (mixed / 16_384 % 20_000 + 200, mixed / 1_048_576 % 4_000);
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("urn:usage:cloud.example:accounts/8841-2207/regions/{deployment}/gateway-2"),
        "type": "apportion.usage.v1",
        "time": time,
        "datacontenttype": "application/json",
        "dataschema": "https://schemas.cloud.example/usage/2026-03/record.json",
        "data": {
            "deployment": format!("accounts/8841-2207/regions/{deployment}/shared-1"),
            "product": format!("model-{product}-2026-03-18"),
            "customer": format!("org-{customer:08}"),
            "service_tier": "default",
            "outcome": "ok",
            "quantities": {
                "input_tokens": input,
                "cached_input_tokens": input / 3,
                "output_tokens": output,
                "reasoning_tokens": output / 4,
                "requests": 1,
            },
        },
    })
    .to_string()
}

/// How many of so many events are repeats.
pub fn repeats(events: u64) -> u64 {
    events / REPEATED
}

/// A well-mixed number of a number (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
