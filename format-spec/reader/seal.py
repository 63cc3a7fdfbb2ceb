"""Keys and sealed bytes, from the chapter on encryption alone."""
import hashlib
import hmac
import struct
import zlib

from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NIL = bytes(16)


class Damaged(Exception):
    """Something is not what the format says it must be."""


def check(holds, what):
    if not holds:
        raise Damaged(what)


def check_crc(covered, stored, what):
    check(zlib.crc32(covered) == stored, f"{what}: checksum does not match")


def aes(key, block):
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def open_sealed(key, ad, sealed, what):
    """XAES-256-GCM: nonce 24, cipher text, tag 16."""
    check(len(sealed) >= 40, f"{what}: too short for a seal")
    nonce = sealed[:24]
    doubled = int.from_bytes(aes(key, bytes(16)), "big") << 1
    k1 = (doubled ^ (0x87 if doubled >> 128 else 0)) & ((1 << 128) - 1)
    blocks = [bytes([0, n]) + b"X\0" + nonce[:12] for n in (1, 2)]
    derived = b"".join(aes(key, (int.from_bytes(b, "big") ^ k1).to_bytes(16, "big")) for b in blocks)
    try:
        return AESGCM(derived).decrypt(nonce[12:], sealed[24:], ad)
    except InvalidTag:
        raise Damaged(f"{what}: tag does not match") from None


def hkdf(key, salt, info, length):
    """RFC 5869 with SHA-256."""
    prk = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([n]), hashlib.sha256).digest()
        out, n = out + block, n + 1
    return out[:length]


def u32(number):
    return struct.pack("<I", number)


def u64(number):
    return struct.pack("<Q", number)


def customer_key(data, file, passphrase):
    """The customer key of a key file: its bytes, and the same parsed."""
    check_crc(data[:-4], file.crc32, "key file")
    if file.protection == 0:
        key = file.body.customer_key
    else:
        body = file.body
        if passphrase is None:
            raise SystemExit("the key file needs its passphrase, on standard input")
        secret = hash_secret_raw(passphrase, body.salt, body.passes, body.memory_kib, body.lanes, 32, Type.ID, 0x13)
        keys = hkdf(secret, None, b"stoa passphrase v1", 96)
        if keys[64:] != body.check:
            raise SystemExit("wrong passphrase")
        key = open_sealed(keys[:32], data[:112], body.sealed, "key file")
    check(customer_keys(key)[1] == file.key_id, "key file: key id is not that of the customer key")
    return key


def customer_keys(key):
    """Wrapping key and key id."""
    keys = hkdf(key, None, b"stoa customer key v1", 80)
    return keys[:32], keys[64:]


def unwrap(customer, wrapped, pool, key_epoch):
    """The data key, or None if another customer key wraps it."""
    wrapping, key_id = customer_keys(customer)
    if wrapped.provider.value != "local" or wrapped.key_id.value != key_id.hex():
        return None
    context = b"stoa wrapped key" + pool + u32(key_epoch)
    return open_sealed(wrapping, context, wrapped.wrapped.data, "wrapped key")


def manifest_key(data_key, pool):
    return hkdf(data_key, None, b"stoa manifest key v1" + pool, 32)


def file_keys(data_key, salt, pool, file_id):
    """Sealing key, commitment, root key."""
    keys = hkdf(data_key, salt, b"stoa file key v1" + pool + u64(file_id), 96)
    return keys[:32], keys[32:64], keys[64:]


def chain_after(pool, before, head, sealed):
    return blake3(b"stoa chain v1\0\0\0" + pool + before + head + sealed).digest()
