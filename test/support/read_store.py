#!/usr/bin/env python3
"""read_store.py STORE TAG|ID: writes an object of a store to standard output, from its packs alone.

An example for programs in other languages, after docs/store-format.md: it reads neither the index nor the footers
of packs. Needs the programs zstd, lz4, xz, bzip2, gzip or brotli for stores that use them, and checks digests if they
are those of SHA-256.
"""
import hashlib
import os
import struct
import subprocess
import sys
import tempfile

CODECS = [None, "zstd", "lz4", "xz", "bzip2", "gzip", "brotli"]
HEADER = struct.Struct("<4sBBxxII32sI")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def lines(path):
    with open(path, encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(" ", 1) for line in file)


def records(pack):
    """Finds the records of a pack by their headers: digest, kind, codec, length, payload."""
    at = pack.find(b"CKR1")
    while at >= 0 and at + HEADER.size <= len(pack):
        _, kind, codec, stored, length, digest, check = HEADER.unpack_from(pack, at)
        start = at + HEADER.size
        if check == crc32c(pack[at:start - 4]) and start + stored <= len(pack):
            yield digest, kind, codec, length, (start, stored)
            at = pack.find(b"CKR1", start + stored)
        else:
            at = pack.find(b"CKR1", at + 1)


def apply_delta(frame, prefix):
    """Decompresses a frame that was made with a prefix."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(prefix)
        file.flush()
        command = ["zstd", "-dc", "--patch-from=" + file.name]
        return subprocess.run(command, input=frame, stdout=subprocess.PIPE, check=True).stdout


def put_back(chunk, start, references):
    """Returns a chunk with the store hashes that were replaced in it; one may begin or end in another chunk."""
    chunk = bytearray(chunk)
    for position, characters in struct.iter_unpack("<Q32s", references):
        first, end = max(position - start, 0), min(position + 32 - start, len(chunk))
        if first < end:
            chunk[first:end] = characters[first + start - position:end + start - position]
    return chunk


class Store:
    def __init__(self, folder):
        self.folder = folder
        self.format = lines(os.path.join(folder, "format"))
        if self.format["chunker-store"] != "1" or self.format.get("feature", "deltas") != "deltas":
            sys.exit("this program does not know the format of the store")
        self.places = {}
        for section in ("packs", "meta", "deltas"):
            for path, _, names in os.walk(os.path.join(folder, section)):
                for name in names:
                    self.read_pack(os.path.join(path, name))

    def read_pack(self, path):
        with open(path, "rb") as file:
            pack = file.read()
        if pack[:8] != b"CHUNKERP":
            sys.exit(f"{path} is no pack")
        for digest, kind, *rest in records(pack):
            self.places.setdefault(digest, []).append((kind, path, *rest))

    def record(self, digest, depth=0):
        kind, path, codec, length, (start, stored) = min(self.places[digest])
        if kind == 4 and depth > 1:
            sys.exit(f"{digest.hex()} is there as a delta only, of which the third in a row")
        with open(path, "rb") as file:
            file.seek(start)
            content = file.read(stored)
        if kind == 4:
            end = 4 + 32 * content[0]
            if crc32c(content[:end]) != struct.unpack_from("<I", content, end)[0]:
                sys.exit(f"{digest.hex()} has a damaged head")
            bases = [self.record(content[at:at + 32], depth + 1) for at in range(4, end, 32)]
            content = apply_delta(content[end + 4:], b"".join(bases))
        elif codec:
            command = [CODECS[codec], "-dc"]
            content = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout
        if len(content) != length:
            sys.exit(f"{digest.hex()} has another length")
        if self.format["hash"] == "sha256" and hashlib.sha256(content).digest() != digest:
            sys.exit(f"{digest.hex()} is damaged")
        return content

    def chunks(self, items, depth):
        """Yields the digests of the chunks of a list of items."""
        size = 48 if depth else 36
        for at in range(0, len(items), size):
            digest = items[at:at + 32]
            if depth:
                node = self.record(digest)
                if node[:4] != b"CKN1" or node[4] != depth - 1:
                    sys.exit(f"{digest.hex()} is no node")
                yield from self.chunks(node[8:], depth - 1)
            else:
                yield digest

    def restore(self, object_id, out):
        manifest = self.record(object_id)
        magic, kind, depth, attachments, size, _ = struct.unpack_from("<4sBBBxQQ", manifest)
        if magic != b"CKM1" or kind > 2:
            sys.exit("this program does not know the manifest")
        at = 112 if kind == 1 else 80
        references = b""
        for _ in range(attachments):
            role, node_depth, node = struct.unpack_from("<BBxx48s", manifest, at)
            if role == 2:
                references = b"".join(self.record(digest) for digest in self.chunks(node, node_depth + 1))
            at += 52
        written = 0
        for digest in self.chunks(manifest[at:], depth):
            chunk = self.record(digest)
            written += out.write(put_back(chunk, written, references))
        if written != size:
            sys.exit(f"{written} bytes instead of {size}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, name = sys.argv[1:]
    tag = os.path.join(folder, "refs", name + "=")
    object_id = lines(tag).get("id") if os.path.exists(tag) else name
    if object_id is None:
        sys.exit(f"{name} was removed")
    Store(folder).restore(bytes.fromhex(object_id), sys.stdout.buffer)


main()
