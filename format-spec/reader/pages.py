"""What Kaitai Struct cannot say of a page: bit-packed numbers, rows, strings, password templates, bitmaps."""
import struct

from seal import check

ALPHABETS = {
    2: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    3: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    4: "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    5: "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
}


def numbers(packed):
    """The numbers of a packed area."""
    area, width = int.from_bytes(packed.bits, "little"), packed.width
    mask = (1 << width) - 1
    return [(area >> (i * width)) & mask for i in range(packed.count)]


def rows(block):
    """The rows of a row block."""
    ends = [word.base + ((1 << word.width) - 1 << word.shift) for word in block.words]
    check(all(end < 1 << 64 for end in ends), "row block: a word has more than 64 bits")
    leading = next((i for i, word in enumerate(block.words) if word.width), 0)
    in_bucket = buckets(block)
    bits, out = int.from_bytes(block.bits, "little"), []
    for bucket in in_bucket:
        row = b""
        for i, word in enumerate(block.words):
            width = word.width - (block.bucket_bits if i == leading else 0)
            kept, bits = bits & (1 << width) - 1, bits >> width
            kept += bucket << width if i == leading else 0
            row += (word.base + (kept << word.shift) & (1 << 64) - 1).to_bytes(8, "big")
        out.append(row[: block.len_row])
    return out


def buckets(block):
    """The bucket of each row of a row block: 0 where there are none."""
    if not block.bucket_bits:
        check(block.start_width == 0 and block.start_base == 0, "row block: starts without buckets")
        return [0] * block.count
    leading_width = next((word.width for word in block.words if word.width), 0)
    check(block.bucket_bits <= leading_width, "row block: buckets of more bits than rows have")
    starts = [(b * block.count >> block.bucket_bits) + block.start_base + more for b, more in enumerate(numbers(block.starts))]
    ascend = all(before <= after for before, after in zip(starts, starts[1:]))
    check(starts[0] == 0 and starts[-1] == block.count and ascend, "row block: buckets do not ascend over all rows")
    return [b for b, (start, end) in enumerate(zip(starts, starts[1:])) for _ in range(end - start)]


def strings(block):
    """The strings of a string block."""
    check(block.count * block.slope <= block.len_data << 16, "string block: the mean length is more than the strings have")
    starts = [(i * block.slope >> 16) + block.base + r for i, r in enumerate(numbers(block.residuals))]
    for before, after in zip(starts, starts[1:]):
        check(0 <= before <= after <= block.len_data, "string block: a string's place is out of bounds")
    return [block.data[a:b] for a, b in zip(starts, starts[1:])]


def expand(symbols, compressed):
    """A compressed string, with its symbols put in."""
    out, at = b"", 0
    while at < len(compressed):
        code = compressed[at]
        if code == 255:
            check(at + 1 < len(compressed), "compressed strings: a string ends in an escape")
            out += compressed[at + 1 : at + 2]
            at += 2
            continue
        check(code < len(symbols), "compressed strings: a number has no symbol")
        out += symbols[code]
        at += 1
    return out


