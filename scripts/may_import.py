"""What may a module import at most? A contract of import-linter: all else is forbidden.

In ``pyproject.toml``: ``modules`` (patterns such as ``services.*.domain``) may import, besides
the standard library and themselves, what ``allowed`` names, with everything below it.
``{parent}`` there is the package that holds the module: ``{parent}.ports``.
"""

from __future__ import annotations

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.helpers import module_expressions_to_modules


class MayImport(Contract):
    """Direct imports only; what those import is for their own contracts."""

    type_name = "may_import"

    modules = fields.SetField(subfield=fields.ModuleExpressionField())
    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found: list[tuple[str, str, int]] = []
        expressions: Any = self.modules  # parsed by the field, which the types don't say
        entries: Any = self.allowed
        for top in module_expressions_to_modules(graph, expressions):
            parent = top.name.rpartition(".")[0]
            allowed = [entry.format(parent=parent) for entry in entries] + [top.name]
            for module in {top.name} | graph.find_descendants(top.name):
                for imported in graph.find_modules_directly_imported_by(module):
                    if not _is_allowed(imported, allowed):
                        details = graph.get_import_details(importer=module, imported=imported)
                        found.append((module, imported, details[0]["line_number"]))
        return ContractCheck(kept=not found, metadata={"found": sorted(found)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for module, imported, line in check.metadata["found"]:
            output.print_error(f"{module} (line {line}) may not import {imported}")
        output.new_line()


def _is_allowed(imported: str, allowed: list[str]) -> bool:
    return imported.partition(".")[0] in sys.stdlib_module_names or any(
        imported == entry or imported.startswith(f"{entry}.") for entry in allowed
    )
