"""Which requests do operators send to Kafka that aiokafka's own admin client lacks or spoils?

Its ``alter_configs`` is Kafka's old AlterConfigs, which puts every setting that is not named back
to its default; its DescribeGroups reads version 3 with the schema of version 2 and so loses what
a principal may do. Here are just the versions that are sent, as Kafka's protocol guide has them
(https://kafka.apache.org/protocol); each is one that Kafka 2.7 to 4.x takes. Only
``cluster.py`` and ``access.py`` import this.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest_v1,
)
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    Bytes,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

_TEXT: Final = String("utf-8")
_NAME: Final = CompactString("utf-8")


class Prepared:
    """One request in one version, as the client's connection takes it."""

    def __init__(self, struct: type[Any], *fields: object) -> None:
        self._struct = struct(*fields)

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        key, version = self._struct.API_KEY, self._struct.API_VERSION
        least, most = versions.get(key, (0, -1))
        if not least <= version <= most:
            raise NotImplementedError(f"this broker does not take request {key} in v{version}")
        return self._struct


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 3, 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("index", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("in_sync", Array(Int32)),
                        ("offline", Array(Int32)),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
        ("cluster_operations", Int32),
    )


class Metadata(RequestStruct):  # type: ignore[misc]
    """Topics with how their copies are, and with what we may do to each."""

    API_KEY, API_VERSION, RESPONSE_TYPE = 3, 8, _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
    )


class _DescribeGroupsResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 15, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        ("member_id", _TEXT),
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("metadata", Bytes),
                        ("assignment", Bytes),
                    ),
                ),
                ("operations", Int32),
            ),
        ),
    )


class DescribeGroups(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, RESPONSE_TYPE = 15, 3, _DescribeGroupsResponse
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_operations", Boolean))


class _IncrementalAlterConfigsResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 44, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(("error_code", Int16), ("message", _TEXT), ("type", Int8), ("name", _TEXT)),
        ),
    )


class IncrementalAlterConfigs(RequestStruct):  # type: ignore[misc]
    """Sets what is named and leaves all else as it is (KIP-339)."""

    API_KEY, API_VERSION, RESPONSE_TYPE = 44, 0, _IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("type", Int8),
                ("name", _TEXT),
                ("configs", Array(("name", _TEXT), ("operation", Int8), ("value", _TEXT))),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterScramResponse(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 51, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", _NAME), ("error_code", Int16), ("message", _NAME), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScram(RequestStruct):  # type: ignore[misc]
    """Users and their passwords (KIP-554)."""

    API_KEY, API_VERSION, RESPONSE_TYPE = 51, 0, _AlterScramResponse
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", _NAME), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", _NAME),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


CreateAcls, DeleteAcls, DescribeAcls = (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest_v1,
)
