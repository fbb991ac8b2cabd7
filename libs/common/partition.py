"""Which partition does a key belong to?

As Kafka's default partitioner has it, so that our own sends, which choose the partition
themselves, agree with every other producer. librdkafka's default is another one: partners
who use it must set ``partitioner=murmur2_random``.
"""

from __future__ import annotations

import struct


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner (murmur2) gives to ``key``."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    words, rest = divmod(len(key), 4)
    h = 0x9747B28C ^ len(key)
    for k in struct.unpack_from(f"<{words}I", key):
        k = k * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    if rest:
        h = (h ^ int.from_bytes(key[-rest:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions
