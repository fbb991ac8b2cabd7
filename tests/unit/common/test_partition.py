"""Our own sends choose the partition themselves: as Kafka's default partitioner does."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from libs.common.partition import partition_for


@pytest.mark.parametrize(
    ("key", "hash"),
    [
        # Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_murmur2_as_in_kafkas_own_tests(key: bytes, hash: int) -> None:
    assert partition_for(key, 2**31) == hash & 0x7FFFFFFF


@given(st.binary(max_size=200), st.integers(1, 100))
def test_the_partition_is_that_of_the_clients_default_partitioner(key: bytes, count: int) -> None:
    assert partition_for(key, count) == DefaultPartitioner()(key, list(range(count)), [])
