"""A query of Django's that is put together once, for the paid path: its SQL, and how its rows become objects.

Django builds the SQL of a query anew for each use, which costs several times what it costs to run it. What is asked
stays a queryset, for any database; only its values come later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.query import get_related_populators

from licenses.connections import execute_prepared

Row = TypeVar("Row", bound=models.Model)


class Later(str):
    """Stands in a queryset for the value of a text field that is given when it runs, under this name."""

    __slots__ = ()


class Prepared(Generic[Row]):
    """The one row of a queryset, with values of their own each time.

    Args:
        queryset: makes it, at the first use. It selects whole objects, and related ones by `select_related`; each of
            its values that varies is a `Later`.
    """

    def __init__(self, queryset: Callable[[], "models.QuerySet[Row]"]) -> None:
        self.queryset = queryset
        self._query: _Query | None = None

    def one(self, **values: str) -> Row | None:
        """The row for these values; None where there is none."""
        # Several threads that come first may each put it together, with a compiler of their own: it is the same.
        query = self._query = self._query or _Query.of(self.queryset())
        parameters = [values[value] if isinstance(value, Later) else value for value in query.parameters]
        with execute_prepared(query.sql, parameters) as cursor:
            row = cursor.fetchone()
        return query.object_of(row) if row else None


@dataclass(frozen=True, slots=True)
class _Query:
    """A queryset as SQL, and its rows as objects, as Django's own `ModelIterable` makes them."""

    sql: str
    parameters: tuple[Any, ...]
    compiler: Any  # from here on only read
    columns: slice  # of the row, that are the object's own
    names: list[str]  # of the fields in them
    related: list[Any]

    @classmethod
    def of(cls, queryset: "models.QuerySet[Any]") -> "_Query":
        compiler: Any = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, parameters = compiler.as_sql()
        start, *_, last = compiler.klass_info["select_fields"]
        columns = slice(start, last + 1)
        names = [column[0].target.attname for column in compiler.select[columns]]
        related = get_related_populators(  # type: ignore[call-arg]  # the stubs are of a newer Django
            compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS
        )
        return cls(sql, tuple(parameters), compiler, columns, names, related)

    def object_of(self, row: Any) -> Any:
        (values,) = self.compiler.results_iter([[row]])
        found = self.compiler.klass_info["model"].from_db(DEFAULT_DB_ALIAS, self.names, values[self.columns])
        for related in self.related:
            related.populate(values, found)
        for name, place in self.compiler.annotation_col_map.items():
            setattr(found, name, values[place])
        return found
