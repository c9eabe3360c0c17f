"""The examples of `docs/envoy-gateway.md` and its like: what a reader would apply, by its heading."""

import re

import yaml

from . import artefacts


def examples(page: str) -> dict[str, list[dict]]:
    """The documents of each block of YAML; several of one heading are numbered from the second on."""
    text = (artefacts.ROOT / "docs" / page).read_text()
    found, heading = {}, ""
    for title, block in re.findall(r"^#+ ([^\n]*)$|^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if title:
            heading = title
            continue
        same = [it for it in found if it == heading or re.fullmatch(rf"{re.escape(heading)} \d+", it)]
        name = f"{heading} {len(same) + 1}" if same else heading
        found[name] = [it for it in yaml.safe_load_all(block) if it]
    return found
