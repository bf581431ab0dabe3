"""Just enough of PNG: pictures of eight bits a channel, not interlaced, read, made smaller and written.

A real application would package Pillow with its function; this one shall run wherever Python does.
"""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def shrink(data, most):
    """The picture with at most `most` pixels in a row or a column; each the mean of those it stands for."""
    width, height, kind, rows = read(data)
    channels = CHANNELS[kind]
    step = max(1, -(-max(width, height) // most))
    small = []
    for top in range(0, height, step):
        band = rows[top : top + step]
        line = bytearray()
        for left in range(0, width, step):
            right = min(left + step, width)
            count = len(band) * (right - left)
            for channel in range(channels):
                first, end = left * channels + channel, right * channels
                line.append(sum(sum(row[first:end:channels]) for row in band) // count)
        small.append(bytes(line))
    return write(-(-width // step), len(small), kind, small)


def read(data):
    """Width, height, colour type and the rows of a picture. Raises ValueError for one that is not understood."""
    if data[:8] != SIGNATURE:
        raise ValueError("this is no PNG")
    header, packed, at = None, b"", 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12
        if name == b"IHDR":
            header = struct.unpack(">IIBBBBB", content)
        elif name == b"IDAT":
            packed += content
    if header is None or header[2] != 8 or header[3] not in CHANNELS or header[6]:
        raise ValueError("only eight bits a channel, without palette and interlace, are understood")
    width, height, _, kind = header[:4]
    return width, height, kind, _rows(zlib.decompress(packed), width, height, CHANNELS[kind])


def write(width, height, kind, rows):
    """A PNG of these rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = (b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")
    return SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name, content):
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _rows(data, width, height, channels):
    """Undo the filter of each row: bytes are kept as differences from what is left and above."""
    size = width * channels
    above = bytearray(size)
    rows = []
    for number in range(height):
        start = number * (size + 1)
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + size])
        for i in range(size if kind else 0):
            left = row[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            row[i] = (row[i] + _predicted(kind, left, above[i], corner)) & 255
        rows.append(row)
        above = row
    return rows


def _predicted(kind, left, up, corner):
    if kind == 1:
        return left
    if kind == 2:
        return up
    if kind == 3:
        return (left + up) // 2
    near = left + up - corner
    return min((left, up, corner), key=lambda value: abs(near - value))
