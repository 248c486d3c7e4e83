"""The language of ``--where``: conditions on annotations and images, as Python writes them.

::

    weather == 'fog' and not iscrowd
    image.split in ['train', 'val'] or 20 <= h < 400
    segmentation != None and category != source_label

Comparisons (``== != < <= > >=``, chained as in Python), ``in`` and ``not in`` a list, ``and``, ``or``, ``not`` and
brackets; the values are texts, numbers, ``True``, ``False`` and ``None``; the names are columns. A bare name is one of
the annotations' columns, or of the images' where the annotations have none of that name; ``image.`` and
``annotation.`` say which. Nothing else can be written: the text is parsed, never run.

``None`` is an unknown value. It equals only ``None`` and stands neither below nor above anything, so that a condition
is always true or false: ``weather != 'fog'`` holds where the weather is unknown.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain
from curate.dataset import arrow_schema
from curate.errors import UsageError

MAX_DEPTH = 50
_EXAMPLE = "write for example \"image.weather == 'fog' and h >= 20\""
_TABLES = {"annotation": "annotations", "image": "images"}
_TEXT, _NUMBER, _FLAG, _NOTHING, _NESTED = "text", "a number", "true or false", "None", "a list or object"
_VALUES: dict[type, str] = {str: _TEXT, int: _NUMBER, float: _NUMBER, bool: _FLAG, type(None): _NOTHING}
_ORDER: dict[type[ast.cmpop], str] = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
_NEGATED = (ast.NotEq, ast.IsNot, ast.NotIn)

# Gives the values of a column, all columns in one order: ("images", "weather") -> array.
Lookup = Callable[[str, str], Any]
# Gives booleans without nulls.
Test = Callable[[Lookup], Any]


class Condition(NamedTuple):
    """A condition that was checked: all names are columns and all comparisons have a meaning."""

    text: str
    columns: frozenset[tuple[str, str]]
    holds: Test

    @property
    def of_images(self) -> bool:
        """Whether only columns of the images are named."""
        return all(table == "images" for table, _ in self.columns)


def parse(text: str) -> Condition:
    """Read a condition.

    Raises:
        UsageError: it is malformed, names an unknown column, or compares what cannot be compared; the error points at
            the place.
    """
    line = text.strip().replace("\n", " ")
    compiler = _Compiler(line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on style means nothing here
            tree = ast.parse(line, mode="eval")
        test = compiler.condition(tree.body, 0)
    except SyntaxError as error:
        place = f", character {error.offset}" if error.offset else ""
        raise UsageError(f"--where {_shown(line)}{place}", error.msg, hint=_EXAMPLE) from None
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise UsageError("--where", f"cannot be read ({error})", hint=_EXAMPLE) from None
    return Condition(line, frozenset(compiler.columns), test)


class _Operand(NamedTuple):
    """One side of a comparison: the column, or the value."""

    node: ast.expr
    kind: str
    column: tuple[str, str] | None
    value: Any = None

    def get(self, lookup: Lookup) -> Any:
        return plain(lookup(*self.column)) if self.column else pa.scalar(self.value)


class _Compiler:
    """Turns an expression into tests, noting the columns named; what is not of the language is an error."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.columns: set[tuple[str, str]] = set()

    def condition(self, node: ast.expr, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise self.error(node, f"more than {MAX_DEPTH} conditions within one another")
        if isinstance(node, ast.BoolOp):
            tests = [self.condition(value, depth + 1) for value in node.values]
            return _joined(tests, pc.and_ if isinstance(node.op, ast.And) else pc.or_)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _inverted(self.condition(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return _joined([self.comparison(*part) for part in zip(sides, node.ops, sides[1:], strict=False)], pc.and_)
        if isinstance(node, ast.Name | ast.Attribute):
            operand = self.operand(node)
            if operand.kind != _FLAG:
                raise self.error(node, f"{self.source(node)} alone is {operand.kind}", "expected a comparison")
            return lambda lookup: pc.fill_null(operand.get(lookup), False)
        raise self.error(node, f"{self.source(node)} is no condition", "expected a comparison", _EXAMPLE)

    def comparison(self, left_node: ast.expr, op: ast.cmpop, right_node: ast.expr) -> Test:
        left = self.operand(left_node)
        if isinstance(op, ast.In | ast.NotIn):
            test = self.membership(left, right_node)
        else:
            right = self.operand(right_node)
            self.check_pair(left, right)
            name = _ORDER.get(type(op))
            unordered = {left.kind, right.kind} - {_TEXT, _NUMBER}
            if name and unordered:
                raise self.error(right_node, f"{min(unordered)} has no order", "expected == or !=")
            test = _ordered(left, right, name) if name else _equal(left, right)
        return _inverted(test) if isinstance(op, _NEGATED) else test

    def membership(self, left: _Operand, node: ast.expr) -> Test:
        if not isinstance(node, ast.List | ast.Tuple | ast.Set) or not node.elts:
            raise self.error(node, f"{self.source(node)} after 'in'", "expected a list like ['a', 'b']")
        values = [self.operand(element) for element in node.elts]
        for value in values:
            if value.column:
                raise self.error(value.node, f"column {self.source(value.node)} in a list", "expected values")
            self.check_pair(left, value)
        return _among(left, [value.value for value in values])

    def check_pair(self, left: _Operand, right: _Operand) -> None:
        if not left.column and not right.column:
            raise self.error(left.node, "two values are compared", "expected a column on one side", _EXAMPLE)
        kinds = {left.kind, right.kind}
        if _NOTHING in kinds:
            return
        if _NESTED in kinds:
            node = left.node if left.kind == _NESTED else right.node
            raise self.error(node, f"{self.source(node)} is {_NESTED}", "expected == None or != None")
        if len(kinds) > 1:
            found = f"{self.source(left.node)} is {left.kind}, {self.source(right.node)} is {right.kind}"
            raise self.error(right.node, found, "expected both of one kind")

    def operand(self, node: ast.expr) -> _Operand:
        if isinstance(node, ast.Constant) and type(node.value) in _VALUES:
            value: Any = node.value
            kind = _VALUES[type(value)]
            value = float(value) if kind == _NUMBER else value
            pa.scalar(value)  # text that is no UTF-8 fails here
            return _Operand(node, kind, None, value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.operand(node.operand)
            if inner.kind == _NUMBER and not inner.column:
                return inner._replace(node=node, value=-inner.value)
        if isinstance(node, ast.Name):
            tables = [table for table in ("annotations", "images") if node.id in arrow_schema(table).names]
            return self.named(node, node.id, tables or ["annotations", "images"])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in _TABLES:
            return self.named(node, node.attr, [_TABLES[node.value.id]])
        raise self.error(node, f"{self.source(node)} is not allowed", "expected a column or a value", _EXAMPLE)

    def named(self, node: ast.expr, column: str, tables: list[str]) -> _Operand:
        names = list(dict.fromkeys(name for table in tables for name in arrow_schema(table).names))
        if column not in names:
            close = get_close_matches(column, names, n=1)
            hint = f"did you mean {close[0]}?" if close else "write a text in quotes"
            raise self.error(node, f"unknown column {column!r}", f"expected one of {', '.join(names)}", hint)
        self.columns.add((tables[0], column))
        return _Operand(node, _kind(arrow_schema(tables[0]).field(column).type), (tables[0], column))

    def error(self, node: ast.expr, found: str, expected: str = "", hint: str = "") -> UsageError:
        place = len(self.text.encode()[: node.col_offset].decode(errors="replace")) + 1  # ast counts bytes
        return UsageError(f"--where {_shown(self.text)}, character {place}", found, expected, hint)

    def source(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.text, node) or ast.unparse(node)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _kind(column: pa.DataType) -> str:
    if pa.types.is_dictionary(column) or pa.types.is_string(column):
        return _TEXT
    if pa.types.is_boolean(column):
        return _FLAG
    return _NUMBER if pa.types.is_integer(column) or pa.types.is_floating(column) else _NESTED


def _equal(left: _Operand, right: _Operand) -> Test:
    def test(lookup: Lookup) -> Any:
        if _NOTHING in (left.kind, right.kind):
            return pc.is_null((left if left.column else right).get(lookup))
        a, b = left.get(lookup), right.get(lookup)
        same = pc.fill_null(pc.equal(a, b), False)
        return pc.or_(same, pc.and_(pc.is_null(a), pc.is_null(b))) if left.column and right.column else same

    return test


def _ordered(left: _Operand, right: _Operand, name: str) -> Test:
    return lambda lookup: pc.fill_null(pc.call_function(name, [left.get(lookup), right.get(lookup)]), False)


def _among(left: _Operand, values: list[Any]) -> Test:
    known = pa.array([value for value in values if value is not None])

    def test(lookup: Lookup) -> Any:
        column = left.get(lookup)
        if not len(known):
            return pc.is_null(column)
        column = column.cast(pa.float64()) if left.kind == _NUMBER else column
        found = pc.is_in(column, value_set=known)
        return pc.or_(found, pc.is_null(column)) if None in values else found

    return test


def _joined(tests: list[Test], join: Callable[[Any, Any], Any]) -> Test:
    def test(lookup: Lookup) -> Any:
        result = tests[0](lookup)
        for other in tests[1:]:
            result = join(result, other(lookup))
        return result

    return test


def _inverted(test: Test) -> Test:
    return lambda lookup: pc.invert(test(lookup))
