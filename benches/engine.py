"""Asks the engine and DuckDB the same of ten million charges, in turn, and prints how fast each answers.

    engine.py ENGINE CHARGES    ENGINE is the command that runs benches/engine/; CHARGES a file, made where there is none

It stops where the answers differ by anything.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from decimal import Decimal

import duckdb

ROUNDS = int(os.environ.get("ROUNDS", 3))
MILLIONS = 10
CAP = 5_000_000

BY_CLOUD = "select date_trunc('month', occurred_at)::date, cloud, {} from {} group by all having {} order by all"
TOTAL = "(select *, sum(amount) over ({} rows unbounded preceding) as total from charge)"
FOUND_ROOM = f"sum(least(total * 0.2, {CAP}) - least((total - amount) * 0.2, {CAP}))"

# What is asked; the engine's word for it; DuckDB's query.
CAPPED = BY_CLOUD.format(FOUND_ROOM, TOTAL, "true")
QUESTIONS = [
    ("share under the cap: each charge in order, which DuckDB sorts", "capped", CAPPED.format("order by occurred_at, id")),
    ("the same: DuckDB trusts the order of its rows", None, CAPPED.format("")),
    ("the same: sums, opened where the cap cuts them", "summed", None),
    ("share without a cap", "uncapped", BY_CLOUD.format("sum(amount) * 0.2", "charge", "true")),
    (
        "sums by 15 minutes and cloud",
        None,
        "select count(*), sum(sum) from (select sum(amount) as sum from charge "
        "group by time_bucket(interval 15 minutes, occurred_at), cloud)",
    ),
    ("ten years of rollups of 1,000 customers", "rollups", None),
]


class Engine:
    def __init__(self, command):
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question):
        print(question, file=self.process.stdin, flush=True)
        told = json.loads(self.process.stdout.readline(), parse_float=Decimal)
        return float(told["seconds"]), told["answer"]


def ask_duckdb(database, query):
    begin = time.perf_counter()
    rows = database.execute(query).fetchall()
    return time.perf_counter() - begin, rows


def shares(rows):
    """What is not zero: the engine tells charges too of which the cap leaves nothing."""
    return {(str(month), cloud): Decimal(amount) for month, cloud, amount in rows if Decimal(amount)}


def load(charges):
    database = duckdb.connect()
    database.execute(
        f"create table charge as from read_csv('{charges}', columns = {{occurred_at: 'timestamp', id: 'varchar', "
        "cloud: 'varchar', amount: 'decimal(18, 9)'})"
    )
    return database


def main(command, charges):
    engine = Engine(command)
    if not os.path.exists(charges):
        engine.ask(charges + ".new")
        os.rename(charges + ".new", charges)
    database = load(charges)
    took = {}
    answers = {}
    for _ in range(ROUNDS):
        for name, ours, query in QUESTIONS:
            if ours:
                seconds, answer = engine.ask(ours)
                took.setdefault((name, "engine"), []).append(seconds)
                answers.setdefault(ours, answer)
            if query:
                seconds, rows = ask_duckdb(database, query)
                took.setdefault((name, "duckdb"), []).append(seconds)
                answers.setdefault(query, rows)
    check(answers)
    report(took)


def check(answers):
    capped = shares(answers["capped"])
    assert sum(capped.values()) == CAP, "the cap is reached"
    # What each of the three clouds owes is rounded by itself.
    assert abs(Decimal(answers["rollups"]) - CAP) <= Decimal("0.015"), "that of the rollups too"
    same = [answers["summed"]] + [answers[query] for name, _, query in QUESTIONS[:2]]
    assert all(shares(other) == capped for other in same), "the capped shares differ"
    assert shares(answers["uncapped"]) == shares(answers[QUESTIONS[3][2]]), "the shares without a cap differ"


def report(took):
    medians = {key: statistics.median(seconds) for key, seconds in took.items()}
    load = os.getloadavg()[0]
    print(f"{MILLIONS} million charges in memory, {os.cpu_count()} cores (load {load:.1f}), DuckDB {duckdb.__version__};")
    print(f"seconds and million charges a second, medians of {ROUNDS} rounds in turn; all answers are the same.\n")
    print(f"{'':64}{'engine':>16}{'DuckDB':>16}{'ratio':>8}")
    for name, *_ in QUESTIONS:
        both = [medians.get((name, who)) for who in ("engine", "duckdb")]
        rate = lambda seconds: f"{seconds:.2f} s" + ("" if "rollups" in name else f" {MILLIONS / seconds:6.1f}")
        cells = "".join(f"{rate(seconds) if seconds else '':>16}" for seconds in both)
        ratio = f"{both[1] / both[0]:>8.2f}" if all(both) else ""
        print(f"{name:64}{cells}{ratio}")
    one_by_one = medians[QUESTIONS[0][0], "engine"]
    summed, trusted = medians[QUESTIONS[2][0], "engine"], medians[QUESTIONS[1][0], "duckdb"]
    print(f"\nAgainst DuckDB on rows that it need not sort: each charge {trusted / one_by_one:.2f}, sums {trusted / summed:.2f}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
