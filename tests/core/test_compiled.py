from __future__ import annotations

import pytest
from numba.core import caching

from leukobench.core.compiled import compiled


def test_loops_are_compiled_even_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder that may be written to, Numba refuses to keep a function on disk."""
    for name in ("_CacheImpl", "CacheImpl"):
        if hasattr(caching, name):
            monkeypatch.setattr(getattr(caching, name), "_locator_classes", [])

    def total(number: int) -> int:
        result = 0
        for k in range(number):
            result += k
        return result

    function = compiled(total)
    assert function(5) == 10
    assert function.stats.cache_path is None
