"""What the header of a JPEG says."""

START_OF_FRAME = (0xC0, 0xC1, 0xC2)  # markers of JPEG
EXIF, ADOBE, START_OF_SCAN = 0xE1, 0xEE, 0xDA


def jpeg_header(data: bytes) -> tuple[str, tuple[int, int]] | None:
    """Return mode and (width, height) of a JPEG without EXIF and Adobe's markers, or None."""
    if data[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in START_OF_FRAME:
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            mode = {1: "L", 3: "RGB"}.get(data[position + 9])
            return (mode, (width, height)) if mode and height and width else None
        if marker in (EXIF, ADOBE, START_OF_SCAN):
            return None
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None
