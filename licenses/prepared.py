"""A query of Django's that is put together once, for the paid path: its SQL, and how its rows become objects.

Django builds the SQL of a query anew for each use, which costs several times what it costs to run it. What is asked
stays a queryset, for any database; only its values come later.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.query import get_related_populators

from licenses.connections import execute

Row = TypeVar("Row", bound=models.Model)


class Later(str):
    """Stands in a queryset for a text that is given when it runs, under this name."""

    __slots__ = ()


class Prepared(Generic[Row]):
    """The rows of a queryset, with values of their own each time.

    Args:
        queryset: makes it, at the first use. It selects whole objects, and related ones by `select_related`; each of
            its values that varies is a `Later`.
    """

    def __init__(self, queryset: Callable[[], "models.QuerySet[Row]"]) -> None:
        self.queryset = queryset

    def first(self, **values: str) -> Row | None:
        """The first row for these values; None where there is none."""
        sql, parameters = self._statement
        with execute(sql, [values[one] if isinstance(one, Later) else one for one in parameters]) as cursor:
            row = cursor.fetchone()
        return self._object(row) if row else None

    @cached_property
    def _compiler(self) -> Any:
        return self.queryset().query.get_compiler(DEFAULT_DB_ALIAS)

    @cached_property
    def _statement(self) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = self._compiler.as_sql()
        return sql, tuple(parameters)

    @cached_property
    def _related(self) -> Any:
        return get_related_populators(  # type: ignore[call-arg]  # the stubs are of a newer Django
            self._compiler.klass_info, self._compiler.select, DEFAULT_DB_ALIAS
        )

    def _object(self, row: Any) -> Row:
        """As Django's own `ModelIterable` makes it."""
        compiler = self._compiler
        start, *_, last = compiler.klass_info["select_fields"]
        names = [column[0].target.attname for column in compiler.select[start : last + 1]]
        (values,) = compiler.results_iter([[row]])
        found: Row = compiler.klass_info["model"].from_db(DEFAULT_DB_ALIAS, names, values[start : last + 1])
        for related in self._related:
            related.populate(values, found)
        for name, place in compiler.annotation_col_map.items():
            setattr(found, name, values[place])
        return found
