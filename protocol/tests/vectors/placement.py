#!/usr/bin/env python3
"""Writes the placement vectors, from docs/formats/placement.md alone.

A second implementation beside the one in Rust: standard library only, its own
SipHash-2-4, and the logarithm by decimal arithmetic of high precision instead
of the page's integer algorithm.

    python3 placement.py > placement.json
"""

import hashlib
import json
import random
import sys
from decimal import ROUND_FLOOR, Decimal, getcontext

getcontext().prec = 90

MASK = (1 << 64) - 1
LN2 = Decimal(2).ln()
WEIGHT_STAKE_MAX_DGC = 3_000_000
WEIGHT_UNIT_DGC = 1_000
ROLES = ("content", "discovery", "identity")
PURPOSE_ROLES = {"entries": "discovery", "relayer": "identity", "vault": "identity"}


# The page: rank.


def rotl(value, by):
    return ((value << by) | (value >> (64 - by))) & MASK


def sip_round(v0, v1, v2, v3):
    v0 = (v0 + v1) & MASK
    v1 = rotl(v1, 13) ^ v0
    v0 = rotl(v0, 32)
    v2 = (v2 + v3) & MASK
    v3 = rotl(v3, 16) ^ v2
    v0 = (v0 + v3) & MASK
    v3 = rotl(v3, 21) ^ v0
    v2 = (v2 + v1) & MASK
    v1 = rotl(v1, 17) ^ v2
    v2 = rotl(v2, 32)
    return v0, v1, v2, v3


def siphash24(key, message):
    k0 = int.from_bytes(key[:8], "little")
    k1 = int.from_bytes(key[8:16], "little")
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    whole = len(message) // 8 * 8
    last = message[whole:].ljust(7, b"\0") + bytes([len(message) & 0xFF])
    for start in range(0, whole + 8, 8):
        word = last if start == whole else message[start : start + 8]
        number = int.from_bytes(word, "little")
        v0, v1, v2, v3 = state
        v3 ^= number
        v0, v1, v2, v3 = sip_round(*sip_round(v0, v1, v2, v3))
        state = (v0 ^ number, v1, v2, v3)
    v0, v1, v2, v3 = state
    v2 ^= 0xFF
    for _ in range(4):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def h(purpose, subject, number):
    text = b"coliving/" + purpose.encode() + b"/1"
    key = hashlib.sha256(text + subject).digest()[:16]
    return siphash24(key, number.to_bytes(8, "little"))


# The page: purpose `placement`.


def log_distance(draw):
    """L of the page, for a 64-bit draw."""
    log2 = Decimal(2 * draw + 1).ln() / LN2
    scaled = (Decimal(65) - log2) * (1 << 32)
    if draw == 0:
        return 65 << 32
    return max(1, int(scaled.to_integral_value(rounding=ROUND_FLOOR)))


