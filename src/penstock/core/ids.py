"""Identifiers, all drawn from one seeded source so that a run can be repeated."""

import random
import string
from binascii import b2a_base64
from typing import Final

_LOWER_ALNUM: Final = string.ascii_lowercase + string.digits
_UPPER_ALNUM: Final = string.ascii_uppercase + string.digits
# An odd step leads through all of the 64-bit numbers.
_STIR: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
# The two highest bits of this digit are fixed in a UUID.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Ids:
    """Random identifiers in the shapes AWS uses. Hand in a seed to get the same ones again."""

    def __init__(self, seed: int | None = None) -> None:
        self.random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        # Quick draws for identifiers that need not be unguessable, from a generator that the source has seeded.
        self._bits = random.Random(self.random.getrandbits(256)).getrandbits
        self._drawn = self.random.getrandbits(64)
        own = f"{self.random.getrandbits(64):016x}"
        self._middle = f"-{own[:4]}-4{own[4:7]}-{_VARIANT[own[7]]}{own[8:11]}-{own[11:15]}"

    def uuid(self) -> str:
        """A version 4 UUID as text.

        Half of it is this generator's own, half a number to which an odd one is added each time: it comes back after all
        others of 64 bits, and is several times as fast as drawing 128 bits. It identifies; it is no secret.
        """
        drawn = self._drawn = self._drawn + _STIR & _MASK
        text = drawn.to_bytes(8, "big").hex()
        return f"{text[:8]}{self._middle}{text[8:]}"

    def token(self, length: int) -> str:
        """`length` lower-case letters and digits, as in API Gateway identifiers."""
        return "".join(self.random.choice(_LOWER_ALNUM) for _ in range(length))

    def upper_token(self, length: int) -> str:
        """`length` upper-case letters and digits, as in IAM identifiers."""
        return "".join(self.random.choice(_UPPER_ALNUM) for _ in range(length))

    def hex(self, digits: int) -> str:
        """`digits` hexadecimal digits."""
        return f"{self._bits(digits * 4):0{digits}x}"

    def secret(self) -> str:
        """40 characters, as in a secret access key."""
        alphabet = string.ascii_letters + string.digits + "+/"
        return "".join(self.random.choice(alphabet) for _ in range(40))


def s3_request_ids(request_id: str) -> tuple[str, str]:
    """The two ids that S3 gives a request, from Penstock's own."""
    # AWS: 16 hexadecimal digits, and a longer text that means something to S3 alone (S3 API reference).
    digits = request_id.replace("-", "")[:16].upper()
    return digits, b2a_base64(request_id.encode(), newline=False).decode()
