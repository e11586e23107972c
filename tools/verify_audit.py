#!/usr/bin/env python3
"""Independent verifier for a Portcullis audit log, written from docs/audit-format.md alone; Python 3 standard library.

usage: verify_audit.py PATH [--expect-head SEQ:HASH] [--partial]
exit:  0 verified, 1 not verified, 2 cannot read
"""
import argparse, hashlib, json, os, re, sys

MAX_LINE = 1 << 20
LINE = re.compile(rb'(\{"seq":([1-9][0-9]{0,19}),"prev":"([0-9a-f]{64})",.*),"hash":"([0-9a-f]{64})"\}\n', re.DOTALL)


def intact(line):
    """(seq, prev, hash) of a line that is what its own hash says, else None."""
    match = LINE.fullmatch(line) if len(line) <= MAX_LINE + 1 else None
    if not match or int(match[2]) >= 1 << 64 or hashlib.sha256(match[1]).hexdigest().encode() != match[4]:
        return None
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return int(match[2]), match[3].decode(), match[4].decode()


def verify(path, heads, partial):
    folder, stem = path, "audit"
    if path.endswith(".jsonl") and not os.path.isdir(path):
        folder, stem = os.path.dirname(path) or ".", os.path.basename(path)[:-6]
    if os.path.exists(side := os.path.join(folder, stem + ".head")):  # before the log: a running gateway only adds
        head = json.load(open(side))
        heads.append((head["seq"], head["hash"]))
    names = [re.fullmatch(re.escape(stem) + r"-(?!0{8})([0-9]{8}|[1-9][0-9]{8,})\.jsonl", entry) for entry in os.listdir(folder)]
    numbers = sorted(int(match[1]) for match in names if match)
    if not numbers and not heads:
        raise OSError(f"no audit log at {path}")
    segment = lambda number: f"{stem}-{number:08}.jsonl"
    lines = lambda number: open(os.path.join(folder, segment(number)), "rb")
    seq, prev, count, number, at = 1, "0" * 64, 0, 1, 0
    bad = lambda kind: f"bad {kind} {segment(number)}:{at} seq={seq} entries={count}"
    follows = lambda found: found is not None and found[:2] == (seq, prev)
    later = lambda: any(follows(intact(line)) for other in numbers if other >= number
                        for place, line in enumerate(lines(other), 1) if other > number or place > at)
    behind = lambda: any(head[0] >= seq for head in heads)
    for expected, number in enumerate(numbers, numbers[0] if partial and numbers else 1):
        at = 0
        if number != expected:
            number = expected
            return bad("removed")
        for at, line in enumerate(lines(number), 1):
            if not line.endswith(b"\n") and number == numbers[-1]:
                return bad("truncated" if behind() else "torn")
            found = intact(line)
            if found and partial and at == 1 and number == numbers[0]:
                seq, prev = found[:2]
            if not found:
                return bad("inserted" if later() else "changed")
            if found[0] > seq:
                return bad("reordered" if later() else "removed")
            if not follows(found):
                return bad("inserted" if found[0] < seq or later() else "unlinked")
            if at == 1 and [json.loads(line).get(key) for key in ("kind", "segment")] != ["segment", number]:
                return bad("changed")
            if any(head[0] == seq and head[1] != found[2] for head in heads):
                return bad("rewritten")
            seq, prev, count = seq + 1, found[2], count + 1
    at += 1
    return bad("truncated") if behind() else f"ok entries={count} segments={len(numbers)} head={seq - 1}:{prev}"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("path")
    options.add_argument("--expect-head", metavar="SEQ:HASH")
    options.add_argument("--partial", action="store_true", help="older segments were moved away on purpose")
    chosen = options.parse_args()
    try:
        kept = [(int(chosen.expect_head.split(":")[0]), chosen.expect_head.split(":")[1])] if chosen.expect_head else []
        verdict = verify(chosen.path, kept, chosen.partial)
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.exit(print(f"cannot verify: {error}", file=sys.stderr) or 2)
    print(verdict)
    sys.exit(0 if verdict.startswith("ok") else 1)