def weight(stake):
    return int(min(Decimal(stake), Decimal(WEIGHT_STAKE_MAX_DGC)) // WEIGHT_UNIT_DGC)


def place(registry, subject, target, lost):
    drawn = []
    for number, stake, peers in registry:
        ranked = [
            (-h("placement/peer", subject, services[0]), services[0], address, zone)
            for address, zone, services in peers
            if services[0] is not None and address not in lost
        ]
        if ranked and weight(stake) > 0:
            distance = log_distance(h("placement", subject, number))
            drawn.append((weight(stake), distance, number, sorted(ranked)))
    # Selection by the page's comparison, one winner after the other.
    ordered = []
    while drawn:
        best = drawn[0]
        for other in drawn[1:]:
            left, right = other[0] * best[1], best[0] * other[1]
            if left > right or (left == right and other[2] < best[2]):
                best = other
        drawn.remove(best)
        ordered.append(best[3])
    share = -(-target // 3)
    zones, chosen, aside = {}, [], []
    for ranked in ordered:
        if len(chosen) == target:
            break
        for _, _, address, zone in ranked:
            if zones.get(zone, 0) < share:
                zones[zone] = zones.get(zone, 0) + 1
                chosen.append(address)
                break
        else:
            aside.append(ranked)
    for ranked in aside:
        if len(chosen) == target:
            break
        chosen.append(ranked[0][2])
    return chosen


# The page: other purposes.


def rank(registry, purpose, subject):
    role = ROLES.index(PURPOSE_ROLES[purpose])
    operators = []
    for number, _, peers in registry:
        having = [
            (-h(purpose + "/peer", subject, services[role]), services[role], address)
            for address, _, services in peers
            if services[role] is not None
        ]
        if having:
            operators.append((-h(purpose, subject, number), number, min(having)[2]))
    return [address for _, _, address in sorted(operators)]


# The cases. Everything below draws from one seeded generator; only getrandbits
# is used, whose sequence is the same in every version of Python 3.


class Draw:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def below(self, bound):
        return self.random.getrandbits(48) % bound

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, items):
        return items[self.below(len(items))]

    def one_in(self, count):
        return self.below(count) == 0

    def hex(self, count):
        return self.random.getrandbits(8 * count).to_bytes(count, "big").hex()


def a_stake(draw, kind):
    if kind == "equal":
        return "200000"
    if kind == "small":
        return draw.pick(["0", "999.999999999999999999", "1000", "1999.5", "2000", "5000"])
    return draw.pick(
        [
            "200000",
            "200999.999999999999999999",
            "201000",
            "2999999.999999999999999999",
            "3000000",
            "3000001",
            "9000000",
            "999",
            "0",
            str(draw.between(1, 4_000_000)),
            str(draw.between(200_000, 3_000_000)),
            str(draw.between(200_000, 3_000_000)),
        ]
    )


def a_registry(draw, operators_count):
    stakes = draw.pick(["equal", "small", "mixed", "mixed", "mixed"])
    zones = ["eu", "us", "as", "af", "sa", "oc"][: draw.between(1, 6)]
    everything = draw.one_in(2)
    numbers = set()
    while len(numbers) < operators_count:
        wide = draw.one_in(8)
        numbers.add(draw.between(1, MASK if wide else 3 * operators_count))
    next_service = [draw.between(1, 9) for _ in ROLES]
    registry = []
    for number in sorted(numbers):
        peers = []
        for _ in range(draw.between(1, 3)):
            services = []
            for role in range(len(ROLES)):
                if everything or not draw.one_in(4):
                    services.append(next_service[role])
                    next_service[role] += draw.between(1, 3)
                else:
                    services.append(None)
            peers.append([draw.hex(20), draw.pick(zones), services])
        registry.append([number, a_stake(draw, stakes), peers])
    return registry


def a_placement(draw, registries):
    index = draw.below(len(registries))
    registry = registries[index]
    subject = "1220" + draw.hex(32)
    target = draw.between(1, 7)
    lost = []
    if draw.one_in(2):
        chance = draw.pick([2, 4, 8])
        addresses = [peer[0] for _, _, peers in registry for peer in peers]
        lost = [address for address in addresses if draw.one_in(chance)][:12]
        if draw.one_in(4):  # lost are those that were first
            lost = place(registry, bytes.fromhex(subject), target, [])[: draw.between(1, 3)]
    return [index, subject, target, lost, place(registry, bytes.fromhex(subject), target, lost)]


def a_rank(draw, registries):
    index = draw.below(len(registries))
    purpose = draw.pick(["entries", "relayer", "vault"])
    subject = draw.hex(32)
    return [index, purpose, subject, rank(registries[index], purpose, bytes.fromhex(subject))]


def distances(draw):
    edges = [0, 1, 2, 3, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, MASK - 1, MASK]
    edges += [(1 << bit) - 1 for bit in range(4, 63, 7)] + [1 << bit for bit in range(4, 63, 7)]
    # Near the top L falls below 1 and is held there; around it, small values.
    edges += [MASK - (1 << bit) for bit in range(28, 40)]
    drawn = [draw.random.getrandbits(64) for _ in range(60)]
    return [[f"{value:016x}", str(log_distance(value))] for value in edges + drawn]


def lines(items):
    return ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)


def main():
    reference = bytes(range(16))
    assert siphash24(reference, bytes(range(15))) == 0xA129CA6149BE45E5
    draw = Draw(20)
    sizes = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 40]
    registries = [a_registry(draw, size) for size in sizes for _ in range(2)]
    registries += [a_registry(draw, draw.between(1, 40)) for _ in range(10)]
    logarithms = distances(draw)
    placements = [a_placement(draw, registries) for _ in range(850)]
    ranks = [a_rank(draw, registries) for _ in range(150)]
    sections = [
        ("registries", registries),
        ("logarithms", logarithms),
        ("placements", placements),
        ("ranks", ranks),
    ]
    shape = {
        "registries": "[operator number, stake in DGC, [[peer, zone, [content, discovery, identity service number]]]]",
        "logarithms": "[h in hex, L in decimal]",
        "placements": "[registry, subject, target, lost peers, chosen peers]",
        "ranks": "[registry, purpose, subject, peers in order]",
    }
    body = ",\n".join(f'"{name}":[\n{lines(items)}\n]' for name, items in sections)
    sys.stdout.write('{"shape":' + json.dumps(shape) + ",\n" + body + "}\n")


if __name__ == "__main__":
    main()
