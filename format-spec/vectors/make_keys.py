#!/usr/bin/env python3
"""Makes key-file.jsonl, wrapped-key.jsonl and keys.jsonl from the text of chapters/encryption.md alone.

A second implementation, so that the vectors are not what the Rust code happens to do.
Needs: pip install cryptography argon2-cffi blake3. Run in this directory; the output is the same every time.
"""
import hashlib
import hmac
import json
import struct
import zlib

from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def aes(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def xaes(key, nonce):
    """C2SP XAES-256-GCM: the AES-GCM key and nonce for a 24-byte nonce."""
    doubled = int.from_bytes(aes(key, bytes(16)), "big") << 1
    k1 = (doubled ^ (0x87 if doubled >> 128 else 0)) & ((1 << 128) - 1)
    blocks = [bytes([0, n]) + b"X\0" + nonce[:12] for n in (1, 2)]
    mixed = [(int.from_bytes(b, "big") ^ k1).to_bytes(16, "big") for b in blocks]
    return AESGCM(b"".join(aes(key, b) for b in mixed)), nonce[12:]


def seal(key, hedge, random, ad, plain):
    nonce = blake3(random + struct.pack("<Q", len(ad)) + ad + plain, key=hedge).digest()[:24]
    gcm, rest = xaes(key, nonce)
    return nonce + gcm.encrypt(rest, plain, ad)


def opens(key, ad, sealed):
    if len(sealed) < 40:
        return None
    gcm, rest = xaes(key, sealed[:24])
    try:
        return gcm.decrypt(rest, sealed[24:], ad)
    except InvalidTag:
        return None


def hkdf(key, salt, info, length):
    prk = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([n]), hashlib.sha256).digest()
        out, n = out + block, n + 1
    return out[:length]


def fill(text, length):
    """Bytes that look random and are the same every time."""
    return hashlib.shake_128(text.encode()).digest(length)


def split(bytes_, *lengths):
    out = []
    for length in lengths:
        out.append(bytes_[:length])
        bytes_ = bytes_[length:]
    return out


# Key files

def customer(key):
    return split(hkdf(key, None, b"stoa customer key v1", 80), 32, 32, 16)


def head(key_id, protection, write_version=1):
    return b"STOAKEY\n" + struct.pack("<HH", 1, write_version) + key_id + bytes([protection, 0, 0, 0])


def checked(bytes_):
    return bytes_ + struct.pack("<I", zlib.crc32(bytes_))


def clear_file(key):
    return checked(head(customer(key)[2], 0) + key)


def guarded_file(key, passphrase, memory, passes, lanes, change_sealed=0, key_id=None, write_version=1):
    salt = fill("salt", 32)
    hashed = hash_secret_raw(passphrase, salt, passes, memory, lanes, 32, Type.ID, 0x13)
    guard, hedge, check = split(hkdf(hashed, None, b"stoa passphrase v1", 96), 32, 32, 32)
    ad = head(key_id or customer(key)[2], 1, write_version) + struct.pack("<IIII", memory, passes, lanes, 0) + salt + check
    sealed = bytearray(seal(guard, hedge, fill("random", 16), ad, key))
    sealed[30] ^= change_sealed
    return checked(ad + bytes(sealed))


def patched(bytes_, at, with_, rechecked=True):
    bytes_ = bytes_[:at] + with_ + bytes_[at + len(with_):]
    return checked(bytes_[:-4]) if rechecked else bytes_


