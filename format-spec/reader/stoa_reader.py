#!/usr/bin/env python3
"""Opens every file of a Stoa store and prints every value, one JSON object a line.

Written from the chapters alone, over the Python that Kaitai Struct makes of ../kaitai: it shares no code with the
store. It prints what `stoa inspect DATA --reveal --json` prints in lines with the member `value`, and stops at
anything that is not as the chapters say.

usage: stoa_reader.py --parsers DIR DATA [KEYFILE]        (a passphrase comes on standard input)
"""
import argparse
import json
import struct
import sys
import zlib
from pathlib import Path
from uuid import UUID

import pages
from seal import (
    NIL,
    Damaged,
    blake3,
    chain_after,
    check,
    check_crc,
    customer_key,
    file_keys,
    manifest_key,
    open_sealed,
    u32,
    u64,
    unwrap,
)

BLOCK, ALIGN, OUTER = 4096, 8, 48
EVENTS = (
    "user.create user.set user.delete user.enable user.disable user.status cred.set cred.verify cred.unlock cred.put "
    "cred.del cred.consume identity.link identity.unlink group.create group.set group.rename group.delete group.add "
    "group.remove pool.alter config.set config.del pool.key pool.import user.setall pool.create pool.drop"
).split()


def parse(name, data):
    """Parses all of `data` as `name`.ksy says."""
    module = __import__(name)
    parsed = getattr(module, "".join(word.capitalize() for word in name.split("_"))).from_bytes(data)
    check(parsed._io.is_eof(), f"{name}: bytes are left over")
    return parsed


def octets(data):
    """Octets as they are printed: text if it is printable, else hexadecimal."""
    try:
        text = data.decode()
        if all(c >= " " and c != "\x7f" for c in text):
            return text
    except UnicodeDecodeError:
        pass
    return {"hex": data.hex()}


def value_of(value):
    return octets(value) if isinstance(value, bytes) else value


class Pool:
    """A pool's keys and what its manifest says."""

    def __init__(self, customer, pool, data):
        copies = parse("manifest", data).copies
        whole = data[: copies[0].len_copy]
        # A file has two copies; the catalogue vouches for the one in it.
        check(data == whole * 2 or data == whole, "manifest: the copies differ")
        copy, raw = copies[0], data[: copies[0].len_copy]
        check_crc(raw[:-4], copy.rest.crc32, "manifest")
        check(copy.rest.pool == pool, "manifest: it belongs to another pool")
        self.id, self.number = pool, copy.rest.number
        self.data_keys = {}
        for key in copy.rest.keys:
            opened = unwrap(customer, parse("wrapped_key", key.wrapped.data), pool, key.key_epoch)
            if opened:
                self.data_keys[key.key_epoch] = opened
        newest = copy.rest.keys[-1].key_epoch
        clear = raw[: len(raw) - 4 - copy.rest.len_body]
        sealing = manifest_key(self.data_keys[newest], pool)
        self.body = parse(
            "manifest_body", open_sealed(sealing, b"stoa manifest v1" + clear, copy.rest.sealed, "manifest")
        )
        self.periods = {period.number: period.key for period in self.body.periods}

    def folder(self):
        return f"pools/{UUID(bytes=self.id)}"


