//! Whatever bytes come: no decoder panics, and nothing of a message comes out.

use crate::support::{beside, costs};
use apportion::sources::{CostColumns, Decoded, Format, MAX_MESSAGE_BYTES, RejectionReason, decode};
use csv::StringRecord;
use proptest::prelude::*;

/// Records that all decoders know something of, to be cut and changed.
const SEEDS: [&str; 9] = [
    r#"{"schemaType":"ModelInvocationLog","timestamp":"2025-04-09T23:00:17Z","region":"r","requestId":"1","modelId":"m","input":{"inputTokenCount":35},"output":{"outputTokenCount":4,"outputBodyJson":{"usage":{"inputTokens":35,"cacheDetails":[{"ttl":"5m","inputTokens":1}]}}}}"#,
    r#"{"id":"c","object":"chat.completion","created":1741569952,"model":"m","usage":{"prompt_tokens":9,"completion_tokens":1e2,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":1}}}"#,
    r#"{"type":"message","id":"m","model":"c","usage":{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":1}}}"#,
    r#"{"object":"bucket","start_time":1730419200,"end_time":1730505600,"results":[{"object":"organization.usage.completions.result","input_tokens":1000,"num_model_requests":5}]}"#,
    r#"{"usageMetadata":{"promptTokenCount":27,"promptTokensDetails":[{"modality":"TEXT","tokenCount":27}]},"chatResponse":{"usage":{"prompt-tokens":3}}}"#,
    r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"a","spanId":"b","startTimeUnixNano":"1544712660300000000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1"}}]}]}]}]}"#,
    r#"{"litellm_call_id":"c","status":"success","model":"m","startTime":1795229774.263424,"prompt_tokens":10,"metadata":{"usage_object":{"prompt_tokens":10}},"span_id":"s","is_error":false,"start_time_iso":"2026-04-20T11:45:09+00:00","input_tokens":1}"#,
    r#"{"id":"i","source":"s","time":1777636800,"data":{"tokens":1,"type":"input"},"event_timestamp":1762768235743,"resource":{"service.name":"r"},"attributes":{"session.id":"s","time_elapsed_seconds":0.28},"metrics":{"agent.runtime.memory.gb_hours.used":0.1,"agent.runtime.vcpu.hours.used":0.1}}"#,
    r#"{"messageType":"DATA_MESSAGE","logEvents":[{"message":"{}"}],"records":[{"CorrelationId":"c","PromptTokens":1}]}"#,
];

/// As deep, as long and as often as a message may be: no decoder runs out of stack, or looks at a byte too often.
#[test]
fn no_shape_is_too_deep_or_too_long() {
    let half = MAX_MESSAGE_BYTES / 2 - 64;
    let shapes = [
        format!("{}{}", "[".repeat(half), "]".repeat(half)),
        format!("{}1{}", r#"{"usage":"#.repeat(half / 10), "}".repeat(half / 10)),
        format!(r#"{{"note":{}{}}}"#, "[".repeat(half), "]".repeat(half)),
        format!(r#"{{"usage":{}{}}}"#, "[".repeat(half), "]".repeat(half)),
        format!(r#"{{"usage":{{"prompt_tokens":{}}}}}"#, "1".repeat(half)),
        format!(r#"{{"x":1{}}}"#, r#","usage":{}"#.repeat(half / 11)),
        format!(r#"{{"results":[{{}}{}]}}"#, ",{}".repeat(half / 3)),
        format!(r#"{{"data":"{}"}}"#, "\\\"".repeat(half / 3)),
        format!("a{}\n{}", ",a".repeat(half / 4), "1,".repeat(half / 4)),
    ];
    for shape in shapes {
        assert!(shape.len() <= MAX_MESSAGE_BYTES);
        for format in Format::ALL {
            let decoded = decode(*format, shape.as_bytes(), &beside());
            assert!(decoded.iter().all(|it| !matches!(it, Decoded::Usage(_))), "{format}");
        }
        assert!(costs(shape.as_bytes()).iter().all(Result::is_err));
    }
    let too_long = " ".repeat(MAX_MESSAGE_BYTES + 1);
    let decoded = decode(Format::OpenAiChat, too_long.as_bytes(), &beside());
    assert!(matches!(decoded.as_slice(), [Decoded::Rejected(it)] if it.reason == RejectionReason::MessageTooLarge));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for format in Format::ALL {
            prop_assert!(!decode(*format, &bytes, &beside()).is_empty());
        }
        let _ = costs(&bytes);
    }

    #[test]
    fn no_cells_make_a_cost_row_panic(cells in proptest::collection::vec(".{0,40}", 14..17)) {
        let required = [
            "ProviderName", "InvoiceIssuerName", "BillingAccountId", "ServiceName", "ChargeCategory", "ChargePeriodStart",
            "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd", "BillingCurrency", "BilledCost", "EffectiveCost",
            "ContractedCost", "ListCost", "ResourceId",
        ];
        let columns = CostColumns::find(&StringRecord::from(required.to_vec())).expect("columns");
        prop_assert!(columns.cost(&StringRecord::from(cells)).is_err());
    }

    #[test]
    fn no_change_of_a_record_makes_a_decoder_panic(
        seed in 0..SEEDS.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for format in Format::ALL {
            let _ = decode(*format, &bytes, &beside());
        }
    }

    #[test]
    fn a_number_of_any_size_is_a_count_or_refused(number in "[-+]?[0-9]{1,40}(\\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?") {
        for seed in SEEDS {
            let text = seed.replace(":1", &format!(":{number}")).replace(":35", &format!(":{number}"));
            for format in Format::ALL {
                let _ = decode(*format, text.as_bytes(), &beside());
            }
        }
    }

    /// A prompt in any place of any record, under any name, comes out nowhere: it is no name, as it is a sentence
    /// that is longer than any.
    #[test]
    fn no_prompt_comes_out(seed in 0..SEEDS.len(), place in any::<prop::sample::Index>()) {
        let prompt = format!("\"{}\"", "tell me a SECRET ".repeat(20));
        let seed = SEEDS[seed];
        let values: Vec<usize> = seed.match_indices(':').map(|(at, _)| at + 1).collect();
        let at = values[place.index(values.len())];
        let end = seed[at..].find([',', '}']).map_or(seed.len(), |end| at + end);
        let text = format!("{}{prompt}{}", &seed[..at], &seed[end..]);
        for format in Format::ALL {
            let decoded = format!("{:?}", decode(*format, text.as_bytes(), &beside()));
            prop_assert!(!decoded.contains("SECRET"), "{decoded}");
        }
    }
}