def key_files():
    key, passphrase = fill("customer key", 32), "correct horse battery staple"
    clear, guarded = clear_file(key), guarded_file(key, passphrase.encode(), 64, 2, 1)
    lanes = guarded_file(key, passphrase.encode(), 256, 1, 4)

    def good(name, bytes_, **rest):
        return {"name": name, "hex": bytes_.hex(), "error": None, **rest}

    def bad(name, bytes_, offset, reason):
        return {"name": name, "hex": bytes_.hex(), "error": f"key file at offset {offset}: {reason}"}

    cost = "Argon2id parameters are out of bounds"
    return [
        good("no passphrase", clear, customer_key=key.hex()),
        good("passphrase", guarded, passphrase=passphrase, customer_key=key.hex()),
        good("passphrase, four lanes", lanes, passphrase=passphrase, customer_key=key.hex()),
        good("newer write version", patched(clear, 10, b"\2"), customer_key=key.hex()),
        good("newer write version, passphrase", guarded_file(key, b"x", 64, 1, 1, write_version=2), passphrase="x", customer_key=key.hex()),
        good("wrong passphrase", guarded, passphrase="correct horse", refusal="wrong passphrase"),
        good("passphrase missing", guarded, refusal="needs its passphrase"),
        good("key id of another key, no passphrase", patched(clear, 12, b"\0"), refusal="damaged"),
        good("key id of another key, resealed", guarded_file(key, b"x", 64, 1, 1, key_id=bytes(16)), passphrase="x", refusal="damaged"),
        good("sealed key changed", guarded_file(key, b"x", 64, 1, 1, change_sealed=1), passphrase="x", refusal="damaged"),
        good("salt changed", patched(guarded, 50, b"\0"), passphrase=passphrase, refusal="wrong passphrase"),
        bad("empty", b"", 0, "ends too early"),
        bad("other magic", patched(clear, 0, b"s"), 0, "not a key file of Stoa"),
        bad("newer read version", patched(clear, 8, b"\2"), 8, "read version is newer than this program"),
        bad("unknown protection", patched(clear, 28, b"\2"), 28, "protection is not known"),
        bad("reserved byte set", patched(clear, 31, b"\1"), 29, "reserved bytes are not zero"),
        bad("cut", clear[:-1], 67, "length does not fit its protection"),
        bad("longer", clear + b"\0", 68, "length does not fit its protection"),
        bad("bit flipped in the key", patched(clear, 40, bytes([clear[40] ^ 1]), False), 64, "checksum does not match"),
        bad("bit flipped in the checksum", patched(guarded, 187, bytes([guarded[187] ^ 1]), False), 184, "checksum does not match"),
        bad("no memory", patched(guarded, 32, struct.pack("<I", 7)), 32, cost),
        bad("too much memory", patched(guarded, 32, struct.pack("<I", (1 << 20) + 1)), 32, cost),
        bad("no pass", patched(guarded, 36, struct.pack("<I", 0)), 32, cost),
        bad("too many lanes", patched(guarded, 40, struct.pack("<I", 17)), 32, cost),
        bad("reserved number set", patched(guarded, 44, b"\1"), 44, "reserved bytes are not zero"),
    ]


# Wrapped keys

def varint(n):
    out = b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def wrapped(provider, key_id, bytes_, version=1):
    return bytes([version]) + b"".join(varint(len(part)) + part for part in (provider, key_id, bytes_))


def wrapped_keys():
    key_id = b"00112233445566778899aabbccddeeff"

    def good(name, provider, key_id, bytes_):
        return {"name": name, "hex": wrapped(provider, key_id, bytes_).hex(), "error": None,
                "provider": provider.decode(), "key_id": key_id.decode(), "bytes": bytes_.hex()}

    def bad(name, bytes_, offset, reason):
        return {"name": name, "hex": bytes_.hex(), "error": f"wrapped key at offset {offset}: {reason}"}

    unfit = "name is empty, too long or not printable ASCII"
    return [
        good("local", b"local", key_id, fill("wrapped", 72)),
        good("another provider", b"aws-kms", b"arn:aws:kms:eu-west-1:111122223333:key/1234abcd", fill("kms", 184)),
        good("no bytes", b"x", b"y", b""),
        bad("empty", b"", 0, "ends too early"),
        bad("version 0", wrapped(b"local", key_id, b"", 0), 0, "version is not 1"),
        bad("version 2", wrapped(b"local", key_id, b"", 2), 0, "version is not 1"),
        bad("no provider", wrapped(b"", key_id, b""), 1, unfit),
        bad("provider too long", wrapped(b"p" * 33, key_id, b""), 1, unfit),
        bad("provider with a space", wrapped(b"lo cal", key_id, b""), 1, unfit),
        bad("no key id", wrapped(b"local", b"", b""), 7, unfit),
        bad("key id too long", wrapped(b"local", b"k" * 2049, b""), 7, unfit),
        bad("too many bytes", wrapped(b"local", b"k", bytes(8193)), 9, "wrapped bytes are too long"),
    ]


