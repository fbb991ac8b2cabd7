"""Does the sample application keep what its own OpenAPI document says?"""

from __future__ import annotations

from typing import Any

import structlog
from hypothesis import HealthCheck, settings

from tests.support.contract import documents, obey
from tests.support.http_sample import sample

_SAMPLE = sample()
schema = documents(_SAMPLE.app).exclude(path_regex="broken")


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case: Any) -> None:
    with structlog.testing.capture_logs():
        obey(case, _SAMPLE.callers.headers("doctor", "patient"))
