"""Columnar scalars: many series in one byte string, bit for bit, and the summary of a series. Pure: it opens nothing.

A file of scalars, version 1. Integers are unsigned and little-endian.

======  ======  ==========================================================================================
offset  size    content
======  ======  ==========================================================================================
0       4       magic: ``TSCL``
4       1       version: 1; a reader refuses any other
5       3       zero
8       4       h, the length of the header in bytes, at most 3.5 MiB
12      h       header: canonical JSON (UTF-8, sorted keys, no white space), see below
12 + h          the stored columns, one after another in the header's order, without gaps, to the end of the file
======  ======  ==========================================================================================

Header: ``{"groups":[{"columns":[[order, codec, stored] x 3],"series":[[title, series, count], ...]}, ...]}``

======  ==================================================================================================
field   meaning
======  ==================================================================================================
series  the series whose points the group's columns hold, one series after another; a (title, series) pair
        occurs once in a file. Long series have a group each; short neighbours share one (the writer's choice)
count   points of one series, 0 to 2^31; n is the sum over a group
columns three: steps (int64), times (int64, microseconds since the epoch), values (float64)
order   0 to 3: how many times each 64-bit word but the first was replaced by its difference to the word
        before it, modulo 2^64; a float64 takes part as the integer of the same bits
codec   0: raw; 1: one zstd frame with a window of at most 8 MiB, whose own size field is not trusted
stored  bytes of the column in the file
======  ==================================================================================================

A decoded column is 8 n bytes: byte 0 (the lowest) of every word, then byte 1 of every word, and so on to byte 7.
Undo the codec, join the bytes to words, then take `order` cumulative sums modulo 2^64.
Unknown members of the header's objects are ignored.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypedDict

from tracker.errors import BadValue, CorruptRecord

if TYPE_CHECKING:
    import numpy as np
    import zstandard
    from numpy.typing import NDArray

    Words = NDArray[np.int64]

MAGIC: Final = b"TSCL"
VERSION: Final = 1
HEADER_MAX: Final = 3584 << 10  # bytes; orjson takes twelve times as many before it begins
HEADER_VALUES: Final = (
    1 << 16
)  # commas, colons, opening brackets in it: room for 2,600 series in groups of their own
COUNT_MAX: Final = 2**31  # points of a series
DECODED_MAX: Final = 32 << 20  # bytes, the default bound of a decoder: 1.4 million points
POINT_SIZE: Final = 24  # bytes: step, time, value

_PREFIX: Final = struct.Struct("<4sB3xI")
_WORD: Final = 8  # bytes
_RAW: Final = 0
_ZSTD: Final = 1
_ORDER_MAX: Final = 3
_LEVEL: Final = 3  # a few percent smaller than level 1 for a tenth more time
_WINDOW_MAX: Final = 8 << 20  # bytes; what level 3 writes stays below 2 MiB
_SHORT: Final = 128  # points; below it a group of its own costs more than the points
_GROUP_MAX: Final = 4096  # points of a shared group, so that reading one short series decodes few others
_SAMPLE: Final = 1024  # words of a column on which the orders compete
_BLOCKS_FROM: Final = 1024  # words; from here a zstd block per byte plane saves more than its header


class CorruptScalars(CorruptRecord):
    """The bytes are not a file of scalars, or claim more than the reader allows."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The points of one series in the order in which they were reported.

    `steps` int64[n], `times` int64[n] in microseconds since the epoch, `values` float64[n]; any values, in any order.
    Columns are numpy arrays; all of a short run's may be `array.array`s of types q, q and d instead, so that closing
    one need not import numpy, which costs more than all the rest.
    """

    title: str
    series: str
    steps: Any
    times: Any
    values: Any


class Summary(TypedDict):
    """What a table shows of a series without reading it; JSON-safe, with values as `number_to_json` spells them.

    `first_` and `last_` are of the first and last report, `min_step` and `max_step` over all. `last` is the value
    reported last, which need not be the one at `max_step`. `min` and `max` ignore NaN unless there is nothing else.
    """

    count: int
    first_step: int
    first_time: int
    last_step: int
    last_time: int
    min_step: int
    max_step: int
    last: float | str
    min: float | str
    max: float | str


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a stored column lies and how to undo it."""

    order: int
    codec: int
    offset: int
    stored: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Three columns and the series that share them."""

    columns: tuple[_Column, _Column, _Column]
    series: tuple[tuple[str, str, int], ...]

    @property
    def count(self) -> int:
        return sum(count for _, _, count in self.series)


def encode(series: Sequence[Series]) -> bytes:
    """The file of these series, in this order.

    Raises BadValue for columns of unequal length or another type, and for a (title, series) pair given twice.
    """
    import orjson
    import zstandard

    _refuse_repeated([(each.title, each.series) for each in series])
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    groups: list[dict[str, Any]] = []
    body: list[bytes] = []
    for members in _grouped(series):
        if isinstance(members[0].steps, array):
            encoded = [_encode_plain(words, compressor) for words in _joined_plain(members)]
        else:
            encoded = [_encode_column(words, compressor) for words in _joined(members)]
        columns = [[order, codec, len(stored)] for order, codec, stored in encoded]
        body += [stored for _, _, stored in encoded]
        names = [[each.title, each.series, len(each.steps)] for each in members]
        groups.append({"columns": columns, "series": names})
    try:
        header = orjson.dumps({"groups": groups}, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise BadValue(f"the title or name of a series is not text that UTF-8 can hold: {error}") from error
    if _too_much(header):
        raise BadValue(f"{len(series)} series need a header of {len(header)} bytes: split them over files")
    return b"".join([_PREFIX.pack(MAGIC, VERSION, len(header)), header, *body])


def decode(data: bytes, *, limit: int = DECODED_MAX) -> list[Series]:
    """All series of a file, in its order; `limit` bounds the decoded bytes (24 a point), before they are allocated.

    Raises CorruptScalars for any bytes that `encode` did not write.
    """
    groups = _parse(data, limit)
    return [each for group in groups for each in _decode_group(data, group)]


def decode_one(data: bytes, title: str, series: str, *, limit: int = DECODED_MAX) -> Series:
    """One series, without decoding the long ones beside it.

    Raises KeyError if the file has no such series, CorruptScalars as `decode` does.
    """
    for group in _parse(data, limit):
        if any(name[:2] == (title, series) for name in group.series):
            return next(
                each for each in _decode_group(data, group) if (each.title, each.series) == (title, series)
            )
    raise KeyError(f"no series {title!r} / {series!r} in these scalars")


def number_to_json(value: float) -> float | str:
    """The float itself, or "nan", "inf", "-inf" for what JSON has no number for. The payload of a NaN is lost."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def number_from_json(value: object) -> float:
    """The float that `number_to_json` wrote. Raises CorruptScalars for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    raise CorruptScalars(f'{value!r:.80} is not a number, nor one of "nan", "inf", "-inf"')


def summarise(series: Series) -> Summary:
    """The summary of a series. Raises BadValue for one without points: it has no last value."""
    if not len(series.steps):
        raise BadValue(f"series {series.title!r} / {series.series!r} has no points to summarise")
    plain = isinstance(series.values, array)
    least, greatest = (_plain_extremes if plain else _extremes)(series.values)
    return Summary(
        count=len(series.steps),
        first_step=int(series.steps[0]),
        first_time=int(series.times[0]),
        last_step=int(series.steps[-1]),
        last_time=int(series.times[-1]),
        min_step=min(series.steps) if plain else int(series.steps.min()),
        max_step=max(series.steps) if plain else int(series.steps.max()),
        last=number_to_json(series.values[-1]),
        min=number_to_json(least),
        max=number_to_json(greatest),
    )


def merge_summaries(a: Summary, b: Summary) -> Summary:
    """The summary of two disjoint ranges of one series. Associative, so that ranges can be folded in any grouping.

    Which range comes first is read from their (time, step); where these are equal, `a` is the earlier one.
    """
    first = b if (b["first_time"], b["first_step"]) < (a["first_time"], a["first_step"]) else a
    last = a if (a["last_time"], a["last_step"]) > (b["last_time"], b["last_step"]) else b
    return Summary(
        count=a["count"] + b["count"],
        first_step=first["first_step"],
        first_time=first["first_time"],
        last_step=last["last_step"],
        last_time=last["last_time"],
        min_step=min(a["min_step"], b["min_step"]),
        max_step=max(a["max_step"], b["max_step"]),
        last=last["last"],
        min=number_to_json(min(number_from_json(a["min"]), number_from_json(b["min"]), key=_ascending)),
        max=number_to_json(min(number_from_json(a["max"]), number_from_json(b["max"]), key=_descending)),
    )


# --- summaries --------------------------------------------------------------------------------------------------


def _ascending(value: float) -> tuple[bool, float, float]:
    """Sorts NaN after all numbers, and -0.0 before 0.0, so that a minimum does not depend on the order of merging."""
    return (True, 0.0, 0.0) if math.isnan(value) else (False, value, math.copysign(1.0, value))


def _descending(value: float) -> tuple[bool, float, float]:
    return (True, 0.0, 0.0) if math.isnan(value) else (False, -value, -math.copysign(1.0, value))


def _plain_extremes(values: array[float]) -> tuple[float, float]:
    return min(values, key=_ascending), min(values, key=_descending)


def _extremes(values: NDArray[np.float64]) -> tuple[float, float]:
    """Least and greatest number by the rules of `_ascending`; NaN twice if there is no number."""
    import numpy as np

    numbers = values[~np.isnan(values)]
    if not len(numbers):
        return math.nan, math.nan
    least, greatest = float(numbers.min()), float(numbers.max())
    if least == 0.0 or greatest == 0.0:  # numpy's minimum of 0.0 and -0.0 is either
        negative = np.signbit(numbers[numbers == 0.0])
        least = (-0.0 if negative.any() else 0.0) if least == 0.0 else least
        greatest = (-0.0 if negative.all() else 0.0) if greatest == 0.0 else greatest
    return least, greatest


# --- encoding ---------------------------------------------------------------------------------------------------


def _refuse_repeated(names: list[tuple[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    for name in names:
        if name in seen:
            raise BadValue(f"series {name[0]!r} / {name[1]!r} is given twice: join its points")
        seen.add(name)


def _grouped(series: Sequence[Series]) -> Iterator[list[Series]]:
    """Neighbours that are short share a group; every other series is alone."""
    waiting: list[Series] = []
    points = 0
    for each in series:
        count = len(each.steps)
        if waiting and (count >= _SHORT or points + count > _GROUP_MAX):
            yield waiting
            waiting, points = [], 0
        if count >= _SHORT:
            yield [each]
        else:
            waiting.append(each)
            points += count
    if waiting:
        yield waiting


def _joined(members: list[Series]) -> Iterator[Words]:
    """The three columns of a group as 64-bit words."""
    import numpy as np

    for each in members:
        lengths = (len(each.steps), len(each.times), len(each.values))
        if len(set(lengths)) != 1 or lengths[0] > COUNT_MAX:
            raise BadValue(
                f"series {each.title!r} / {each.series!r} has {lengths[0]} steps, {lengths[1]} times and "
                f"{lengths[2]} values: it needs as many of each, and at most {COUNT_MAX}"
            )
    for column, dtype in (("steps", "<i8"), ("times", "<i8"), ("values", "<f8")):
        parts = []
        for each in members:
            part = np.asarray(getattr(each, column))
            if part.ndim != 1 or not np.can_cast(part.dtype, dtype, "safe"):
                raise BadValue(
                    f"{column} of series {each.series!r} are {part.dtype}, {part.ndim}-d: not 1-d {dtype}"
                )
            parts.append(part.astype(dtype, copy=False))
        joined = np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])
        yield joined.view("<i8")


def _joined_plain(members: list[Series]) -> Iterator[array[int]]:
    """The same without numpy, of columns that are `array.array`s."""
    for column in ("steps", "times", "values"):
        yield array("q", b"".join(getattr(each, column).tobytes() for each in members))


def _encode_plain(words: array[int], compressor: zstandard.ZstdCompressor) -> tuple[int, int, bytes]:
    """What `_encode_column` does, without numpy and so without a sample: for short columns."""
    trial, raw = words, _plain_planes(words)
    best = (0, _RAW, raw)
    for order in range(_ORDER_MAX + 1):
        packed = compressor.compress(_plain_planes(trial))
        if len(packed) < len(best[2]):
            best = (order, _ZSTD, packed)
        trial = array("q", trial[:1])
        trial.extend((b - a + 2**63) % 2**64 - 2**63 for a, b in pairwise(words))
        words = trial
    return best


def _plain_planes(words: array[int]) -> bytes:
    data = words.tobytes()
    return b"".join(data[plane::_WORD] for plane in range(_WORD))


def _encode_column(words: Words, compressor: zstandard.ZstdCompressor) -> tuple[int, int, bytes]:
    """(order, codec, stored bytes): the order that does best on a sample, raw where zstd does not help."""

    def sampled(residual: Words) -> int:
        return len(compressor.compress(_planes(_sample(residual)).data))

    order, best, least = 0, words, sampled(words)
    trial = words
    for candidate in range(1, _ORDER_MAX + 1):
        trial = _difference(trial)
        size = sampled(trial)
        if size < least:
            order, best, least = candidate, trial, size
    planes = _planes(best)
    packed = _compress(planes, compressor)
    if len(packed) < planes.nbytes:
        return order, _ZSTD, packed
    return 0, _RAW, _planes(words).tobytes()


def _difference(words: Words) -> Words:
    """Each word but the first minus the one before it, wrapping."""
    import numpy as np

    result: Words = words.copy()
    np.subtract(words[1:], words[:-1], out=result[1:])
    return result


def _sample(words: Words) -> Words:
    """Four windows spread over the column, so that neither a warm-up nor an end decides for all of it."""
    import numpy as np

    if len(words) <= _SAMPLE:
        return words
    window = _SAMPLE // 4
    starts = [(len(words) - window) * quarter // 3 for quarter in range(4)]
    return np.concatenate([words[start : start + window] for start in starts])


def _planes(words: Words) -> NDArray[np.uint8]:
    """uint8[8, n]: byte 0 of every word, then byte 1, …"""
    import numpy as np

    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, _WORD).T)


def _compress(planes: NDArray[np.uint8], compressor: zstandard.ZstdCompressor) -> bytes:
    """One zstd frame. In a long column each plane gets blocks of its own, and so a code table that fits it."""
    import zstandard

    if planes.shape[1] < _BLOCKS_FROM:
        return compressor.compress(planes.data)
    stream = compressor.compressobj(size=planes.nbytes)
    parts = []
    for plane in planes:
        parts.append(stream.compress(plane.data))
        parts.append(stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    parts.append(stream.flush())
    return b"".join(parts)


# --- decoding ---------------------------------------------------------------------------------------------------


def _parse(data: bytes, limit: int) -> list[_Group]:
    """The groups of a file, with every length checked against the file and the limit. Decodes no column."""
    import orjson

    if len(data) < _PREFIX.size:
        raise CorruptScalars(f"{len(data)} bytes are too few for a file of scalars")
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC or version != VERSION or any(data[5:8]):
        raise CorruptScalars(f"not scalars of version {VERSION}: begins with {data[:8]!r}")
    start = _PREFIX.size + length
    if start > len(data) or _too_much(data[_PREFIX.size : start]):
        raise CorruptScalars(f"a header of {length} bytes in a file of {len(data)} (at most {HEADER_MAX})")
    try:
        header = orjson.loads(memoryview(data)[_PREFIX.size : start])
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise CorruptScalars(f"the header is not JSON: {error}") from error
    groups = []
    offset = start
    for raw in _listed(header, "groups"):
        group = _parse_group(raw, offset)
        groups.append(group)
        offset = group.columns[-1].offset + group.columns[-1].stored
    if offset != len(data):
        raise CorruptScalars(f"the columns end at byte {offset} of {len(data)}")
    _check_claims(groups, limit)
    return groups


def _too_much(header: bytes) -> bool:
    """Whether a header would take more than 64 MiB to be read."""
    from objstore.records import count_values

    return len(header) > HEADER_MAX or count_values(header, HEADER_VALUES) > HEADER_VALUES


def _check_claims(groups: list[_Group], limit: int) -> None:
    points = sum(group.count for group in groups)
    if points * POINT_SIZE > limit:
        raise CorruptScalars(
            f"{points} points need {points * POINT_SIZE} bytes, more than the limit of {limit}"
        )
    try:
        _refuse_repeated([name[:2] for group in groups for name in group.series])
    except ValueError as error:
        raise CorruptScalars(str(error)) from error


def _listed(record: object, member: str) -> list[Any]:
    value = record.get(member) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise CorruptScalars(f"the header has no list {member!r} where one belongs")
    return value


def _natural(value: object, most: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise CorruptScalars(f"{what} is {value!r:.40}: not an integer from 0 to {most}")
    return value


def _parse_group(raw: object, offset: int) -> _Group:
    """One group of the header whose first column lies at `offset`."""
    columns = []
    for column in _listed(raw, "columns"):
        if not isinstance(column, list) or len(column) != 3:
            raise CorruptScalars(f"a column is {column!r:.80}: not [order, codec, stored]")
        order = _natural(column[0], _ORDER_MAX, "an order")
        codec = _natural(column[1], _ZSTD, "a codec")
        stored = _natural(column[2], 2**62, "a stored length")
        columns.append(_Column(order, codec, offset, stored))
        offset += stored
    if len(columns) != 3:
        raise CorruptScalars(f"a group has {len(columns)} columns, not steps, times and values")
    series = []
    for name in _listed(raw, "series"):
        if (
            not isinstance(name, list)
            or len(name) != 3
            or not all(isinstance(part, str) for part in name[:2])
        ):
            raise CorruptScalars(f"a series is {name!r:.80}: not [title, series, count]")
        series.append((name[0], name[1], _natural(name[2], COUNT_MAX, "a count")))
    return _Group((columns[0], columns[1], columns[2]), tuple(series))


def _decode_group(data: bytes, group: _Group) -> Iterator[Series]:
    """The group's series; those that share it share the memory of its arrays too."""
    steps, times, values = (_decode_column(data, column, group.count) for column in group.columns)
    floats = values.view("<f8")
    start = 0
    for title, name, count in group.series:
        part = slice(start, start + count)
        yield Series(title, name, steps[part], times[part], floats[part])
        start += count


