#!/usr/bin/env python3
"""Verifies a Portcullis audit log; written from docs/audit-format.md alone. Exits with 0: verified, 1: not verified, 2: cannot read."""
import argparse, hashlib, json, os, re, sys
LINE = re.compile(rb'(\{"seq":([1-9][0-9]{0,19}),"prev":"([0-9a-f]{64})",.*),"hash":"([0-9a-f]{64})"\}\n', re.DOTALL)

def intact(line):
    """(seq, prev, hash) of a line that is what its own hash says, else None."""
    match = LINE.fullmatch(line[:(1 << 20) + 1])  # cut: a line that is too long has no line feed there
    try:
        good = match and hashlib.sha256(match[1]).hexdigest().encode() == match[4] and json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return (int(match[2]), match[3].decode(), match[4].decode()) if good and int(match[2]) < 1 << 64 else None

def verify(path, heads, partial):
    folder, stem = os.path.split(path[:-6]) if path.endswith(".jsonl") and not os.path.isdir(path) else (path, "audit")
    if os.path.exists(side := os.path.join(folder, stem + ".head")):  # before the log: a running gateway only adds
        heads.extend((head["seq"], head["hash"]) for head in [json.load(open(side))])
    form = re.compile(re.escape(stem) + r"-(?!0{8})([0-9]{8}|[1-9][0-9]{8,})\.jsonl")
    numbers = sorted(int(match[1]) for match in map(form.fullmatch, os.listdir(folder or ".")) if match)
    if not numbers and not heads:
        raise OSError(f"no audit log at {path}")
    lines = lambda number: enumerate(open(os.path.join(folder, f"{stem}-{number:08}.jsonl"), "rb"), 1)
    seq, prev, number, at, count = 1, "0" * 64, 1, 0, 0  # the entry that belongs here, its place, the good ones
    bad = lambda kind: f"bad {kind} {stem}-{number:08}.jsonl:{at} seq={seq} entries={count}"
    behind = lambda: any(head >= seq for head, _ in heads)
    later = lambda: any((intact(line) or ())[:2] == (seq, prev) for other in numbers if other >= number
                        for place, line in lines(other) if (other, place) > (number, at))
    for number, found in enumerate(numbers, numbers[0] if partial and numbers else 1):
        at = 0
        if found != number:
            return bad("removed")
        for at, line in lines(number):
            if not line.endswith(b"\n") and number == numbers[-1]:
                return bad("truncated" if behind() else "torn")
            if not (entry := intact(line)):
                return bad("inserted" if later() else "changed")
            seq, prev = entry[:2] if partial and (number, at) == (numbers[0], 1) else (seq, prev)
            if entry[:2] != (seq, prev):
                moved, alone = ("reordered", "removed") if entry[0] > seq else ("inserted", "unlinked")
                return bad(moved if entry[0] < seq or later() else alone)
            if at == 1 and [json.loads(line).get(key) for key in ("kind", "segment")] != ["segment", number]:
                return bad("changed")
            if any(head == seq and digest != entry[2] for head, digest in heads):
                return bad("rewritten")
            seq, prev, count = seq + 1, entry[2], count + 1
    at += 1
    return bad("truncated") if behind() else f"ok entries={count} segments={len(numbers)} head={seq - 1}:{prev}"

if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("path")
    options.add_argument("--expect-head", dest="heads", metavar="SEQ:HASH", action="append", default=[],
                         type=lambda text: (int(text.split(":")[0]), text.split(":")[1]))
    options.add_argument("--partial", action="store_true", help="older segments were moved away on purpose")
    try:
        verdict = verify(**vars(options.parse_args()))
    except (OSError, ValueError, KeyError) as error:
        options.error(f"cannot verify: {error}")
    sys.exit(print(verdict) or not verdict.startswith("ok"))
