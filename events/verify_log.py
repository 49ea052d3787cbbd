#!/usr/bin/env python3
"""Verifies what `lockstepd log export` wrote, by docs/formats.md alone: a second implementation.

    python3 verify_log.py log.jsonl      prints the hash of the log's ends, or says what is wrong and ends with 1

It needs nothing but the standard library, reads one line at a time and keeps the end of each stream. What no chain has, as
the kind of a stream, it does not look at.
"""

import base64
import hashlib
import json
import struct
import sys
import uuid


class NotWhole(Exception):
    """What is wrong."""


def must(holds, what):
    # Not `assert`, which `python3 -O` leaves out.
    if not holds:
        raise NotWhole(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def lp(data):
    return struct.pack(">I", len(data)) + data


def optional(data):
    return b"\0" if data is None else b"\1" + data


def leaf(event):
    def ident(name):
        return uuid.UUID(event[name]).bytes if name in event else None

    sealed_hash = bytes.fromhex(event["sealed_hash"]) if "sealed_hash" in event else None
    core = lp(b"lockstep/v1/leaf") + ident("event") + ident("stream") + struct.pack(">Q", event["seq"])
    core += optional(ident("subject")) + lp(event["kind"].encode()) + struct.pack(">H", event["schema"])
    core += struct.pack(">q", event["recorded_at"]) + optional(ident("actor")) + optional(ident("device"))
    return sha256(b"\0" + core + sha256(event["public"].encode()) + optional(sealed_hash))


def check(event, before, streams):
    """Whether an event follows those before it."""
    position, recorded_at = before
    must(event["position"] == position + 1, "what stands before it in the log is missing")
    must(event["recorded_at"] > recorded_at, "it was recorded before the event before it")
    seq, chain = streams.get(event["stream"], (0, bytes(32)))
    must(event["seq"] == seq + 1, "what stands before it in its stream is missing")
    chain = sha256(b"\2" + chain + leaf(event))
    must(event["chain"] == chain.hex(), "it is not what its chain was made of")
    if "sealed" in event:
        sealed = sha256(base64.b64decode(event["sealed"]["bytes"]))
        must(sealed.hex() == event.get("sealed_hash"), "its sealed part does not have its hash")
    if "content" in event:
        named = json.loads(event["public"])["header"]["content_hash"]
        must(sha256(base64.b64decode(event["content"])).hex() == named, "its ciphertext does not have its hash")
    streams[event["stream"]] = (event["seq"], chain)
    return event["position"], event["recorded_at"]


def ends(begin, streams):
    """One hash over where the log and each of its streams end."""
    text = lp(b"lockstep/v1/log-ends") + uuid.UUID(begin["log_id"]).bytes
    text += struct.pack(">QQ", begin["position"], len(streams))
    for stream, seq, chain in sorted((uuid.UUID(stream).bytes, *end) for stream, end in streams.items()):
        text += stream + struct.pack(">Q", seq) + chain
    return sha256(text).hex()


def verify(lines):
    begin, before, streams, end = json.loads(next(lines)), (0, -(2**63)), {}, None
    must(begin["part"] == "begin" and begin["format"] == 1, "it is not an exported log")
    for number, line in enumerate(lines, 2):
        line = json.loads(line)
        must(end is None and line["part"] in ("event", "end"), f"line {number} does not belong there")
        if line["part"] == "end":
            end = line
            continue
        try:
            before = check(line, before, streams)
        except NotWhole as wrong:
            raise NotWhole(f"position {line['position']}: {wrong}") from None
    must(end is not None, "it was cut off")
    must(before[0] == begin["position"], f"it ends at {before[0]}, and the log ended at {begin['position']}")
    must(end["hash"] == ends(begin, streams), "the log and its streams ended elsewhere")
    must((end["events"], end["streams"]) == (before[0], len(streams)), "there were more or less of them")
    return end["hash"]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        try:
            print(verify(file))
        except (NotWhole, KeyError, ValueError, StopIteration) as wrong:
            sys.exit(f"the log is not whole: {wrong}")