def join(template, raw):
    """A password hash out of its template and its raw bits."""
    if not template:
        return raw
    out, at, used = b"", 0, 0
    while at < len(template):
        kind = template[at]
        if kind == 0:
            length = template[at + 1]
            out += template[at + 2 : at + 2 + length]
            at += 2 + length
            continue
        (chars,) = struct.unpack_from("<H", template, at + 1)
        at += 3
        if kind == 1:
            size = chars // 2
            out += raw[used : used + size].hex().encode()
        elif kind == 6:
            size = chars
            out += raw[used : used + size]
        else:
            alphabet = ALPHABETS[kind & 0x7F]
            size = -(-chars * 6 // 8) if kind & 0x80 else chars * 6 // 8
            bits = int.from_bytes(raw[used : used + size] + b"\0", "big")
            total = (size + 1) * 8
            out += "".join(alphabet[bits >> (total - 6 * (i + 1)) & 63] for i in range(chars)).encode()
        used += size
    check(used == len(raw), "password template: bits are left over or missing")
    return out


def ordinals(page):
    """The ordinals of a column page's entries."""
    form = page.form.name
    check(form == "list" or page.width == 0, "column page: a width without a list")
    check(page.span >= page.count and page.first + page.span < 1 << 64, "column page: past the last ordinal")
    if form == "dense":
        check(page.span == page.count, "column page: dense, but span and entries differ")
        return [page.first + i for i in range(page.count)]
    if form == "list":
        return [page.first + offset for offset in numbers(page.list)]
    found, counts = [], []
    for at, word in enumerate(page.bitmap.words):
        if at % 4 == 0:
            counts.append(len(found))
        found += [page.first + at * 64 + bit for bit in range(64) if word >> bit & 1]
    check(counts == page.bitmap.counts, "column page: the counts of the bitmap are wrong")
    return found


def values(page, symbols):
    """The values of a column page's entries, those of absent ones too; `symbols` are those of pages before it."""
    encoding, values = page.encoding.name, page.values
    if encoding == "integers":
        found = [values.min + n & (1 << 64) - 1 for n in numbers(values.offsets.numbers)]
        return [n - (1 << 64) if n >> 63 else n for n in found]
    if encoding == "rows":
        check(values.len_row == 16, "column page: rows are not of 16 bytes")
        return rows(values)
    if encoding == "strings":
        return strings(values)
    if encoding in ("compressed", "referring"):
        check(encoding == "compressed" or values.page in symbols, "compressed strings: the symbols are not there")
        table = values.symbols if encoding == "compressed" else symbols[values.page]
        return [expand(table, compressed) for compressed in strings(values.strings)]
    if encoding == "dictionary":
        distinct = strings(values.values)
        return [distinct[code] for code in numbers(values.indexes.numbers)]
    templates = strings(values.templates)
    codes = numbers(values.indexes.numbers)
    return [join(templates[code], raw) for code, raw in zip(codes, strings(values.raw))]


def cells(page, symbols):
    """(ordinal, value) of every entry; None for an explicit null. `symbols` are those of the section's pages before
    this one, by number."""
    places, found = ordinals(page), values(page, symbols)
    check(len(places) == len(found) == page.count, "column page: entries are missing")
    if page.has_absent:
        found = [None if page.absent[i // 8] >> (i % 8) & 1 else value for i, value in enumerate(found)]
    return list(zip(places, found))


def entries(page):
    """(key, value) of every entry of a sorted page; None for a tombstone."""
    body = page.body
    if page.encoding.name == "rows":
        check(page.interval == 0, "sorted page: rows with an interval")
        found = list(zip(rows(body.keys), rows(body.values)))
        if page.has_tombstones:
            gone = body.tombstones
            found = [(k, None if gone[i // 8] >> (i % 8) & 1 else v) for i, (k, v) in enumerate(found)]
    elif page.encoding.name == "tails":
        check(page.has_tombstones == 0, "sorted page: tails with a flag")
        found, head = [], b""
        for entry, tail in zip(body.entries.entries, rows(body.tails)):
            check(entry.shared <= len(head), "sorted page: an entry shares more than the key before has")
            head = head[: entry.shared] + entry.bytes
            found.append((head + tail, b""))
    else:
        check(page.has_tombstones == 0, "sorted page: prefixes with a flag")
        found, key = [], b""
        for entry in body.entries.entries:
            check(entry.shared.value <= len(key), "sorted page: an entry shares more than the key before has")
            key = key[: entry.shared.value] + entry.key
            found.append((key, entry.value if entry.len_value_plus_1.value else None))
    check(all(a < b for (a, _), (b, _) in zip(found, found[1:])), "sorted page: keys do not ascend")
    return found


def roaring(data):
    """The numbers of a roaring bitmap in its portable serialisation."""
    if not data:
        return []
    (cookie,) = struct.unpack_from("<I", data)
    at = 4
    if cookie & 0xFFFF == 12347:
        count = (cookie >> 16) + 1
        run_flags = data[at : at + (count + 7) // 8]
        at += len(run_flags)
    else:
        check(cookie == 12346, "roaring bitmap: unknown cookie")
        (count,) = struct.unpack_from("<I", data, at)
        at += 4
        run_flags = bytes((count + 7) // 8)
    heads = [struct.unpack_from("<HH", data, at + 4 * i) for i in range(count)]
    at += 4 * count
    if cookie == 12346 or count >= 4:
        at += 4 * count
    found = []
    for i, (high, less) in enumerate(heads):
        base = high << 16
        if run_flags[i // 8] >> (i % 8) & 1:
            (runs,) = struct.unpack_from("<H", data, at)
            for start, length in struct.iter_unpack("<HH", data[at + 2 : at + 2 + 4 * runs]):
                found += range(base + start, base + start + length + 1)
            at += 2 + 4 * runs
        elif less + 1 > 4096:
            bits = int.from_bytes(data[at : at + 8192], "little")
            found += [base + bit for bit in range(65536) if bits >> bit & 1]
            at += 8192
        else:
            found += [base + n for (n,) in struct.iter_unpack("<H", data[at : at + 2 * (less + 1)])]
            at += 2 * (less + 1)
    check(at == len(data), "roaring bitmap: bytes are left over")
    return found
