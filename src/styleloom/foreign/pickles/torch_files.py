"""Files of PyTorch: a zip archive of a pickle and storages, or the older sequence of pickles."""

from __future__ import annotations

from typing import Any, NamedTuple

from styleloom.errors import UserError, quoted
from styleloom.foreign.pickles.names import Seen
from styleloom.foreign.pickles.rebuild import unpacked
from styleloom.foreign.pickles.records import Buffer, Name, Storage, item_size, item_type
from styleloom.foreign.pickles.unpickler import Unpickler

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

MAX_ENTRIES = 100_000
"""Most entries of a zip archive; a file of weights has one for each tensor."""

END_BYTES = 65_557
"""The directory's end is among so many last bytes."""

# ---- storages


def _described(identity: Any) -> tuple[str, str, int]:
    """Type, key and count of a storage from its persistent id."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise UserError("refused, this file refers to something that is no storage")
    kind, key, count = identity[1], identity[2], identity[4]
    if not isinstance(kind, Name) or not isinstance(key, str):
        raise UserError("damaged, a storage without type and key")
    if len(identity) > 5 and identity[5] is not None:
        raise UserError("a file of a PyTorch before 0.4, whose storages are views of others, is not read")
    if type(count) is not int or not 0 <= count < 2**48:
        raise UserError(f"damaged, a storage of {quoted(count)} numbers")
    return item_type(kind.name), key, count


# ---- the older format


def read_legacy(data: Buffer, seen: Seen) -> Any:
    """What a file of the older format holds, all of `data`."""
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and identity[:1] == ("module",) and len(identity) > 1:
            return identity[1]  # a class with its source, which is not looked at
        kind, key, count = _described(identity)
        return storages.setdefault(key, Storage(kind, count))

    at, parts = 0, []
    for _ in range(5):  # magic number, protocol, about the machine, object, keys
        pickle = Unpickler(data, at, seen, persistent)
        parts.append(pickle.load())
        at = pickle.at
    magic, protocol, machine, value, keys = parts
    if magic != MAGIC or protocol != PROTOCOL:
        raise UserError("damaged, this is no file of PyTorch")
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise UserError("a file from a machine of the other byte order is not read")
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise UserError("damaged, the storages are not those that the weights refer to")
    for key in keys:
        storage = storages[key]
        count = unpacked("<q", data, at)
        end = at + 8 + storage.count * item_size(storage.kind)
        if count != storage.count or end > len(data):
            raise UserError(
                f"damaged or cut off, a storage of {storage.count} numbers has {count}, in "
                f"{len(data) - at - 8} bytes"
            )
        storage.fill(data[at + 8 : end])
        at = end
    if at != len(data):
        raise UserError(f"damaged, {len(data) - at} bytes follow the last storage")
    return value


# ---- zip archives


class Entry(NamedTuple):
    """One file of an archive."""

    at: int
    size: int
    stored: bool


def read_zip(data: Buffer, seen: Seen) -> Any:
    """What a file of torch's zip format holds."""
    entries = _entries(data)
    names = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(names) != 1:
        raise UserError(f"a zip archive, but none of PyTorch: {len(names)} files data.pkl in it")
    root = names[0].removesuffix("data.pkl")
    if any(name.startswith(f"{root}code/") for name in entries) or f"{root}constants.pkl" in entries:
        raise UserError("a TorchScript archive, which is a program; save its weights alone")
    if f"{root}byteorder" in entries and bytes(_content(data, entries, f"{root}byteorder")) != b"little":
        raise UserError("a file from a machine of the other byte order is not read")
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        kind, key, count = _described(identity)
        if key not in storages:
            storages[key] = Storage(kind, count)
            storages[key].fill(_content(data, entries, f"{root}data/{key}"))
        return storages[key]

    pickle = Unpickler(_content(data, entries, names[0]), 0, seen, persistent)
    value = pickle.load()
    if pickle.at != pickle.size:
        raise UserError(f"damaged, {pickle.size - pickle.at} bytes follow the end of the pickle")
    return value


def _content(data: Buffer, entries: dict[str, Entry], name: str) -> Buffer:
    """The bytes of an entry, where they are."""
    if name not in entries:
        raise UserError(f"damaged, the archive lacks {quoted(name)}")
    entry = entries[name]
    if not entry.stored:
        raise UserError(f"{quoted(name)} is compressed, which PyTorch never does; unpack and save it anew")
    begin = entry.at + 30 + unpacked("<H", data, entry.at + 26) + unpacked("<H", data, entry.at + 28)
    if unpacked("<I", data, entry.at) != 0x04034B50 or begin + entry.size > len(data):
        raise UserError(f"damaged or cut off, {quoted(name)} is not where the archive says")
    return data[begin : begin + entry.size]


def _entries(data: Buffer) -> dict[str, Entry]:
    """The directory of the archive."""
    tail = bytes(data[-END_BYTES:])
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        raise UserError("damaged or cut off, this zip archive has no directory")
    end = len(data) - len(tail) + found
    count, at = unpacked("<H", data, end + 10), unpacked("<I", data, end + 16)
    if count == 0xFFFF or at == 0xFFFFFFFF:  # zip64
        record = unpacked("<Q", data, end - 20 + 8) if unpacked("<I", data, end - 20) == 0x07064B50 else -1
        count, at = unpacked("<Q", data, record + 32), unpacked("<Q", data, record + 48)
    if count > MAX_ENTRIES:
        raise UserError(f"refused, an archive of {count} files, more than weights need")
    entries: dict[str, Entry] = {}
    for _ in range(count):
        if unpacked("<I", data, at) != 0x02014B50:
            raise UserError("damaged, the directory of this zip archive cannot be read")
        length, extra, comment = (unpacked("<H", data, at + place) for place in (28, 30, 32))
        name = bytes(data[at + 46 : at + 46 + length]).decode("utf-8", "replace")
        if name in entries:
            raise UserError(f"refused, the archive has two files {quoted(name)}")
        size, begin = _sizes(data, at, data[at + 46 + length : at + 46 + length + extra])
        entries[name] = Entry(begin, size, unpacked("<H", data, at + 10) == 0)
        at += 46 + length + extra + comment
    return entries


def _sizes(data: Buffer, at: int, extra: Buffer) -> tuple[int, int]:
    """Size and place of an entry, from its directory record at `at`; large ones stand in `extra`."""
    size, packed, begin = (unpacked("<I", data, at + place) for place in (24, 20, 42))
    place = 0
    while place + 4 <= len(extra):
        kind, length = unpacked("<H", extra, place), unpacked("<H", extra, place + 2)
        if kind == 1:
            field = place + 4
            if size == 0xFFFFFFFF:
                size, field = unpacked("<Q", extra, field), field + 8
            if packed == 0xFFFFFFFF:
                field += 8
            if begin == 0xFFFFFFFF:
                begin = unpacked("<Q", extra, field)
        place += 4 + length
    return size, begin
