"""Frameworks with their defaults: no request of theirs ends in an error that OpenAI itself would not give."""

import pytest

import frameworks
import world

CASES = [
    pytest.param(framework, scenario, id=f"{framework.name}-{scenario}")
    for framework in frameworks.ALL
    for scenario in framework.scenarios
]


@pytest.fixture(scope="module", autouse=True)
def stopped():
    yield
    for framework in frameworks.ALL:
        framework.stop()


@pytest.mark.parametrize("is_alias", [False, True], ids=["own", "alias"])
@pytest.mark.parametrize("to", world.PROVIDERS, ids=lambda it: it.name)
@pytest.mark.parametrize("framework, scenario", CASES)
def test_defaults(gateway, mock, framework, scenario, to, is_alias):
    mock.says(*framework.script(scenario))
    model = world.ALIAS if is_alias else to.model
    result = framework.run(scenario, gateway.url(to.base), model)
    world.assert_done(scenario, result, mock)
