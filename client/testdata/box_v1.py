#!/usr/bin/env python3
"""A second, independent implementation of Lockstep's client cryptography.

It shares no code with the Rust client: HKDF and padding are written out from the standard library's hmac and
hashlib; only AES-256-GCM and Argon2id come from the `cryptography` package (>= 44).

    python3 box_v1.py > box_v1.json      makes the vectors
    python3 box_v1.py --check            opens every box of box_v1.json again

The Rust tests seal the same inputs and compare every byte, and open what stands in the file.
"""

import hashlib
import hmac
import json
import os
import struct
import sys
import unicodedata
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

CHUNK = 16384


def lp(data):
    return struct.pack(">I", len(data)) + data


def hkdf(salt, key, info, length):
    prk = hmac.new(salt or bytes(64), key, hashlib.sha512).digest()
    output, block, number = b"", b"", 1
    while len(output) < length:
        block = hmac.new(prk, block + info + bytes([number]), hashlib.sha512).digest()
        output, number = output + block, number + 1
    return output[:length]


def padded_len(content_len):
    n = content_len + 4
    if n <= 256:
        return 256
    exponent = n.bit_length() - 1
    mantissa = exponent.bit_length()
    step = 2 ** (exponent - mantissa)
    return -(-n // step) * step


def pad(content):
    return (lp(content)).ljust(padded_len(len(content)), b"\0")


def parts(key, salt, context):
    material = hkdf(salt, key, lp(b"lockstep/v1/box") + lp(context), 71)
    return material[:32], material[32:64], material[64:]


def nonce(base, number, last):
    return base + struct.pack(">IB", number, int(last))


def seal(key, salt, context, content):
    aes, commitment, base = parts(key, salt, context)
    chunks = [content[i : i + CHUNK] for i in range(0, len(content), CHUNK)] or [b""]
    box = salt + commitment
    for number, chunk in enumerate(chunks):
        box += AESGCM(aes).encrypt(nonce(base, number, number == len(chunks) - 1), chunk, None)
    return box


def open_box(key, context, box):
    salt, claimed, body = box[:24], box[24:56], box[56:]
    aes, commitment, base = parts(key, salt, context)
    if not hmac.compare_digest(claimed, commitment):
        raise ValueError("rejected")
    step = CHUNK + 16
    chunks = [body[i : i + step] for i in range(0, len(body), step)]
    return b"".join(
        AESGCM(aes).decrypt(nonce(base, n, n == len(chunks) - 1), chunk, None) for n, chunk in enumerate(chunks)
    )


def stream(label, length):
    """Reproducible bytes for the vectors' keys, salts and contents."""
    blocks = (hashlib.sha256(label.encode() + struct.pack(">I", n)).digest() for n in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def password_input(text):
    return lp(b"lockstep/v1/password") + lp(unicodedata.normalize("NFC", text).encode()) + lp(b"")


def argon2id_s1(secret, salt):
    return Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=64 * 1024).derive(secret)


def context(dst, *fields):
    return lp(b"lockstep/v1/" + dst) + struct.pack(">H", 1) + b"".join(fields)


def u32(n):
    return struct.pack(">I", n)


def boxes():
    for length in [0, 1, 31, 32, 600, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7]:
        name = f"length {length}"
        key, salt = stream("key " + name, 32), stream("salt " + name, 24)
        ctx, content = stream("context " + name, length % 97), stream("content " + name, length)
        box = seal(key, salt, ctx, content)
        yield {
            "name": name, "key": key.hex(), "salt": salt.hex(), "context": ctx.hex(),
            "content_len": length, "content_sha256": hashlib.sha256(content).hexdigest(),
            "box_len": len(box), "box_sha256": hashlib.sha256(box).hexdigest(),
            # Long boxes are made again from their label; their hash is enough to compare.
            "content": content.hex() if length <= 600 else None,
            "box": box.hex() if length <= 600 else None,
        }


def padded():
    for length in [0, 7, 252, 253, 1000, 60000]:
        content = stream(f"padded {length}", length)
        form = pad(content)
        yield {"content_len": length, "padded_len": len(form), "padded_sha256": hashlib.sha256(form).hexdigest()}


def chain_of_keys():
    """export key -> password key -> root key -> vault key -> content key, each in its context."""
    account, vault, entry, device, key_id = (stream(n, 16) for n in ["account", "vault", "entry", "device", "key id"])
    export, ark, ask, vk, cek = (
        stream("export", 64), stream("ark", 32), stream("ask", 32), stream("vk", 32), stream("cek", 32))
    mk = hkdf(None, export, lp(b"lockstep/v1/mk") + account + u32(3), 32)
    text = "Cafe\u0301 violet anchor"
    local_salt = stream("local salt", 32)
    local = argon2id_s1(lp(b"lockstep/v1/local") + password_input(text), local_salt)
    wrapped = {}
    for name, parent, label, ctx, child in [
        ("ark_by_password", mk, "mk/ark", context(b"ark-wrap/pw", account, u32(2), u32(3)), ark),
        ("ark_on_device", local, "dev/ark", context(b"ark-wrap/dev", account, u32(2), device), ark),
        ("device_key", local, "dev/key", context(b"device-key-wrap", account, device), ask),
        ("ask", ark, "ark/ask", context(b"ask-wrap", account, key_id), ask),
        ("vault_key", ark, "ark/vk", context(b"vk-wrap", account, vault, u32(5)), vk),
        ("content_key", vk, "vk/cek", context(b"cek-wrap", account, vault, u32(5), entry, key_id), cek),
    ]:
        wrapping = hkdf(None, parent, lp(b"lockstep/v1/" + label.encode()), 32)
        wrapped[name] = seal(wrapping, stream("wrap salt " + name, 24), ctx, child).hex()
    return {
        "account": account.hex(), "vault": vault.hex(), "entry": entry.hex(), "device": device.hex(),
        "key_id": key_id.hex(), "ark_gen": 2, "cred_gen": 3, "vk_gen": 5, "export_key": export.hex(),
        "password_key": mk.hex(), "ark": ark.hex(), "ask": ask.hex(), "vk": vk.hex(), "cek": cek.hex(),
        "password": text, "local_salt": local_salt.hex(), "local_key": local.hex(),
        "database_key": hkdf(None, local, lp(b"lockstep/v1/dev/db"), 32).hex(), "wrapped": wrapped,
    }


def entry_version():
    """One version: header context, sealed content, version id."""
    ids = {n: stream(n, 16) for n in ["account", "vault", "entry", "key id", "device"]}
    parent, chain = stream("parent", 32), stream("chain", 32)
    fields = (struct.pack(">H", 1) + ids["account"] + ids["vault"] + ids["entry"] + b"\x01" + b"\x01" + parent
              + bytes(32) + ids["key id"] + ids["device"] + struct.pack(">Q", 41) + chain
              + struct.pack(">q", 1_700_000_000_123))
    cek, content = stream("cek", 32), '{"title":"Größe 🔑"}'.encode()
    box = seal(cek, stream("entry salt", 24), context(b"entry", fields), pad(content))
    canonical = lp(b"lockstep/v1/version") + fields + hashlib.sha256(box).digest() + u32(len(box))
    return {
        "parent": parent.hex(), "chain": chain.hex(), "observed_seq": 41, "client_time": 1_700_000_000_123,
        "content": content.hex(), "box": box.hex(), "version_id": hashlib.sha256(canonical).hexdigest(),
    }


def attachment():
    """A file beside an entry, longer than one chunk, and what the entry's content keeps of it."""
    account, vault, entry, this, key_id = (
        stream(n, 16) for n in ["account", "vault", "entry", "attachment id", "attachment key id"])
    key, content = stream("attachment key", 32), stream("attachment content", 20_000)
    box = seal(key, stream("attachment salt", 24), context(b"attach", account, vault, entry, this, key_id), pad(content))
    digest = hashlib.sha256(box).hexdigest()
    kept = (f'{{"id":"{uuid.UUID(bytes=this)}","key_id":"{uuid.UUID(bytes=key_id)}","hash":"{digest}",'
            f'"size":{len(content)},"key":"{key.hex()}"}}')
    return {"content_len": len(content), "box_len": len(box), "box_sha256": digest, "kept": kept}


def check(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    count = 0
    for vector in vectors["boxes"]:
        if vector["box"] is not None:
            key, ctx, box = (bytes.fromhex(vector[n]) for n in ["key", "context", "box"])
            assert open_box(key, ctx, box).hex() == vector["content"], vector["name"]
            count += 1
    print(f"{count} boxes open")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check(os.path.join(os.path.dirname(os.path.abspath(__file__)), "box_v1.json"))
    else:
        json.dump(
            {"boxes": list(boxes()), "padded": list(padded()), "keys": chain_of_keys(), "version": entry_version(),
             "attachment": attachment()},
            sys.stdout, indent=1, ensure_ascii=True)
        print()