class Reader:
    def __init__(self, data, key_file, passphrase, out):
        self.data, self.out = Path(data), out
        raw = Path(key_file).read_bytes()
        self.customer = customer_key(raw, parse("key_file", raw), passphrase)

    def line(self, file, value, **members):
        json.dump({"file": file, **members, "value": value}, self.out, ensure_ascii=False)
        self.out.write("\n")

    def read(self):
        self.read_store()
        frames = self.walk_log()
        entries, documents = self.read_catalogue(frames)
        for pool, entry in sorted(entries.items()):
            self.read_pool(pool, entry, frames.get(pool, []))

    def read_store(self):
        raw = (self.data / "STORE").read_bytes()
        store = parse("store", raw)
        check_crc(raw[:-4], store.crc32, "STORE")
        self.store_id = store.store_id
        data_key = unwrap(self.customer, parse("wrapped_key", store.wrapped_key.data), store.store_id, 0)
        if data_key is None:
            raise SystemExit("the key file is not this store's")
        self.store_key = manifest_key(data_key, NIL)

    # The log.

    def walk_log(self):
        """The data frames of every pool, in order: (file, lsn, inner shell, its first 48 bytes)."""
        frames, before = {}, None
        segments = [self.segment(path) for path in sorted(self.data.glob("wal/[0-9]*.wal"))]
        if segments and segments[-1] is None:
            segments.pop()
        for i, segment in enumerate(segments):
            check(segment is not None, "log: a segment's header is not whole and later segments follow")
            header, name = segment
            limit = segments[i + 1][0].previous_end if i + 1 < len(segments) else None
            end, lsn = self.walk_segment(name, header, limit, frames)
            if before:
                check((header.previous, header.previous_end, header.first_lsn) == before, f"{name}: a gap before it")
            before = (header.number, end, lsn)
        return frames

    def segment(self, path):
        raw = path.read_bytes()
        if len(raw) < BLOCK or raw[:8] != b"STOAWAL\n":
            return None
        header = parse("segment", raw)
        check_crc(raw[: BLOCK - 4], header.crc32, path.name)
        check(not any(header.reserved2), f"{path.name}: reserved bytes are not zero")
        if header.number != int(path.stem):
            return None
        check(header.store_id == self.store_id, f"{path.name}: belongs to another store")
        return header, f"wal/{path.name}"

    def walk_segment(self, name, header, limit, frames):
        raw = (self.data / name).read_bytes()
        raw = raw if limit is None else raw[:limit]
        at, lsn, end = BLOCK, header.first_lsn, BLOCK
        while True:
            for place in (at, -(-at // BLOCK) * BLOCK):
                frame = self.frame(raw, place, header)
                if frame and frame.lsn == lsn:
                    break
            else:
                return end, lsn
            if frame.kind.name == "data":
                head = raw[place + OUTER : place + OUTER + 48]
                frames.setdefault(frame.body.pool, []).append((name, lsn, frame.body, head))
            end = place + OUTER + frame.len_body
            at, lsn = -(-end // ALIGN) * ALIGN, lsn + 1

    def frame(self, raw, place, header):
        if raw[place : place + 4] != b"SFRM" or len(raw) < place + OUTER:
            return None
        length, crc = struct.unpack_from("<I", raw, place + 8)[0], struct.unpack_from("<I", raw, place + 4)[0]
        whole = raw[place : place + OUTER + length]
        if len(whole) != OUTER + length or zlib.crc32(whole[8:]) != crc:
            return None
        frame = parse("frame", whole)
        return frame if (frame.segment, frame.incarnation) == (header.number, header.incarnation) else None

    def open_frames(self, pool, frames, key_of, chain_at):
        """Opens what can be opened: (file, lsn, first Seq, transactions). `chain_at` is a known (Seq, chain)."""
        known = {inner.first_seq + inner.count - 1: inner.chain for _, _, inner, _ in frames}
        known.update({0: bytes(32), chain_at[0]: chain_at[1]})
        for name, lsn, inner, head in frames:
            before = known.get(inner.first_seq - 1)
            if before is None:
                continue
            check(chain_after(pool, before, head, inner.sealed) == inner.chain, f"{name} lsn {lsn}: chain is broken")
            key = key_of(inner.period)
            if key is None:
                continue
            ad = b"stoa frame v1\0\0\0" + head[:40] + before
            plain = open_sealed(key, ad, inner.sealed, f"{name} lsn {lsn}")
            opened = parse("transactions", plain).transactions
            check(len(opened) == inner.count, f"{name} lsn {lsn}: another number of transactions")
            yield name, lsn, inner.first_seq, opened

    def show_transactions(self, name, lsn, first_seq, transactions):
        for seq, transaction in enumerate(transactions, first_seq):
            for op in transaction.body.operations:
                self.show_operation(name, lsn, seq, op.code.name, op.body)

    def show_operation(self, file, lsn, seq, code, op):
        place = {"lsn": lsn, "seq": seq}
        if code == "put":
            for cell in op.cells.cells:
                value = (None, lambda: cell.value.signed, lambda: octets(cell.value.data))[cell.tag]
                members = {"ordinal": op.ordinal.value, "attr": cell.attr.value}
                self.line(file, value and value(), section="put", **place, **members)
        elif code == "set_key":
            members = {"keyspace": op.keyspace, "key": op.key.data.hex()}
            self.line(file, octets(op.value.data), section="set", **place, **members)
        elif code == "delete_key":
            members = {"keyspace": op.keyspace, "key": op.key.data.hex()}
            self.line(file, None, section="delete", **place, **members)
        elif code == "digest":
            delta = int.from_bytes(op.delta, "little")
            self.line(file, f"{delta:032x}", section="digest", **place, key=f"{op.leaf:016x}")
        elif code == "event":
            self.line(file, op.version.value, section="event", **place, key=EVENTS[op.event - 1])
        else:
            value = octets(op.content.data) if op.is_set else None
            self.line(file, value, section="meta", **place, key=op.name.value)

    # The catalogue.

    def read_catalogue(self, frames):
        entries, documents, chain_at = {}, {}, (0, bytes(32))
        path = self.data / "CATALOGUE"
        if path.exists():
            raw = path.read_bytes()
            file = parse("catalogue", raw)
            check_crc(raw[:-4], file.crc32, "CATALOGUE")
            check(file.store_id == self.store_id, "CATALOGUE: belongs to another store")
            ad = b"stoa catalogue 1" + file.store_id + u64(file.number)
            body = parse("catalogue_body", open_sealed(self.store_key, ad, file.sealed.data, "CATALOGUE"))
            chain_at = (body.seq_number, body.chain)
            self.line("CATALOGUE", body.seq_number, section="body", key="seq")
            self.line("CATALOGUE", body.durable_lsn, section="body", key="durable_lsn")
            for entry in body.pools:
                entries[entry.pool] = entry
                self.line("CATALOGUE", str(UUID(bytes=entry.pool)), section="pool", key=entry.name.value)
            for document in body.documents:
                documents[document.name.value] = document.content.data
                self.line("CATALOGUE", octets(document.content.data), section="document", key=document.name.value)
        opened = self.open_frames(NIL, frames.get(NIL, []), lambda _: self.store_key, chain_at)
        for name, lsn, first_seq, transactions in opened:
            self.show_transactions(name, lsn, first_seq, transactions)
            for seq, transaction in enumerate(transactions, first_seq):
                if seq > chain_at[0]:
                    self.apply(transaction.body.operations, entries, documents)
        return entries, documents

    def apply(self, operations, entries, documents):
        for op in operations:
            kind, _, name = op.body.name.value.partition("/")
            content = op.body.content.data
            if kind == "pool" and op.body.is_set:
                entries[UUID(name).bytes] = parse("catalogue_entry", content)
            elif kind == "pool":
                entries.pop(UUID(name).bytes, None)
            elif kind == "doc" and op.body.is_set:
                documents[name] = content
            elif kind == "doc":
                documents.pop(name, None)

    # A pool.

    def read_pool(self, pool_id, entry, frames):
        path = self.data / f"pools/{UUID(bytes=pool_id)}/MANIFEST"
        raw = path.read_bytes() if path.exists() else entry.first_manifest.data
        if path.exists() and entry.manifest_number:
            pool = Pool(self.customer, pool_id, raw)
            check(pool.number >= entry.manifest_number, "MANIFEST: older than the catalogue knows")
            if pool.number == entry.manifest_number:
                check(blake3(raw).digest() == entry.manifest_digest, "MANIFEST: not the one that the catalogue knows")
        else:
            pool = Pool(self.customer, pool_id, raw)
        if path.exists():
            self.show_manifest(f"{pool.folder()}/MANIFEST", pool.body)
        for document in pool.body.documents:
            if document.name.value == "erasure":
                self.check_erased(path, pool.body, parse("erasure", document.content.data))
        chain_at = (pool.body.flushed_seq, pool.body.chain)
        files = {file.file_id.value: file for file in pool.body.files}
        frames = self.history(pool) + frames
        for name, lsn, first_seq, transactions in self.open_frames(pool_id, frames, pool.periods.get, chain_at):
            self.show_transactions(name, lsn, first_seq, transactions)
            for seq, transaction in enumerate(transactions, first_seq):
                if seq > pool.body.flushed_seq:
                    self.take_in(pool, transaction.body.operations, files)
        for file in files.values():
            self.read_run(pool, file)

    def check_erased(self, path, body, erasure):
        """Neither a key nor a file is named that could tell of who was erased."""
        erased = erasure.erased_seq
        check(not erased or all(period.first_seq > erased for period in body.periods), f"{path}: keys of erased frames")
        from_id = erasure.files_from.value
        check(all(file.file_id.value >= from_id for file in body.files), f"{path}: a file that was to be written anew")

    def take_in(self, pool, operations, files):
        """Adds the data keys and the files that the log names and the manifest does not yet."""
        for op in operations:
            if op.code.name != "meta" or not op.body.is_set:
                continue
            if op.body.name.value == "keyring":
                for key in parse("keyring", op.body.content.data).keys:
                    opened = unwrap(self.customer, parse("wrapped_key", key.wrapped.data), pool.id, key.key_epoch)
                    if opened:
                        pool.data_keys.setdefault(key.key_epoch, opened)
            elif op.body.name.value == "install":
                install = parse("install", op.body.content.data)
                if install.install_id.value >= pool.body.next_file_id.value:
                    files.update({file.file_id.value: file for file in install.files})

    def history(self, pool):
        """The frames of a pool's history files."""
        frames = []
        for path in sorted((self.data / pool.folder()).glob("history/*.frames")):
            raw = path.read_bytes()
            name = f"{pool.folder()}/history/{path.name}"
            file = parse("history_file", raw)
            check_crc(raw[:48], file.crc32, name)
            check(path.stem == f"{file.first_seq:016x}-{file.last_seq:016x}", f"{name}: another file's content")
            check(file.pool == pool.id, f"{name}: belongs to another pool")
            at = 52
            for record in file.records:
                body = raw[at + 8 : at + 8 + record.len_body]
                check_crc(body, record.crc32, name)
                frames.append((name, 0, record.body, body[:48]))
                at += 8 + record.len_body
        return frames

    def show_manifest(self, file, body):
        numbers = {
            name: getattr(body, name)
            for name in ("flushed_seq", "epoch", "created_at_ms", "last_verify_ms", "history_from")
        }
        for name in ("next_ordinal", "next_file_id", "next_group_id", "next_age", "users", "groups"):
            numbers[name] = getattr(body, name).value
        numbers["live"] = len(pages.roaring(body.live.data))
        numbers["digest"] = f"{int.from_bytes(body.digest, 'little'):032x}" if body.has_digest else None
        for key, value in numbers.items():
            self.line(file, value, section="body", key=key)
        for document in body.documents:
            self.line(file, octets(document.content.data), section="document", key=document.name.value)
        for period in body.periods:
            self.line(file, period.first_seq, section="period", key=str(period.number))
        for live in body.files:
            self.line(file, live.len.value, section="file", key=str(live.file_id.value))

    # A run file.

    def read_run(self, pool, live):
        file_id = live.file_id.value
        place = {
            "flush": f"flush/{file_id:x}.run",
            "column": f"col/{live.folder}/{file_id:x}.col",
            "index": f"idx/{live.folder}/{file_id:x}.idx",
        }[live.place.name]
        name = f"{pool.folder()}/{place}"
        raw = (self.data / name).read_bytes()
        check(len(raw) == live.len.value, f"{name}: another length than the manifest says")
        run = parse("run_file", raw)
        header = run.header
        check_crc(raw[:124], header.crc32, name)
        check(not any(header.reserved3), f"{name}: reserved bytes are not zero")
        check_crc(raw[-64:-4], run.trailer.crc32, f"{name}: trailer")
        check((header.pool, header.file_id) == (pool.id, file_id), f"{name}: another file stands here")
        keys = file_keys(pool.data_keys[header.key_epoch], live.salt, pool.id, file_id)
        check(keys[1] == header.commitment, f"{name}: the commitment is not that of its key")
        self.pages = {(page.section, page.page): page for page in run.pages}
        for page in run.pages:
            frame = struct.pack("<IIHBB", page.len_sealed, page.page, page.section, page.kind.value, 0)
            check_crc(frame + page.sealed, page.crc32, f"{name} section {page.section} page {page.page}")
        check(run.trailer.num_pages == len(run.pages), f"{name}: another number of pages")
        last = self.pages[0xFFFF, 0]
        footer = parse("run_footer", self.open_page(name, header, keys[0], last, (0, 0), True))
        self.check_root(name, footer, last.sealed, keys[2], (run.trailer.root, live.root))
        for number, section in enumerate(footer.sections):
            self.read_section(name, header, keys[0], number, section)

    def open_page(self, name, header, key, page, of, last):
        ad = b"stoa page\0\0\0" + header.pool + u64(header.file_id)
        ad += struct.pack("<HHI", page.section, of[1], page.page)
        ad += bytes([last, page.kind.value, of[0], header.kind.value])
        ad += struct.pack("<H", header.write_version) + u32(header.key_epoch) + bytes(4)
        return open_sealed(key, ad, page.sealed, f"{name} section {page.section} page {page.page}")

    def check_root(self, name, footer, sealed_footer, root_key, roots):
        hasher = blake3(key=root_key)
        listed = [
            (page.offset, number, at, page.nonce, page.tag)
            for number, section in enumerate(footer.sections)
            for at, page in enumerate(section.pages)
        ]
        for _, number, at, nonce, tag in sorted(listed):
            hasher.update(struct.pack("<HI", number, at) + nonce + tag)
        hasher.update(struct.pack("<HI", 0xFFFF, 0) + sealed_footer[:24] + sealed_footer[-16:])
        check(all(hasher.digest() == root for root in roots), f"{name}: the root does not match")

    def read_section(self, name, header, key, number, section):
        of = (section.kind.value, section.number)
        found, symbols = 0, {}
        for at, listed in enumerate(section.pages):
            page = self.pages[number, at]
            check(
                (page.sealed[:24], page.sealed[-16:], page.kind.value) == (listed.nonce, listed.tag, listed.kind),
                f"{name} section {number} page {at}: not the page of the directory",
            )
            plain = self.open_page(name, header, key, page, of, at + 1 == len(section.pages))
            if listed.kind == 1:
                found += self.show_page(name, number, at, section, plain, symbols)
            elif listed.kind == 2:
                parse("filter_page", plain)
            else:
                check(len(pages.roaring(plain)) == section.num_entries, f"{name}: the set of ordinals is another")
        check(found == section.num_entries, f"{name} section {number}: another number of entries")

    def show_page(self, name, number, at, section, plain, symbols):
        if section.kind.name == "column":
            page = parse("column_page", plain)
            cells = pages.cells(page, symbols)
            if page.encoding.name == "compressed":
                symbols[at] = page.values.symbols
            for ordinal, value in cells:
                if section.column_kind == 2 and value is not None:
                    value = {"hex": value.hex()}
                self.line(name, value_of(value), section=number, page=at, attr=section.number, ordinal=ordinal)
            return len(cells)
        entries = pages.entries(parse("sorted_page", plain))
        for key, value in entries:
            self.line(name, value_of(value), section=number, page=at, keyspace=section.number, key=key.hex())
        return len(entries)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("data", help="the data directory")
    arguments.add_argument("key_file", nargs="?", help="the key file; DATA.key beside the directory if left out")
    arguments.add_argument("--parsers", required=True, help="where kaitai/compile.mjs put the Python")
    arguments.add_argument("--passphrase", action="store_true", help="read a passphrase from standard input")
    options = arguments.parse_args()
    sys.path.insert(0, options.parsers)
    passphrase = sys.stdin.buffer.readline().rstrip(b"\n") if options.passphrase else None
    key_file = options.key_file or f"{options.data.rstrip('/')}.key"
    try:
        Reader(options.data, key_file, passphrase, sys.stdout).read()
    except Damaged as fault:
        raise SystemExit(f"damaged: {fault}") from None


if __name__ == "__main__":
    main()
