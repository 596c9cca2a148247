"""The JSON schema of site files, from the same structs that check them."""

from __future__ import annotations

import msgspec

from psiflow_cli import registry
from psiflow_cli.site import schema


def json_schema() -> dict[str, object]:
    """A JSON schema (draft 2020-12); a provider's keys depend on its `type`, with one alternative for each."""
    tables = [registry.load("runtime.providers", kind).Provider for kind in registry.names("runtime.providers")]
    (site, *providers), components = msgspec.json.schema_components(
        [schema.Site, *tables], ref_template="#/$defs/{name}"
    )
    components["Site"]["properties"]["providers"]["additionalProperties"] = {"anyOf": list(providers)}
    for table in components.values():
        table.pop("required", None)  # what a site extends may have the rest
    components.pop("psiflow_cli.site.schema.Provider", None)
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": "psiflow site file", **site, "$defs": components}
