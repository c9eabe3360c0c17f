"""Runs the scenarios of one module, as it is sent them: see `frameworks.py`."""

import importlib
import json
import os
import pathlib
import sys
import traceback

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1])]
# Nothing is to be sent anywhere but to the gateway.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
)


def main(name: str):
    # What a framework prints is not for the other side.
    out, sys.stdout = sys.stdout, sys.stderr
    from common import Target

    module = importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        scenario = asked.pop("scenario")
        if asked.pop("is_script", False):
            said = {"result": getattr(module, "SAYS", {}).get(scenario)}
        else:
            try:
                said = {"result": getattr(module, scenario)(Target(**asked))}
            except BaseException:
                said = {"error": traceback.format_exc()}
        print(json.dumps(said), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
