"""What OpenTelemetry sees of rxdb's engines, and what the configuration refuses."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import rxdb as rx

PROGRAM = """
import asyncio
import rxdb as rx
import rxdb.sessions  # before the instrumentation, as in an application
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text

exporter, provider, reader = InMemorySpanExporter(), TracerProvider(), InMemoryMetricReader()
provider.add_span_processor(SimpleSpanProcessor(exporter))
# It declares SQLAlchemy before 2.1, and works with 2.1.
SQLAlchemyInstrumentor().instrument(
    tracer_provider=provider, meter_provider=MeterProvider([reader]), skip_dep_check=True
)

def used():
    (resource,) = reader.get_metrics_data().resource_metrics
    points = [p for s in resource.scope_metrics for m in s.metrics for p in m.data.data_points]
    return sum(p.value for p in points if p.attributes["state"] == "used")

async def work():
    async with rx.asession("sqlite:///seen.db") as session:
        await session.scalar(text("SELECT 40 + 2"))

with rx.session("sqlite:///seen.db") as session:
    session.scalar(text("SELECT 41 + 1"))
    print("used:", used())
print("used:", used())
asyncio.run(work())
for span in exporter.get_finished_spans():
    if statement := span.attributes.get("db.statement"):
        print(statement)
"""


def test_opentelemetry_sees_statements_and_the_pool() -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["used: 1", "used: 0", "SELECT 41 + 1", "SELECT 40 + 2"]


@pytest.mark.parametrize("given", ["0.5", -1, True])
def test_a_threshold_is_a_number_of_seconds(given: object) -> None:
    with pytest.raises(rx.BadConfig, match=r"number of seconds.*Write: slow_statement=0\.5"):
        rx.Config(slow_statement=given)  # type: ignore[arg-type]  # it is wrong on purpose


@pytest.mark.parametrize("name", ["comment_statements", "expire_on_commit"])
@pytest.mark.parametrize("given", ["yes", "false", 2, []])
def test_what_is_neither_true_nor_false_is_refused(name: str, given: Any) -> None:
    with pytest.raises(rx.BadConfig, match=f"is True or False. Write: {name}=True"):
        rx.Config(**{name: given})
