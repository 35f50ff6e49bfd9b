"""Reads from an H.264 packet, without decoding it, whether other frames refer to its picture."""

#: NAL units that carry a picture: a slice, and a slice of a keyframe (ITU-T H.264, table 7-1).
_SLICES = (1, 5)


def length_size(extradata: bytes | None) -> int | None:
    """Bytes that tell the length of each NAL unit, from an avcC record (ISO/IEC 14496-15).

    None for streams of the other form, which mark units by start codes.
    """
    if not extradata or len(extradata) < 7 or extradata[0] != 1:
        return None
    return (extradata[4] & 3) + 1


def is_reference(packet: memoryview, length_size: int) -> bool:
    """Whether a picture may be referred to: its first slice's nal_ref_idc is not zero.

    A packet without a slice, or one that is cut off, counts as a reference: nothing is lost
    by decoding it.
    """
    start = 0
    while start + length_size < len(packet):
        header = packet[start + length_size]
        if header & 31 in _SLICES:
            return bool(header >> 5 & 3)
        start += length_size + int.from_bytes(packet[start : start + length_size], "big")
    return True
