//! A record of each format that states usage: what a fuzzer begins with.

use crate::protobuf::bytes;
use apportion::sources::Format;

/// A message of a format, in its own packing but for what is packed as a whole.
pub fn record(format: Format) -> Vec<u8> {
    let text = match format {
        Format::CloudEvents => {
            r#"{"specversion":"1.0","id":"e-1","source":"s","type":"apportion.usage.v1","time":"2026-05-01T00:00:00Z","datacontenttype":"application/json","data":{"deployment":"d","product":"p","customer":"c","service_tier":"batch","attributes":{"country":"CH"},"quantities":{"input_tokens":"120","output_tokens":7.5,"requests":1}}}"#
        }
        Format::BedrockInvocation => INVOCATION,
        Format::BedrockCloudWatch => return delivery(),
        Format::BedrockConverse => {
            r#"{"output":{"message":{"content":[{"text":"x"}]}},"ResponseMetadata":{"RequestId":"r-1"},"usage":{"inputTokens":3,"outputTokens":13,"totalTokens":53,"cacheReadInputTokens":7,"cacheWriteInputTokens":30,"cacheDetails":[{"ttl":"5m","inputTokens":10},{"ttl":"1h","inputTokens":20}]}}"#
        }
        Format::OpenAiChat => {
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"m","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":0}},"service_tier":"default"}"#
        }
        Format::OpenAiResponses => {
            r#"{"id":"resp_1","object":"response","status":"completed","created_at":1741476542,"model":"m","output":[],"usage":{"input_tokens":8438,"input_tokens_details":{"cached_tokens":8,"cache_write_tokens":0},"output_tokens":398,"output_tokens_details":{"reasoning_tokens":9},"total_tokens":8836},"service_tier":"flex"}"#
        }
        Format::AnthropicMessages => {
            r#"{"id":"msg_1","type":"message","model":"m","content":[],"usage":{"input_tokens":2095,"cache_creation_input_tokens":30,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":503,"service_tier":"standard"}}"#
        }
        Format::AzureGateway => {
            r#"{"records":[{"TimeGenerated":"2026-05-01T12:00:00.1234567Z","CorrelationId":"c-1","SequenceNumber":0,"Type":"ApiManagementGatewayLlmLog","DeploymentName":"d","ModelName":"m","PromptTokens":11,"CompletionTokens":9,"TotalTokens":20,"ApimSubscriptionId":"tenant-7"},{"TimeGenerated":"2026-05-01T12:00:00Z","CorrelationId":"c-1","SequenceNumber":1,"DeploymentName":"","PromptTokens":0}]}"#
        }
        Format::OpenAiUsage => {
            r#"{"object":"page","data":[{"object":"bucket","start_time":1730419200,"end_time":1730505600,"results":[{"object":"organization.usage.completions.result","input_tokens":1000,"input_cached_tokens":400,"output_tokens":500,"num_model_requests":5,"project_id":"a","model":"m"},{"object":"organization.usage.completions.result","input_tokens":1,"output_tokens":2,"num_model_requests":1,"project_id":"b","model":"m"}]}],"has_more":false,"next_page":null}"#
        }
        Format::Vertex => {
            r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":50,"candidatesTokenCount":10,"toolUsePromptTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":118,"promptTokensDetails":[{"modality":"TEXT","tokenCount":60},{"modality":"AUDIO","tokenCount":40}],"cacheTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":30}],"trafficType":"ON_DEMAND"},"modelVersion":"m","createTime":"2026-05-01T12:00:00.5Z","responseId":"v-1"}"#
        }
        Format::Oci => {
            r#"{"data":{"model-id":"m","chat-response":{"api-format":"GENERIC","usage":{"completion-tokens":18,"prompt-tokens":38,"total-tokens":56}}}}"#
        }
        Format::OtlpJson => {
            r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","startTimeUnixNano":"1544712660300000000","attributes":[{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"m"}},{"key":"gen_ai.usage.input_tokens","value":{"intValue":"52"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":47}}]}]}]}]}"#
        }
        Format::OtlpProtobuf => return spans(),
        Format::OtelFlat => {
            r#"{"trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174","start_time":1544712660300000000,"start_time_iso":"2026-04-20T11:45:09+00:00","is_error":false,"model":"m","input_tokens":52,"output_tokens":47,"attributes":{"gen_ai.operation.name":"chat"}}"#
        }
        Format::LiteLlm => {
            r#"{"id":"c","litellm_call_id":"call-1","status":"success","custom_llm_provider":"anthropic","model":"m","startTime":1795229774.263424,"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_hit":null,"end_user":"e","metadata":{"usage_object":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":50}}}"#
        }
        Format::OpenMeter => {
            r#"{"specversion":"1.0","type":"litellm_tokens","id":"call-1","time":"2026-05-01T12:00:00+00:00","subject":"tenant-7","source":"litellm-proxy","data":{"model":"m","cost":0.00065,"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}"#
        }
        Format::AgentRuntime => {
            r#"{"resource_arn":"arn:aws:bedrock-agentcore:us-west-2:1:runtime/A","event_timestamp":1762768235743,"resource":{"service.name":"AgentCore.Runtime"},"attributes":{"time_elapsed_seconds":0.28,"agent.name":"A","region":"us-east-1","session.id":"session-12345"},"metrics":{"agent.runtime.memory.gb_hours.used":0.1,"agent.runtime.vcpu.hours.used":0.1}}"#
        }
    };
    text.as_bytes().to_vec()
}

const INVOCATION: &str = r#"{"schemaType":"ModelInvocationLog","schemaVersion":"1.0","timestamp":"2025-04-09T23:00:17Z","region":"us-east-1","requestId":"915a6a04","operation":"Converse","modelId":"m","input":{"inputContentType":"application/json","inputTokenCount":35},"output":{"outputBodyJson":{"usage":{"inputTokens":35,"outputTokens":446,"totalTokens":481}},"outputTokenCount":446}}"#;

/// What CloudWatch delivers, before it is packed.
fn delivery() -> Vec<u8> {
    let message = serde_json::json!(INVOCATION);
    format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[{{"id":"1","timestamp":1,"message":{message}}}]}}"#
    )
    .into_bytes()
}

/// A request of OTLP with one span.
fn spans() -> Vec<u8> {
    let pair = |key: &str, value: Vec<u8>| bytes(9, &[bytes(1, key.as_bytes()), bytes(2, &value)].concat());
    let text = |key: &str, value: &str| pair(key, bytes(1, value.as_bytes()));
    let number = |key: &str, value: u8| pair(key, vec![3 << 3, value]);
    let span = [
        bytes(1, &[0x5b; 16]),
        bytes(2, &[0xee; 8]),
        [vec![7 << 3 | 1], 1_544_712_660_300_000_999_u64.to_le_bytes().to_vec()].concat(),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "m"),
        number("gen_ai.usage.output_tokens", 47),
        number("gen_ai.usage.input_tokens", 52),
        bytes(15, &[]),
    ]
    .concat();
    bytes(1, &[bytes(1, &[]), bytes(2, &bytes(2, &span))].concat())
}
