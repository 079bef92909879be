"""Pickles read as data: nothing is imported, nothing that a pickle names is called, and all objects are plain.

`pickle.load` executes a pickle. Here a table of our own carries out its instructions: a name (`torch._utils
_rebuild_tensor_v2`) stays a name, and a call of it looks it up among the builders that the reader of a format passes.
Any other name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

from images.formats.messages import said, shown
from theory.common.errors import FileError

OPERATIONS = 400_000  # EDM's ImageNet 64 network takes about half
PARTS = 2_000_000  # of an object written out: what is named twice counts twice
DEPTH = 200  # of containers within containers; EDM's networks have about 30
BITS = 128  # of a whole number; PyTorch's magic number has 77
Build: TypeAlias = Callable[..., Any]


class Global(NamedTuple):
    """The name of a class or function; nothing that can be called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Inert:
    """An object of a class that is never imported: the class's name, the arguments, the state."""

    kind: str
    arguments: tuple[Any, ...] = ()
    state: Any = field(default_factory=dict)


class Bounded:
    """A file that never reads beyond its end: no memory is allocated for bytes that a pickle only announces."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size

    def read(self, n: int) -> bytes:
        if n > self.size - self.file.tell():
            raise FileError(f"truncated: {n} bytes are announced, {self.size - self.file.tell()} are left")
        return self.file.read(n)

    def readline(self) -> bytes:
        return self.file.readline(4096)

    def tell(self) -> int:
        return self.file.tell()


def read(
    file: BinaryIO,
    size: int,
    builders: Mapping[str, Build],
    persistent: Callable[[Any], Any] | None = None,
    operations: int | None = None,
) -> Any:
    """The object of the pickle that begins at the file's position, which is then at the pickle's end.

    Args:
        file, size: an open file and its length in bytes.
        builders: "module.name" -> what is called in its place, for those names that the pickle may use at all.
        persistent: what becomes of a persistent id; refused if not given.
        operations: the most instructions; 400,000 if not given.

    Raises:
        FileError: the pickle is truncated, malformed, names anything else, has too many operations, a number of more
            than 128 bits, containers nested deeper than 200, within themselves, or of more than 2 million parts.
    """
    machine, most = Machine(builders, persistent), OPERATIONS if operations is None else operations
    try:
        for n, (operation, argument, _) in enumerate(pickletools.genops(cast(BinaryIO, Bounded(file, size)))):
            if n >= most:
                raise FileError(f"a pickle of more than {most} operations is refused")
            machine.step(operation.name, argument)
        result = machine.stack.pop()
    except (FileError, MemoryError):
        raise
    except Exception as error:  # whatever damage makes pickletools, the machine and the builders raise
        raise FileError(f"truncated or malformed pickle ({said(error)})") from None
    check_extent(result)
    return result


def check_extent(value: Any) -> None:
    """FileError where containers are nested deeper than DEPTH or within themselves, or have more than PARTS parts.

    A part that is named twice counts twice: whoever walks, prints or hashes the object then needs no more than PARTS
    steps. Without recursion, and each container once.
    """
    known: dict[int, int] = {}  # id -> parts
    begun: set[int] = set()
    stack = [value]
    while stack:
        item = stack[-1]
        inside = contents(item) if id(item) not in known else []
        if id(item) in known:
            stack.pop()
        elif id(item) not in begun:
            begun.add(id(item))  # all that are begun lie within each other
            if len(begun) > DEPTH:
                raise FileError(f"a pickle nested deeper than {DEPTH} containers is refused")
            waiting = [part for part in inside if id(part) not in known]
            if any(id(part) in begun for part in waiting):
                raise FileError("refused: a container within itself")
            stack.extend(waiting)
        else:
            begun.discard(id(stack.pop()))
            known[id(item)] = total = 1 + size_of(item) + sum(known[id(part)] for part in inside)
            if total > PARTS:
                raise FileError(f"a pickle of more than {PARTS} parts is refused")


def size_of(item: Any) -> int:
    return len(item) if isinstance(item, list | tuple | dict) else 0


def contents(item: Any) -> list[Any]:
    """The containers in a container."""
    if isinstance(item, Inert):
        found: Any = (item.arguments, item.state)
    else:
        found = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
    return [part for part in found if isinstance(part, dict | list | tuple | Inert) and not isinstance(part, Global)]


MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINSTRING", "BINSTRING",
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = {"PROTO", "FRAME", "STOP"}


class Machine:
    """The pickle machine with a stack of data only."""

    def __init__(self, builders: Mapping[str, Build], persistent: Callable[[Any], Any] | None):
        self.builders, self.persistent = builders, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction.

        Raises:
            FileError: an instruction that checkpoints have no use for. Others: the pickle is malformed.
        """
        stack = self.stack
        if name in LITERALS:
            if isinstance(argument, int) and argument.bit_length() > BITS:
                raise FileError(f"refused: {shown(argument)}")
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            stack.append(MARK)
        elif name in TUPLES:
            stack.append(tuple(self.pop(TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self.marked()))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1) if name == "APPEND" else self.marked()
            of_type(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2) if name == "SETITEM" else self.marked()
            put(stack[-1], items[::2], items[1::2])
        elif name == "ADDITEMS":
            self.marked()  # of a set, a network's names of buffers; of no use here
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.marked()
        elif name == "GLOBAL":
            stack.append(self.known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(self.known(*self.pop(2)))
        elif name in ("REDUCE", "NEWOBJ"):
            named, arguments = self.pop(2)
            stack.append(self.builders[str(of_type(named, Global))](*of_type(arguments, tuple)))
        elif name == "BUILD":
            target, state = self.pop(2)
            set_state(target, state)
            stack.append(target)
        elif name == "BINPERSID":
            if self.persistent is None:
                raise FileError("refused: a reference to something outside the pickle (persistent id)")
            stack.append(self.persistent(stack.pop()))
        elif name not in IGNORED:
            raise FileError(f"refused: the pickle instruction {name}, which no checkpoint needs")

    def pop(self, n: int) -> list[Any]:
        """The last n of the stack, none of them a mark."""
        items = self.stack[-n:]
        if len(items) < n or any(item is MARK for item in items):
            raise ValueError("nothing left on the stack")
        del self.stack[-n:]
        return items

    def marked(self) -> list[Any]:
        """What lies above the last mark, which goes too."""
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:  # ends in an IndexError where there is none
            at -= 1
            if at < 0:
                raise ValueError("no mark on the stack")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def known(self, module: object, name: object) -> Global:
        """The name, if it is one of the builders'."""
        found = Global(of_type(module, str), of_type(name, str))
        if str(found) not in self.builders:
            raise FileError(f"refused: the file names {shown(str(found))}, of no use in such a file; nothing was run")
        return found


def of_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} wanted, {type(value).__name__} found")
    return value


def put(target: Any, keys: list[Any], values: list[Any]) -> None:
    """Entries of a dictionary. Keys are plain: the hash of a deep tuple would recurse as deep."""
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, str | int | float | None):
            raise TypeError(f"keys of dictionaries must be plain, {type(key).__name__} found")
        of_type(target, dict)[key] = value


def set_state(target: Any, state: Any) -> None:
    """The state of an inert object; that of a dictionary (PyTorch keeps its versions there) is of no use."""
    if isinstance(target, Inert):
        target.state = state
    else:
        of_type(target, dict)


def latin(text: str, encoding: str) -> bytes:
    """Bytes in the form that Python 3 writes into a pickle for Python 2 (`_codecs.encode`)."""
    if of_type(encoding, str) != "latin1":
        raise FileError(f"refused: the encoding {shown(encoding)}")
    return of_type(text, str).encode("latin-1")
