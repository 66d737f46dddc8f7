"""Every module may be the first that is imported: no module needs one that needs it."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

DEPARTMENTS = ("domain", "infra", "center", "workers", "producers", "city")


def packages_of(module):
    """The packages that are imported before a module, outermost first."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def test_no_module_needs_one_that_needs_it():
    graph = grimp.build_graph(*DEPARTMENTS, exclude_type_checking_imports=True, cache_dir=None)
    needs = {
        module: {
            each
            for imported in graph.find_modules_directly_imported_by(module)
            for each in ({imported} | packages_of(imported)) - packages_of(module) - {module}
        }
        for module in graph.modules
    }

    try:
        TopologicalSorter(needs).prepare()
    except CycleError as circle:
        pytest.fail(" needs ".join(reversed(circle.args[1])))
