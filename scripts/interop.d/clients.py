"""Feeds the service by clients that others made, unchanged, and compares what stands then with what they sent.

    clients.py PROGRAM      PROGRAM is apportion's; DATABASE_URL and KAFKA_BROKERS say where it keeps and reads usage

Each client sends usage of a deployment of its own: some of it twice, and some that is not valid. What became of it is
read back over the API. Prints a line for each client; the exit status is 1 where anything differs.
"""

import asyncio
import contextlib
import datetime
import importlib.metadata
import json
import logging
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections import Counter

HERE = pathlib.Path(__file__).parent
MODEL = "gpt-5.5"
TOPIC = "interop.usage"
# How many calls a client reports in each way that it has.
CALLS = 50
# How long what was sent may take until it is stored, in seconds.
PATIENCE = 60
# How long it is looked, after the last client, whether more is stored than was sent, in seconds.
LATE = 3


class Sent:
    """What a client sent, by what has to become of it."""

    def __init__(self):
        self.outcomes, self.quantities, self.reasons = Counter(), Counter(), Counter()

    def call(self, number):
        """One more call that has to be stored: its counts of tokens."""
        prompt, completion = 1000 + number, 10 + number
        self.outcomes["stored"] += 1
        self.quantities += Counter(input_tokens=prompt, output_tokens=completion, requests=1)
        return prompt, completion

    def other(self, outcome, count=1):
        self.outcomes[outcome] += count

    def rejected(self, reason):
        self.outcomes["rejected"] += 1
        self.reasons[reason] += 1


