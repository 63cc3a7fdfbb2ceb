"""Makes pages.jsonl: parts of run files, written from the chapters alone, and what a reader must say to them.

Each line: "what" (header, trailer, frame, column page, sorted page, filter page), "note", "hex", and either what it
holds ("cells": [ordinal, value or null]; "entries": [key, value or null], in hex; …) or "error": the reason.
Run it without arguments in this directory; needs nothing but Python.
"""
import json
import struct
import zlib

lines = []


def add(what, note, data, **expect):
    lines.append({"what": what, "note": note, "hex": data.hex(), **expect})


def u16(n):
    return struct.pack("<H", n)


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def summed(body):
    return body + u32(zlib.crc32(body))


# --- header, trailer, frame ---
def header(magic=b"STOARUN\0", read=1, write=1, kind=2, cipher=1, reserved=b"\0\0", tail=bytes(44)):
    return summed(magic + u16(read) + u16(write) + bytes([kind, cipher]) + reserved + b"\x07" * 16 + u64(0x7F3A)
                  + u32(3) + u32(0) + b"\x09" * 32 + tail)


add("header", "a column partition", header(), kind=2, file=0x7F3A, key_epoch=3)
add("header", "a newer write version is read", header(write=9), kind=2, file=0x7F3A, key_epoch=3)
add("header", "another magic", header(magic=b"STOAWAL\0"), error="not a run file")
add("header", "a newer read version", header(read=2), error="written by a newer version")
add("header", "a kind that is not there", header(kind=4), error="unknown number")
add("header", "a cipher that is not there", header(cipher=2), error="unknown cipher")
add("header", "a reserved byte is set", header(reserved=b"\0\1"), error="reserved bytes are not zero")
add("header", "a reserved byte is set at the end", header(tail=bytes(43) + b"\1"), error="reserved bytes are not zero")
add("header", "cut", header()[:-1], error="too short")
add("header", "a byte changed", header()[:60] + b"\0" + header()[61:], error="checksum does not match")


def trailer(magic=b"STOAREND", offset=1000, size=500, zero=0):
    return summed(magic + u64(offset) + u32(size) + u32(9) + b"\x05" * 32 + u32(zero))


add("trailer", "of a file of 1,564 bytes", trailer(), file_bytes=1564, page_count=9)
add("trailer", "the footer is not right before it", trailer(offset=999), file_bytes=1564,
    error="the footer does not stand before the trailer")
add("trailer", "the footer would be in the header", trailer(offset=100), file_bytes=664,
    error="the footer does not stand before the trailer")
add("trailer", "a footer too short to be sealed", trailer(size=55), file_bytes=1119,
    error="the footer does not stand before the trailer")
add("trailer", "another magic", trailer(magic=b"STOAEND\0"), file_bytes=1564, error="the file has no trailer")
add("trailer", "a reserved byte is set", trailer(zero=1), file_bytes=1564, error="reserved bytes are not zero")


def frame(sealed, size=None, kind=1, zero=0):
    rest = u32(len(sealed) if size is None else size) + u32(2) + u16(1) + bytes([kind, zero])
    return u32(zlib.crc32(rest + sealed)) + rest + sealed


add("frame", "a data page", frame(bytes(50)), page=2, section=1)
add("frame", "a length that is not the page's", frame(bytes(50), size=51), error="length differs from the directory's")
add("frame", "too short to be sealed", frame(bytes(39)), error="length out of bounds")
add("frame", "a kind that is not there", frame(bytes(50), kind=9), error="unknown page kind")
add("frame", "a bit of the page changed", frame(bytes(50))[:-1] + b"\1", error="checksum does not match")


