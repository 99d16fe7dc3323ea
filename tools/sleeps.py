"""The check that no test waits for real time to pass.

A test may sleep on a loop of virtual time, which its module shows by importing from VIRTUAL, and
inside a `while` loop that waits for a condition. Everywhere else it waits for an event, or lets the
loop run (`tests.turns`).
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

TESTS = Path("tests")
VIRTUAL = ("tests.world", "tests.unit.link.stage")
"""Packages and modules that run tests on virtual time."""
SLEEPS = frozenset({"asyncio.sleep", "time.sleep"})


def imported(tree: ast.Module) -> Iterator[str]:
    """Return the modules that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def is_virtual(name: str, tree: ast.Module) -> bool:
    """Return whether a module runs on virtual time."""
    return any(
        f"{module}.".startswith(f"{one}.") for module in (name, *imported(tree)) for one in VIRTUAL
    )


def sleeps(node: ast.AST, *, waits: bool = False) -> Iterator[int]:
    """Return the line of every call that sleeps.

    Calls inside a `while` loop and those of 0 seconds are left out.
    """
    for child in ast.iter_child_nodes(node):
        inside = (waits or isinstance(child, ast.While)) and not isinstance(
            child, ast.FunctionDef | ast.AsyncFunctionDef
        )
        if isinstance(child, ast.Call) and ast.unparse(child.func) in SLEEPS and not inside:
            seconds = child.args[0] if child.args else None
            if not (isinstance(seconds, ast.Constant) and seconds.value == 0):
                yield child.lineno
        yield from sleeps(child, waits=inside)


def complaints(root: Path = TESTS) -> Iterator[str]:
    """Return the findings as `file:line: what, and what to do`."""
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        if not is_virtual(name, tree):
            yield from (
                f"{path}:{line}: sleeps; wait for an event, or use tests.turns"
                for line in sleeps(tree)
            )


def main() -> int:
    """Print every finding; return 1 when there is one."""
    found = [*complaints()]
    for complaint in found:
        print(f"sleeps: {complaint}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