# Derivation, sealing, wrapping

def keys():
    data_key, pool, salt = fill("data key", 32), fill("pool", 16), fill("file salt", 32)
    key, hedge, random = fill("seal key", 32), fill("hedge key", 32), fill("seal random", 16)
    out = []
    for file_id in (0, 1, 1 << 40):
        parts = split(hkdf(data_key, salt, b"stoa file key v1" + pool + struct.pack("<Q", file_id), 96), 32, 32, 32)
        out.append({"kind": "file keys", "data_key": data_key.hex(), "pool": pool.hex(), "file_id": file_id, "salt": salt.hex(),
                    "key": parts[0].hex(), "commitment": parts[1].hex(), "root_key": parts[2].hex()})
    out.append({"kind": "pool keys", "data_key": data_key.hex(), "pool": pool.hex(),
                "manifest_key": hkdf(data_key, None, b"stoa manifest key v1" + pool, 32).hex(),
                "hedge_key": hkdf(data_key, None, b"stoa hedge key v1" + pool, 32).hex()})
    for ad, plain in [(b"", b""), (b"", b"text"), (b"place", b""), (b"place", b"text"), (b"place", fill("long", 1000))]:
        sealed = seal(key, hedge, random, ad, plain)
        assert opens(key, ad, sealed) == plain
        out.append({"kind": "seal", "key": key.hex(), "hedge_key": hedge.hex(), "random": random.hex(), "ad": ad.hex(),
                    "plain": plain.hex(), "sealed": sealed.hex()})
    sealed = seal(key, hedge, random, b"place", b"text")
    flip = lambda at: sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1:]
    for name, ad, bytes_ in [("other place", b"Place", sealed), ("no place", b"", sealed), ("first nonce half", b"place", flip(0)),
                             ("second nonce half", b"place", flip(23)), ("cipher text", b"place", flip(24)), ("tag", b"place", flip(43)),
                             ("cut", b"place", sealed[:-1]), ("longer", b"place", sealed + b"\0"), ("too short", b"place", sealed[:39]),
                             ("empty", b"place", b"")]:
        assert opens(key, ad, bytes_) is None
        out.append({"kind": "does not open", "name": name, "key": key.hex(), "ad": ad.hex(), "sealed": bytes_.hex()})
    customer_key = fill("customer key", 32)
    wrapping, wrap_hedge, key_id = customer(customer_key)
    context = b"stoa wrapped key" + pool + struct.pack("<I", 3)
    local = seal(wrapping, wrap_hedge, random, context, data_key)
    place = {"kind": "unwrap", "customer_key": customer_key.hex(), "pool": pool.hex(), "key_epoch": 3}
    name = key_id.hex().encode()
    out.append({**place, "wrapped": wrapped(b"local", name, local).hex(), "data_key": data_key.hex()})
    short = seal(wrapping, wrap_hedge, random, context, data_key[:31])
    for refusal, change in [("damaged", {"key_epoch": 4}), ("damaged", {"pool": bytes(16).hex()}),
                            ("damaged", {"wrapped": wrapped(b"local", name, local[:-1]).hex()}),
                            ("damaged", {"wrapped": wrapped(b"local", name, short).hex()}),
                            ("wrong key", {"wrapped": wrapped(b"local", b"0" * 32, local).hex()}),
                            ("wrong key", {"wrapped": wrapped(b"pkcs11", name, local).hex()})]:
        out.append({**place, "wrapped": wrapped(b"local", name, local).hex(), **change, "refusal": refusal})
    return out


for file, vectors in [("key-file", key_files()), ("wrapped-key", wrapped_keys()), ("keys", keys())]:
    with open(file + ".jsonl", "w") as out:
        out.writelines(json.dumps(vector) + "\n" for vector in vectors)