# --- blocks ---
def packed(numbers, width):
    bits = sum(n << (i * width) for i, n in enumerate(numbers))
    return bits.to_bytes((len(numbers) * width + 7) // 8, "little") + bytes(8)


def width(w, zero=0):
    return bytes([w]) + bytes(6) + bytes([zero])


def strings(values, cut=0):
    data = b"".join(values)
    slope = (len(data) << 16) // len(values)
    starts = [sum(len(v) for v in values[:i]) for i in range(len(values) + 1)]
    residuals = [start - (i * slope >> 16) for i, start in enumerate(starts)]
    base = min(residuals)
    w = (max(residuals) - base).bit_length()
    return (u32(len(values)) + u32(len(data)) + u64(slope) + struct.pack("<i", base) + bytes([w, 0, 0, 0])
            + packed([r - base for r in residuals], w) + data[:len(data) - cut])


def rows(values, shifts=None, bucket_bits=0, starts=None):
    """A row block; of each word as many low bits are left out as `shifts` says, which are the same in all rows. The upper
    `bucket_bits` of the first word are left out too; `starts` are where the buckets are said to start."""
    length = len(values[0])
    words = [[int.from_bytes(v[at:at + 8].ljust(8, b"\0"), "big") for at in range(0, length, 8)] for v in values]
    bits, used = 0, 0
    shifts = shifts or [8 * (8 * (i + 1) - length) if 8 * (i + 1) > length else 0 for i in range(len(words[0]))]
    widths = [((max(c) - min(c)) >> shift).bit_length() for c, shift in zip(zip(*words), shifts)]
    bases = [min(c) for c in zip(*words)]
    head = b"".join(u64(base) + bytes([w, shift]) for base, w, shift in zip(bases, widths, shifts))
    if bucket_bits:
        widths[0] -= bucket_bits
        found = [row[0] - bases[0] >> shifts[0] + widths[0] for row in words]
        starts = starts or [sum(f < b for f in found) for b in range((1 << bucket_bits) + 1)]
        beyond = [start - (b * len(values) >> bucket_bits) for b, start in enumerate(starts)]
        w = (max(beyond) - min(beyond)).bit_length()
        head = bytes([length, bucket_bits, w, 0]) + struct.pack("<i", min(beyond)) + head
        head += packed([b - min(beyond) for b in beyond], w)
    else:
        head = bytes([length]) + bytes(7) + head
    for row in words:
        for word, base, w, shift in zip(row, bases, widths, shifts):
            bits |= (word - base >> shift & (1 << w) - 1) << used
            used += w
    return head + bits.to_bytes(-(-used // 8), "little") + bytes(8)


# --- column pages ---
def page(encoding, values, count, first=100, span=None, form=0, w=0, ordinals=b"", absent=None, flags=None):
    flags = (1 if absent is not None else 0) if flags is None else flags
    return (bytes([encoding, form, flags, w]) + u32(count) + u64(first) + u32(count if span is None else span) + u32(0)
            + ordinals + (absent or b"") + values)


def cells(values, first=100):
    return [[first + i, v] for i, v in enumerate(values)]


numbers = struct.pack("<q", -5) + width(4) + packed([0, 15, 7], 4)
add("column page", "integers", page(1, numbers, 3), cells=cells([-5, 10, 2]))
add("column page", "integers that are all the same take no bits",
    page(1, struct.pack("<q", 9) + width(0) + packed([], 0), 3), cells=cells([9, 9, 9]))
add("column page", "integers as far apart as they can be",
    page(1, struct.pack("<q", -2**63) + width(64) + packed([0, 2**64 - 1], 64), 2),
    cells=cells([-9223372036854775808, 9223372036854775807]))
add("column page", "an explicit null", page(1, numbers, 3, absent=b"\x02"), cells=[[100, -5], [101, None], [102, 2]])
add("column page", "a list of ordinals",
    page(1, numbers, 3, form=2, w=10, span=1001, ordinals=packed([0, 7, 1000], 10)),
    cells=[[100, -5], [107, 10], [1100, 2]])
bitmap = u64(1 | 1 << 63) + u64(0) * 3 + u64(1) + u16(0) + u16(2)
add("column page", "a bitmap of ordinals", page(1, numbers, 3, form=1, span=257, ordinals=bitmap),
    cells=[[100, -5], [163, 10], [356, 2]])
ids = [bytes([1] * 8 + [i] * 8) for i in (3, 9)]
add("column page", "rows that share eight bytes", page(2, rows(ids, [0, 1]), 2), cells=cells([i.hex() for i in ids]))
names = [b"Ada", b"", b"Grace Hopper"]
add("column page", "strings", page(3, strings(names), 3), cells=cells([n.hex() for n in names]))
dictionary = strings([b"de-DE", b"en-US"]) + width(1) + packed([1, 0, 1, 1], 1)
add("column page", "a dictionary", page(4, dictionary, 4),
    cells=cells([v.hex() for v in (b"en-US", b"de-DE", b"en-US", b"en-US")]))
template = bytes([0, 3]) + b"$a$" + bytes([2]) + u16(4) + bytes([0, 1]) + b"$" + bytes([1]) + u16(4)
passwords = strings([template, b""]) + width(1) + packed([0, 1], 1) + strings([b"\x00\x10\x83\xbe\xef", b"odd"])
add("column page", "passwords: base64, hexadecimal, and one kept as it is", page(5, passwords, 2),
    cells=cells([b"$a$ABCD$beef".hex(), b"odd".hex()]))
kept = strings([bytes([0x85]) + u16(2)]) + width(0) + packed([], 0) + strings([b"\x00\x10"])
add("column page", "passwords: bits left over are kept", page(5, kept, 1), cells=cells([b"./".hex()]))
symbols = bytes([2, 0, 0, 0, 1, 7]) + b"x" + b"example"
add("column page", "strings that refer to symbols of no page", page(7, u32(0) + u32(0) + u64(7) + strings([b"\0"]), 1),
    error="the symbols are not in the page that is named")
add("column page", "a reserved byte in a reference", page(7, u32(0) + u32(1) + u64(7) + strings([b"\0"]), 1),
    error="reserved bytes are not zero")
add("column page", "compressed strings", page(6, symbols + strings([b"\x01\x00\xff!", b""]), 2),
    cells=cells([b"examplex!".hex(), ""]))

add("column page", "no entry", page(1, numbers, 0, span=3), error="entries are none or too many")
add("column page", "an encoding that is not there", page(8, numbers, 3), error="unknown encoding")
add("column page", "a form that is not there", page(1, numbers, 3, form=3), error="unknown form")
add("column page", "a flag that is not there", page(1, numbers, 3, flags=2), error="unknown flag")
add("column page", "dense, but with gaps", page(1, numbers, 3, span=4), error="dense, but span and entries differ")
add("column page", "more entries than ordinals", page(1, numbers, 3, span=2),
    error="span below the number of entries, or past the last ordinal")
add("column page", "past the last ordinal", page(1, numbers, 3, first=2**64 - 3),
    error="span below the number of entries, or past the last ordinal")
add("column page", "wider than 64 bits", page(1, struct.pack("<q", 0) + width(65) + bytes(40), 3), error="width above 64 bits")
add("column page", "numbers cut", page(1, numbers[:-1], 3), error="area runs past the page")
add("column page", "a byte more", page(1, numbers + b"\0", 3), error="bytes behind the end")
add("column page", "a reserved byte is set", page(1, struct.pack("<q", 0) + width(0, 1) + bytes(8), 3),
    error="reserved bytes are not zero")
add("column page", "strings cut", page(3, strings(names, cut=1), 3), error="strings run past the page")
add("column page", "strings whose residuals are too wide", page(3, strings(names)[:20] + b"\x21" + strings(names)[21:], 3),
    error="residuals have more than 32 bits")
add("column page", "strings of a mean length that they have not", page(3, strings(names)[:8] + u64(1 << 40)
    + strings(names)[16:], 3), error="the mean length is more than the strings have")
add("column page", "fewer strings than entries", page(3, strings(names), 4, span=4),
    error="number of strings differs from the number of entries")
add("column page", "rows of another length", page(2, rows([b"123", b"456"]), 2), error="rows are not of 16 bytes")
add("column page", "indexes too wide", page(4, strings([b"a"]) + width(17) + bytes(99), 1),
    error="indexes are wider than 16 bits")
add("column page", "an index without a value", page(4, strings([b"a", b"b"]) + width(2) + packed([0, 3], 2), 2),
    cells_error="no such string")
add("column page", "bits left over behind a hash", page(5, strings([template]) + width(0) + packed([], 0) + strings([b"\0" * 6]), 1),
    cells_error="bytes behind the end")
add("column page", "a token that is not there",
    page(5, strings([b"\x09\x01\x00"]) + width(0) + packed([], 0) + strings([b"\0"]), 1), cells_error="unknown token")
add("column page", "a symbol of nine bytes", page(6, bytes([1, 0, 0, 0, 9]) + b"123456789" + strings([b""]), 1),
    error="a symbol is empty or longer than 8 bytes")
add("column page", "a number without a symbol", page(6, symbols + strings([b"\x02"]), 1), cells_error="a number has no symbol")
add("column page", "an escape at the end", page(6, symbols + strings([b"\xff"]), 1), cells_error="a string ends in an escape")


# --- sorted pages ---
def entries(*pairs):
    return [[k.hex(), None if v is None else v.hex()] for k, v in pairs]


def fixed(keys, values, flags=0, bits=b"", interval=0, **buckets):
    return bytes([1, flags]) + u16(interval) + u32(len(keys)) + bits + rows(keys, **buckets) + rows(values)


add("sorted page", "rows that share their first and last bytes",
    fixed([b"a1z", b"a2z"], [b"x", b"y"]), entries=entries((b"a1z", b"x"), (b"a2z", b"y")))
add("sorted page", "rows with a tombstone", fixed([b"1", b"2"], [b"", b""], 1, b"\x01"),
    entries=entries((b"1", None), (b"2", b"")))


three = [b"\x10", b"\x12", b"\x1f"]
none = [b""] * 3
add("sorted page", "rows in two buckets", fixed(three, none, bucket_bits=1), entries=entries(*zip(three, none)))
add("sorted page", "rows in sixteen buckets, most of them empty", fixed(three, none, bucket_bits=4),
    entries=entries(*zip(three, none)))
for name, starts in [("do not start at 0", [1, 2, 3]), ("go back", [0, 4, 3]), ("end before the last row", [0, 2, 2])]:
    add("sorted page", "buckets that " + name, fixed(three, none, bucket_bits=1, starts=starts),
        error="buckets do not ascend over all rows")
add("sorted page", "buckets of more bits than rows have", fixed(three, none, bucket_bits=4)[:9] + b"\5"
    + fixed(three, none, bucket_bits=4)[10:], error="buckets of more bits than rows have")
add("sorted page", "starts of buckets that are too wide", fixed(three, none, bucket_bits=1)[:10] + b"\x21"
    + fixed(three, none, bucket_bits=1)[11:], error="starts of buckets have more than 32 bits")
add("sorted page", "starts without buckets", fixed(three, none)[:10] + b"\1" + fixed(three, none)[11:],
    error="buckets are too many, or have starts and are none")


def prefixed(body, restarts, count, interval=16, length=None):
    return (bytes([2, 0]) + u16(interval) + u32(count) + u32(len(body) if length is None else length)
            + b"".join(u32(r) for r in restarts) + body)


two = b"\0\2\2abx" + b"\2\1\0c"
add("sorted page", "prefixes, as in the chapter", prefixed(two, [0], 2), entries=entries((b"ab", b"x"), (b"abc", None)))
add("sorted page", "a restart at each entry", prefixed(b"\0\2\2abx" + b"\0\3\0abc", [0, 6], 2, interval=1),
    entries=entries((b"ab", b"x"), (b"abc", None)))
def tailed(body, restarts, tails, length=None):
    return (bytes([3, 0]) + u16(16) + u32(len(tails)) + rows(tails) + u32(len(body) if length is None else length)
            + b"".join(u32(r) for r in restarts) + body)


long = b"x" * 20
add("sorted page", "tails", tailed(b"\x02ab\x21c", [0], [b"\0\7", b"\0\4"]),
    entries=entries((b"ab\0\7", b""), (b"abc\0\4", b"")))
add("sorted page", "tails of one head", tailed(b"\x02ab\x20", [0], [b"4", b"7"]),
    entries=entries((b"ab4", b""), (b"ab7", b"")))
add("sorted page", "heads of 20 bytes", tailed(b"\x0f\5" + long + b"\xf1\5y", [0], [b"4", b"3"]),
    entries=entries((long + b"4", b""), (long + b"y3", b"")))
add("sorted page", "a head that shares the tail before", tailed(b"\x02ab\x31c", [0], [b"c4", b"c7"]),
    entries_error="an entry shares more than the key before has")
add("sorted page", "a head that runs past the page", tailed(b"\x09ab", [0], [b"4"]), entries_error="too short")
add("sorted page", "tails cut", tailed(b"\x02ab", [0], [b"4"])[:14], error="too short")
add("sorted page", "no entry", prefixed(b"", [], 0), error="entries are none or too many")
add("sorted page", "an encoding that is not there", b"\4" + prefixed(two, [0], 2)[1:], error="unknown encoding or flag")
add("sorted page", "prefixes without restarts", prefixed(two, [0], 2, interval=0), error="unknown encoding or flag")
add("sorted page", "entries cut", prefixed(two[:-1], [0], 2, length=len(two)), error="too short")
add("sorted page", "a byte more", prefixed(two + b"\0", [0], 2, length=len(two)), error="bytes behind the end")
add("sorted page", "more shared than the key before has", prefixed(b"\0\2\2abx" + b"\3\1\0c", [0], 2),
    entries_error="an entry shares more than the key before has")
add("sorted page", "a key that runs past the page", prefixed(b"\0\x7f\2abx", [0], 1), entries_error="too short")
add("sorted page", "a varint of 33 bits", prefixed(b"\0\xff\xff\xff\xff\x1f\1", [0], 1), entries_error="number above 32 bits")
add("sorted page", "a row longer than 32 bytes", fixed([b"k" * 33], [b""]),
    error="a row is longer than 32 bytes")
add("sorted page", "bits behind a row", fixed([b"a", b"c"], [b"", b""])[:16] + u64(0x6100000000000001) + bytes([1, 57]) + b"\2"
    + bytes(16), error="a word has bits behind the row")
add("sorted page", "rows of words of all bits", fixed([b"\0" * 9, b"\xff" * 9], [b"", b""]),
    entries=entries((b"\0" * 9, b""), (b"\xff" * 9, b"")))

# XXH3-64 of the keys is not computed here: a filter of set bits holds everything, one of clear bits nothing.
add("filter page", "every bit set", u32(1) + u32(0) + b"\xff" * 32, holds=True)
add("filter page", "no bit set", u32(2) + u32(0) + bytes(64), holds=False)
add("filter page", "no block", u32(0) + u32(0), error="length is not that of the blocks")
add("filter page", "a block cut", u32(1) + u32(0) + bytes(31), error="length is not that of the blocks")

with open("pages.jsonl", "w", encoding="ascii") as out:
    for line in lines:
        out.write(json.dumps(line) + "\n")
