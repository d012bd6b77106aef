"""A reader of pickles that can run nothing: the operations of protocols 0 to 5, on inert records.

What the standard unpickler would import becomes a `Name`, what it would call a `Record`; the calls of
`rebuild.CALLS`, a closed list, are answered by code of this package. Sizes are compared with what the file
holds before anything is allocated, and large pieces stay where they are in the file.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any

from styleloom.errors import UserError, quoted
from styleloom.foreign.pickles import rebuild
from styleloom.foreign.pickles.names import Seen
from styleloom.foreign.pickles.records import Buffer, Name, Record

SMALL_BYTES = 1024
"""Pieces up to this size are copied; larger ones stay in the file."""

MAX_INTEGER_BYTES = 256
MAX_LINE = 1 << 16
"""Longest line with a name or number in text."""

MAX_PROTOCOL = 5
MAX_NESTED = 4
"""How deep pickles may lie within pickles: PyTorch's storages lie one deep."""

PersistentLoad = Callable[[Any], Any]

_LINE_END = re.compile(rb"\n")
_MARK = object()

KEY_TYPES = (str, int, float, bool, bytes, type(None))
"""What may be a key: nothing whose hash would walk through other objects."""


class Unpickler:
    """One pickle.

    Args:
        data: what it lies in.
        at: where it begins.
        seen: of the whole file.
        persistent: what a persistent id stands for; None in a pickle that has none.
    """

    def __init__(self, data: Buffer, at: int, seen: Seen, persistent: PersistentLoad | None = None) -> None:
        self.data, self.at, self.size = data, at, len(data)
        self.seen = seen
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """What the pickle holds. Raises UserError for what is damaged, or names anything unknown."""
        try:
            value = self._run()
        except (LookupError, ValueError, TypeError, ArithmeticError, struct.error, MemoryError) as error:
            self.seen.check()
            raise UserError(f"damaged, no pickle that can be read (at byte {self.at})") from error
        except UserError:
            self.seen.check()
            raise
        self.seen.check()
        return value

    def _run(self) -> Any:
        operations = OPERATIONS
        while True:
            self.seen.left -= 1
            if self.seen.left < 0:
                raise UserError("refused, this pickle has more operations than any weights need")
            code = self.data[self.at]
            self.at += 1
            if code == 0x2E:  # STOP
                return self.pop()
            operation = operations.get(code)
            if operation is None:
                raise UserError(f"damaged, byte {self.at - 1} is no operation of a pickle that is read")
            operation(self)

    # ---- pieces of the file

    def take(self, count: int) -> Buffer:
        """The next `count` bytes."""
        if not 0 <= count <= self.size - self.at:
            raise UserError(
                f"damaged or cut off, {count} bytes should follow byte {self.at}, {self.size - self.at} do"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """A number in `struct`'s form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def blob(self, form: str) -> Any:
        """Bytes after their length."""
        piece = self.take(self.number(form))
        return bytes(piece) if len(piece) <= SMALL_BYTES else piece

    def text(self, form: str) -> str:
        """Text in UTF-8 after its length."""
        return codecs.decode(self.take(self.number(form)), "utf-8", "surrogatepass")

    def line(self, limit: int = MAX_LINE) -> bytes:
        """Text up to the end of the line."""
        match = _LINE_END.search(self.data, self.at, min(self.size, self.at + limit))
        if match is None:
            raise UserError(f"damaged or cut off, the line at byte {self.at} has no end")
        piece = bytes(self.take(match.start() - self.at))
        self.at += 1
        return piece

    # ---- the stack

    def pop(self) -> Any:
        """Take what is on top."""
        value = self.stack.pop()
        if value is _MARK:
            raise UserError("damaged, this pickle takes more from its stack than is there")
        return value

    def since_mark(self) -> list[Any]:
        """Take everything above the mark, and the mark."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise UserError("damaged, a mark is missing in this pickle")

    def set_items(self, items: list[Any]) -> None:
        """Keys and values, alternating, into the dictionary on top."""
        target = self.stack[-1]
        if isinstance(target, Record):
            return  # a dictionary of a class that nothing here needs
        if type(target) is not dict or len(items) % 2:
            raise UserError("damaged, keys and values go to no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in KEY_TYPES:
                raise UserError("refused, a dictionary has keys other than text and numbers")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        """Items to the list on top."""
        target = self.stack[-1]
        if isinstance(target, Record):
            return
        if type(target) is not list:
            raise UserError("damaged, items go to no list")
        target.extend(items)

    # ---- calls

    def call(self, of: Any, args: Any) -> None:
        """Put on the stack what calling `of` would give: ours, or a record."""
        if not isinstance(of, Name) or type(args) is not tuple:
            raise UserError("refused, this pickle calls something that is no name")
        self.seen.called[of] = None
        answer = rebuild.CALLS.get(str(of))
        self.stack.append(Record(of, args) if answer is None else answer(self, args))

    def nested(self) -> Seen:
        """For a pickle within this one."""
        if self.seen.depth >= MAX_NESTED:
            raise UserError("refused, pickles within pickles within pickles")
        self.seen.depth += 1
        return self.seen

    def build(self) -> None:
        """Set the state of the object on top."""
        state = self.pop()
        target = self.stack[-1]
        if isinstance(target, Name):
            raise UserError(f"refused, this pickle changes {quoted(str(target))} itself")
        rebuild.set_state(target, state)

    # ---- operations with a line or two more than a lambda has

    def protocol(self) -> None:
        """PROTO."""
        if self.number("<B") > MAX_PROTOCOL:
            raise UserError(f"a pickle of a protocol above {MAX_PROTOCOL}, which is not known")

    def frame(self) -> None:
        """FRAME: its length must be there."""
        length = len(self.take(self.number("<Q")))
        self.at -= length

    def integer_line(self) -> None:
        """INT and LONG: a number in decimal digits; 00 and 01 are false and true."""
        digits = self.line().rstrip(b"L")
        if len(digits) > 2 * MAX_INTEGER_BYTES:
            raise UserError("damaged, an integer of more digits than weights need")
        self.stack.append(digits == b"01" if digits in (b"00", b"01") else int(digits))

    def integer(self, form: str) -> None:
        """LONG1 and LONG4."""
        length = self.number(form)
        if length > MAX_INTEGER_BYTES:
            raise UserError(f"damaged, an integer of {length} bytes")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def stack_name(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise UserError("damaged, a name that is no text")
        self.stack.append(self.seen.name(module, name))

    def quoted_line(self) -> None:
        """STRING: a text of Python 2 in quotes."""
        line = self.line(self.size)
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise UserError("damaged, a text without quotes")
        self.stack.append(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))  # type: ignore[attr-defined]

    def put(self, index: int) -> None:
        """Keep what is on top."""
        if index < 0:
            raise UserError("damaged, a place in memory that cannot be")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Take what was kept."""
        if index not in self.memo:
            raise UserError(f"damaged, this pickle takes {index} from memory, which it never put there")
        self.stack.append(self.memo[index])

    def persist(self, identity: Any) -> None:
        """PERSID and BINPERSID."""
        if self.persistent is None:
            raise UserError("refused, this pickle refers to something outside of it")
        self.stack.append(self.persistent(identity))

    def new_object(self, with_keywords: bool) -> None:
        """NEWOBJ and NEWOBJ_EX."""
        keywords = self.pop() if with_keywords else {}
        args, of = self.pop(), self.pop()
        if keywords:
            raise UserError("refused, this pickle calls something with keywords, which no weights need")
        self.call(of, args)

    def reduce(self) -> None:
        """REDUCE."""
        args, of = self.pop(), self.pop()
        self.call(of, args)

    def tuple_of(self, count: int) -> None:
        """TUPLE1 to TUPLE3."""
        self.stack.append(tuple(self.pop() for _ in range(count))[::-1])

    def dictionary(self) -> None:
        """DICT: everything since the mark, as keys and values."""
        items = self.since_mark()
        self.stack.append({})
        self.set_items(items)

    def obj(self) -> None:
        """OBJ."""
        of, *args = self.since_mark()
        self.call(of, tuple(args))

    def name_lines(self) -> Name:
        """GLOBAL and INST: module and name, a line each."""
        return self.seen.name(self.line().decode(), self.line().decode())


def _push(read: Callable[[Unpickler], Any]) -> Callable[[Unpickler], None]:
    return lambda u: u.stack.append(read(u))


OPERATIONS: dict[int, Callable[[Unpickler], None]] = {
    ord(code): operation
    for code, operation in {
        "\x80": Unpickler.protocol,
        "\x95": Unpickler.frame,
        # marks, memory and the stack
        "(": lambda u: u.stack.append(_MARK),
        "0": lambda u: u.stack.pop() and None,
        "1": lambda u: u.since_mark() and None,
        "2": lambda u: u.stack.append(u.stack[-1]),
        "p": lambda u: u.put(int(u.line())),
        "q": lambda u: u.put(u.number("<B")),
        "r": lambda u: u.put(u.number("<I")),
        "\x94": lambda u: u.put(len(u.memo)),
        "g": lambda u: u.get(int(u.line())),
        "h": lambda u: u.get(u.number("<B")),
        "j": lambda u: u.get(u.number("<I")),
        # numbers and text
        "N": lambda u: u.stack.append(None),
        "\x88": lambda u: u.stack.append(True),
        "\x89": lambda u: u.stack.append(False),
        "I": Unpickler.integer_line,
        "L": Unpickler.integer_line,
        "K": _push(lambda u: u.number("<B")),
        "M": _push(lambda u: u.number("<H")),
        "J": _push(lambda u: u.number("<i")),
        "\x8a": lambda u: u.integer("<B"),
        "\x8b": lambda u: u.integer("<i"),
        "F": _push(lambda u: float(u.line())),
        "G": _push(lambda u: u.number(">d")),
        "S": Unpickler.quoted_line,
        "T": _push(lambda u: bytes(u.take(u.number("<i"))).decode("latin-1")),
        "U": _push(lambda u: bytes(u.take(u.number("<B"))).decode("latin-1")),
        "V": _push(lambda u: u.line(u.size).decode("raw-unicode-escape")),
        "X": _push(lambda u: u.text("<I")),
        "\x8c": _push(lambda u: u.text("<B")),
        "\x8d": _push(lambda u: u.text("<Q")),
        "B": _push(lambda u: u.blob("<I")),
        "C": _push(lambda u: u.blob("<B")),
        "\x8e": _push(lambda u: u.blob("<Q")),
        "\x96": _push(lambda u: u.blob("<Q")),
        "\x98": lambda u: None,  # READONLY_BUFFER
        # containers
        ")": lambda u: u.stack.append(()),
        "t": _push(lambda u: tuple(u.since_mark())),
        "\x85": lambda u: u.tuple_of(1),
        "\x86": lambda u: u.tuple_of(2),
        "\x87": lambda u: u.tuple_of(3),
        "]": lambda u: u.stack.append([]),
        "l": _push(lambda u: u.since_mark()),
        "a": lambda u: u.append([u.pop()]),
        "e": lambda u: u.append(u.since_mark()),
        "}": lambda u: u.stack.append({}),
        "d": Unpickler.dictionary,
        "s": lambda u: u.set_items([u.pop(), u.pop()][::-1]),
        "u": lambda u: u.set_items(u.since_mark()),
        "\x8f": lambda u: u.stack.append([]),  # a set, of which nothing here needs more than its items
        "\x90": lambda u: u.append(u.since_mark()),
        "\x91": _push(lambda u: u.since_mark()),
        # names and calls
        "c": _push(lambda u: u.name_lines()),
        "\x93": Unpickler.stack_name,
        "R": Unpickler.reduce,
        "\x81": lambda u: u.new_object(False),
        "\x92": lambda u: u.new_object(True),
        "i": lambda u: u.call(u.name_lines(), tuple(u.since_mark())),
        "o": Unpickler.obj,
        "b": Unpickler.build,
        "P": lambda u: u.persist(u.line().decode()),
        "Q": lambda u: u.persist(u.pop()),
    }.items()
}
"""Every operation but STOP. Extensions (EXT1 to EXT4) and buffers outside the file are none of them."""
