"""Requests made up from the live OpenAPI document: whatever comes, the answer is never a 500 and is as documented."""

from typing import Any

import pytest
import schemathesis
from api_service import Api
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance

_EXAMPLES = 12


@pytest.mark.filterwarnings("ignore")
def test_no_made_up_request_breaks_the_server(api: Api, model: str) -> None:
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json", headers={"authorization": f"Bearer {api.key}"})
    schema.config.update(base_url=api.url)
    statuses: dict[int, int] = {}
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        # A sampler or a stream that is not there answers 503, which is no fault of the request.
        if operation.path in ("/readyz",) or "completions" in operation.path:
            continue

        @settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @_given(operation)
        def ask(case: Any) -> None:
            answer = case.call(headers={"authorization": f"Bearer {api.key}"})
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            assert answer.status_code not in (500, 501, 502), f"{case.method} {case.path}: {answer.text[:500]}"
            case.validate_response(answer, checks=[content_type_conformance])

        ask()
    print(f"{len(operations)} operations, {sum(statuses.values())} requests: {dict(sorted(statuses.items()))}")
    assert not_a_server_error is not None


def _given(operation: Any) -> Any:
    from hypothesis import given

    return given(case=operation.as_strategy())