def _decode_column(data: bytes, column: _Column, count: int) -> Words:
    import numpy as np

    stored = memoryview(data)[column.offset : column.offset + column.stored]
    if column.codec == _RAW:
        if len(stored) != count * _WORD:
            raise CorruptScalars(f"a raw column of {count} words is {len(stored)} bytes")
        planes = np.frombuffer(stored, np.uint8)
    else:
        planes = _decompress(stored, count * _WORD)
    words = np.empty(count, "<i8")
    words.view(np.uint8).reshape(-1, _WORD).T[:] = planes.reshape(_WORD, count)
    for _ in range(column.order):
        np.cumsum(words, out=words)
    return words


def _decompress(stored: memoryview, size: int) -> NDArray[np.uint8]:
    """Exactly `size` bytes out of a zstd frame. They are counted here: the frame's own size field proves nothing."""
    import numpy as np
    import zstandard

    # Untouched pages of `empty` are no memory yet, so a frame that ends early costs only what it did decode.
    result = np.empty(size, np.uint8)
    filled = 0
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)
        with decompressor.stream_reader(stored, read_across_frames=False) as reader:
            while filled < size and (read := reader.readinto(result.data[filled:])):
                filled += read
            extra = reader.read(1)
    except zstandard.ZstdError as error:
        raise CorruptScalars(f"a column's zstd frame is broken: {error}") from error
    if filled != size or extra:
        raise CorruptScalars(f"a column has {filled} bytes{' and more' if extra else ''}, not {size}")
    return result