class Service:
    """The running service, as its callers see it."""

    def __init__(self, program, address):
        self.url = f"http://{address}"
        self.key = self.new_key(program, "ingest")
        self.reader = self.new_key(program, "read")

    @staticmethod
    def new_key(program, scope):
        words = [program, "key", "create", "--format", "json", "--holder", scope, "--scope", scope, "--by", "interop"]
        return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)["key"]

    def get(self, path):
        headers = {"Authorization": f"Bearer {self.reader}"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as answer:
            return json.load(answer)

    def outcomes(self):
        items = self.get("/api/v1/usage/outcomes")["items"]
        return Counter({item["outcome"]: item["messages"] for item in items if item["messages"]})

    def reasons(self):
        return Counter(item["reason"] for item in self.get("/api/v1/usage/rejections?limit=1000")["items"])

    def quantities(self, deployment):
        today = datetime.datetime.now(datetime.timezone.utc).date()
        days = [today + datetime.timedelta(days=days) for days in (-1, 2)]
        sums = self.get(f"/api/v1/usage?from={days[0]}&to={days[1]}&deployment={deployment}&limit=1000")["items"]
        return Counter({item["meter"]: int(item["quantity"]) for item in sums})

    def wait_for(self, messages):
        """Waits until so many messages were recorded in all. Fewer in the end, or more, are seen by who compares: what
        comes later still is counted to the next client, or seen after the last."""
        deadline = time.monotonic() + PATIENCE
        while self.outcomes().total() < messages and time.monotonic() < deadline:
            time.sleep(0.1)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def openmeter_sdk(service, sent):
    """One event, batches, and the asynchronous client; a repeat is known, also of an event that says no time."""
    from openmeter import Client, aio
    from openmeter.models import Event

    def event(number, **data):
        data = {"provider": "openmeter-sdk", "model": MODEL, **data}
        return Event(id=f"om-{number}", source="interop-openmeter", specversion="1.0", type="prompt",
                     subject="customer-1", time=now(), data=data)

    def call(number):
        prompt, completion = sent.call(number)
        return event(number, prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)

    one, many, as_json, later = call(0), *([call(way * CALLS + each) for each in range(CALLS)] for way in (1, 2, 3))
    with Client(endpoint=service.url, token=service.key) as client:
        client.events.ingest_event(one)
        client.events.ingest_events([one, *many])
        client.events.ingest_events_json(as_json)
        client.events.ingest_events_json(one)
        sent.other("duplicate", 2)
        # One count of several of a call: it counts no request.
        client.events.ingest_event(event("tokens", tokens=100, type="input"))
        sent.outcomes["stored"] += 1
        sent.quantities["input_tokens"] += 100
        # Without a time it occurred when it first came.
        timeless = call(4 * CALLS)
        del timeless["time"]
        client.events.ingest_event(timeless)
        client.events.ingest_events([timeless, one])
        sent.other("duplicate", 2)

    async def send():
        async with aio.Client(endpoint=service.url, token=service.key) as client:
            await client.events.ingest_events(later)

    asyncio.run(send())


def litellm_callback(service, sent):
    """Calls with LiteLLM's own mock, awaited or not, streamed or not. The callback sends the time when it is called: so
    what it sends again for an answer is a conflict, of which the first stands. Pictures have no counts of tokens."""
    os.environ.update(OPENMETER_API_ENDPOINT=service.url, OPENMETER_API_KEY=service.key,
                      LITELLM_LOCAL_MODEL_COST_MAP="True")
    import litellm

    # It logs each event that is refused, as one is.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    litellm.callbacks = ["openmeter"]
    before = service.outcomes().total()
    asked = {"model": f"openai/{MODEL}", "messages": [{"role": "user", "content": "hello"}], "user": "customer-1"}

    def answer(number):
        prompt, completion = sent.call(number)
        usage = litellm.Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
        return litellm.ModelResponse(id=f"chatcmpl-{number}", model=MODEL, usage=usage)

    async def send():
        answers = [answer(number) for number in range(CALLS)]
        await asyncio.gather(*(litellm.acompletion(**asked, mock_response=each) for each in answers))
        await asyncio.to_thread(service.wait_for, before + CALLS)
        await litellm.acompletion(**asked, mock_response=answers[0])
        sent.other("conflict")
        stream = await litellm.acompletion(**asked, mock_response="some words", stream=True,
                                           stream_options={"include_usage": True})
        usage = [chunk.usage async for chunk in stream if getattr(chunk, "usage", None)][-1]
        sent.outcomes["stored"] += 1
        sent.quantities += Counter(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, requests=1)
        await litellm.aimage_generation(model="openai/dall-e-3", prompt="a cat", mock_response="http://x", user="c")
        sent.rejected("missing_field")
        await asyncio.to_thread(service.wait_for, before + sent.outcomes.total())

    asyncio.run(send())
    litellm.completion(**asked, mock_response=answer(CALLS))


def otel_exporter(service, sent):
    """Spans in each packing that the exporter has; spans of no model's call count nothing, and a wrong one is named."""
    import requests
    from google.rpc.status_pb2 import Status
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    url, bearer = f"{service.url}/v1/traces", {"Authorization": f"Bearer {service.key}"}

    def span(tracer, prompt, completion):
        with tracer.start_as_current_span(f"chat {MODEL}") as current:
            current.set_attributes({
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "otel-exporter", "gen_ai.request.model": MODEL,
                "gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion, "tenant": "customer-1",
                "gen_ai.input.messages": "what a customer asked",
            })

    def post(headers, body):
        return requests.post(url, headers={**headers, "Content-Type": "application/x-protobuf"}, data=body)

    def provider_of(*processors):
        provider = TracerProvider()
        for processor in processors:
            provider.add_span_processor(processor)
        return provider, provider.get_tracer("interop")

    spans, wrong = [], InMemorySpanExporter()
    for way, compression in enumerate(Compression):
        memory = InMemorySpanExporter()
        exporter = OTLPSpanExporter(endpoint=url, headers=bearer, compression=compression)
        provider, tracer = provider_of(SimpleSpanProcessor(memory), BatchSpanProcessor(exporter))
        for number in range(CALLS):
            span(tracer, *sent.call(way * CALLS + number))
        with tracer.start_as_current_span("GET /"):
            sent.other("no_usage")
        provider.shutdown()
        spans += memory.get_finished_spans()
    again = OTLPSpanExporter(endpoint=url, headers=bearer)
    assert again.export(spans) == SpanExportResult.SUCCESS
    sent.other("duplicate", sent.outcomes["stored"])
    sent.other("no_usage", len(Compression))
    # The exporter itself does not tell what it was answered.
    span(provider_of(SimpleSpanProcessor(wrong))[1], -1, 1)
    answer = post(bearer, encode_spans(wrong.get_finished_spans()).SerializeToString())
    told = ExportTraceServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_spans == 1 and "negative_quantity" in told.partial_success.error_message, told
    sent.rejected("negative_quantity")
    refused = post({}, b"")
    assert refused.status_code == 401 and "No key" in Status.FromString(refused.content).message, refused.content


def cloudevent(deployment, number, counts):
    """One of ours: its attributes, and its data."""
    quantities = dict(zip(("input_tokens", "output_tokens"), counts), requests=1)
    attributes = {"specversion": "1.0", "type": "apportion.usage.v1", "source": f"interop-{deployment}",
                  "id": f"{deployment}-{number}", "time": now().isoformat(), "datacontenttype": "application/json"}
    data = {"deployment": deployment, "product": MODEL, "customer": "customer-1", "quantities": quantities}
    return attributes, data


STRUCTURED = "application/cloudevents+json"


def confluent_kafka(service, sent):
    """Both modes of a CloudEvent, in each packing, and transactions: what was given up counts nothing."""
    from confluent_kafka import Producer

    def structured(number, counts):
        attributes, data = cloudevent("confluent-kafka", number, counts)
        return {"value": json.dumps({**attributes, "data": data}), "headers": {"content-type": STRUCTURED}}

    def binary(number, counts):
        attributes, data = cloudevent("confluent-kafka", number, counts)
        headers = {f"ce_{name}": text for name, text in attributes.items() if name != "datacontenttype"}
        return {"value": json.dumps(data), "headers": {**headers, "content-type": "application/json"}}

    def producer(**settings):
        return Producer({"bootstrap.servers": os.environ["KAFKA_BROKERS"], "log_level": 3, **settings})

    for way, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
        client = producer(**{"compression.type": codec, "enable.idempotence": True})
        for number in range(way * CALLS, (way + 1) * CALLS):
            last = (structured if number % 2 else binary)(number, sent.call(number))
            client.produce(TOPIC, key=str(number), **last)
        client.produce(TOPIC, **last)
        sent.other("duplicate")
        client.produce(TOPIC, **structured("wrong", (-1, 1)))
        sent.rejected("negative_quantity")
        assert client.flush(PATIENCE) == 0
    client.produce(TOPIC, key="nothing", value=None)
    sent.rejected("unsupported_content_type")
    client.flush(PATIENCE)

    client = producer(**{"transactional.id": "interop"})
    client.init_transactions(PATIENCE)
    for number, commits in ((1000, False), (1001, True)):
        client.begin_transaction()
        client.produce(TOPIC, **structured(number, sent.call(number) if commits else (1, 1)))
        client.flush(PATIENCE)
        client.commit_transaction(PATIENCE) if commits else client.abort_transaction(PATIENCE)


def kcat(service, sent):
    """Lines of a shell: a message each, packed or not."""
    def line(number, counts):
        attributes, data = cloudevent("kcat", number, counts)
        return json.dumps({**attributes, "data": data})

    for way, codec in enumerate(("none", "gzip", "snappy", "lz4")):
        lines = [line(number, sent.call(number)) for number in range(way * CALLS, (way + 1) * CALLS)]
        lines += [lines[0], line("wrong", (-1, 1))]
        sent.other("duplicate")
        sent.rejected("negative_quantity")
        words = ["kcat", "-P", "-b", os.environ["KAFKA_BROKERS"], "-t", TOPIC, "-z", codec]
        subprocess.run([*words, "-H", f"content-type={STRUCTURED}"], input="\n".join(lines), text=True, check=True)


def kcat_version():
    told = subprocess.run(["kcat", "-V"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"Version (\S+)", told)[1]


CLIENTS = [
    (openmeter_sdk, lambda: importlib.metadata.version("openmeter")),
    (litellm_callback, lambda: importlib.metadata.version("litellm")),
    (otel_exporter, lambda: importlib.metadata.version("opentelemetry-exporter-otlp-proto-http")),
    (confluent_kafka, lambda: importlib.metadata.version("confluent-kafka")),
    (kcat, kcat_version),
]

ROW = "{:<17} {:<10} {:>6} {:>6} {:>10} {:>9} {:>8} {:>8}  {}"


def try_client(service, client, version):
    """Lets a client send, and says whether what stands then is what it sent."""
    name, sent = client.__name__.replace("_", "-"), Sent()
    outcomes, reasons = service.outcomes(), service.reasons()
    differences = []
    try:
        client(service, sent)
    except Exception as error:  # The next one is tried all the same.
        traceback.print_exc()
        differences.append(f"{name}: {error!r}")
    service.wait_for(outcomes.total() + sent.outcomes.total())
    found = service.outcomes() - outcomes
    quantities = service.quantities(name)
    differences += [
        f"{name}: {what}: sent {dict(expected)}, found {dict(actual)}"
        for what, expected, actual in (("outcomes", sent.outcomes, found), ("totals", sent.quantities, quantities),
                                       ("rejected for", sent.reasons, service.reasons() - reasons))
        if expected != actual
    ]
    counts = [found[outcome] for outcome in ("stored", "duplicate", "conflict", "no_usage", "rejected")]
    print(ROW.format(name, version(), sent.outcomes.total(), *counts, "no" if differences else "yes"), flush=True)
    return differences


@contextlib.contextmanager
def serving(program):
    """The service on a free port, until it is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [program, "serve", "--roles", "ingest,http", "--config", str(HERE / "config.toml")]
    process = subprocess.Popen([*words, "--set", f"http.listen={address}"])
    try:
        service, deadline = Service(program, address), time.monotonic() + PATIENCE
        while True:
            try:
                service.get("/readyz")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        process.wait()


def make_topic():
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": os.environ["KAFKA_BROKERS"]})
    admin.create_topics([NewTopic(TOPIC, num_partitions=2)])[TOPIC].result(PATIENCE)


def main():
    make_topic()
    with serving(sys.argv[1]) as service:
        print(ROW.format("client", "version", "sent", "rows", "duplicates", "conflicts", "no usage", "rejected", "equal"))
        differences = [line for client, version in CLIENTS for line in try_client(service, client, version)]
        before = service.outcomes()
        time.sleep(LATE)
        if late := service.outcomes() - before:
            differences.append(f"after the last client: outcomes: sent {{}}, found {dict(late)}")
    print(*differences, sep="\n", end="\n" if differences else "")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
